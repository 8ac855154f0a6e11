"""Pretrained text models as teachers: BERT, RoBERTa, XLM-R, InfoXLM, GPT-2, Llama and others.

Legend: B batch, P pieces with padding, S teacher positions (pieces of a sentence), E teacher width.
"""

from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor, nn

from distill_asr.errors import UserError
from distill_asr.pretrained.layers import LayerChoice
from distill_asr.pretrained.loading import (
    fingerprint,
    input_name,
    load_model,
    load_model_config,
    load_tokenizer,
    model_facts,
    require_device,
    require_layers,
    tokenizer_facts,
)
from distill_asr.pretrained.precision import computing, prepare_model, require_dtype
from distill_asr.pretrained.request import ModelRequest
from distill_asr.teachers.config import TeacherConfig
from distill_asr.teachers.contract import Teacher

_FILES = "config.json, the tokenizer's files and model.safetensors"
NO_LIMIT = 10**9  # tokenizers without a length on record claim about 1e30


class TextTeacher(Teacher):
    """A frozen text model that gives hidden states, one position a piece; see ``from_config``.

    Special pieces are kept, as the tokenizer sets them ([CLS] first, [SEP] last in BERT; none in
    GPT-2). Layer 0 is what enters the first layer, layer n what leaves the n-th; the last one is
    the model's output, i.e. after the final norm where the model has one.

    Attributes
    ----------
    step_ms : None, positions have no duration.
    width : E; layers that are stacked lie side by side in it, in the order of the config.
    max_size : most pieces that the model can take, special ones included; None without limit.
    fingerprint : SHA-256 over weights, model config and tokenizer.
    """

    reads = "text"

    def __init__(self, model: Any, tokenizer: Any, config: TeacherConfig, device: str) -> None:
        self.layers = LayerChoice.of(config.request(), model.config.num_hidden_layers)
        facts = model_facts(model) | {"tokenizer": tokenizer_facts(tokenizer)}
        self.fingerprint = fingerprint(model.state_dict(), facts)
        self.width = self.layers.width(model.config.hidden_size)
        self.max_size = _most_pieces(model, tokenizer)
        self._tokenizer = tokenizer
        # GPT-2 has no piece for padding, others have one that their model lacks; the mask
        # hides it anyway
        padding = tokenizer.pad_token_id or 0
        self._padding = padding if padding < model.config.vocab_size else 0
        _drop_layers_above(max(config.layers), model)
        if hasattr(model.config, "use_cache"):
            model.config.use_cache = False  # keys and values serve generation only
        self._model = prepare_model(model, config.dtype, device)
        self._masks = config.context == "masked"
        if self._masks and tokenizer.mask_token_id is None:
            raise UserError(
                f"{config.path}: context: masked, but the tokenizer of {config.model} has no mask "
                "piece; choose a masked language model, such as BERT or XLM-R"
            )
        self._batch_tokens = config.batch_tokens
        self._dtype = config.dtype
        self._device = device

    @classmethod
    def from_config(cls, config: TeacherConfig, device: str = "cpu") -> "TextTeacher":
        """Load from a local directory or the hub (its cache first).

        Raises
        ------
        UserError : no such model or layer, a model that is not of text or has a decoder of its
            own, parts missing, no device.
        """
        require_device(device)
        require_dtype(config.dtype, device, config.path)
        request = config.request()
        model_config = load_model_config(request, _FILES)
        _require_text_model(request, model_config)
        require_layers(request, model_config.num_hidden_layers)
        tokenizer = load_tokenizer(request, model_config)
        model = load_model(request, transformers.AutoModel, model_config, _FILES)
        return cls(model, tokenizer, config, device)

    def size(self, item: str) -> int:
        """Number of pieces, special ones included."""
        return len(self.pieces([item])[0])

    def pieces(self, sentences: list[str]) -> list[list[int]]:
        """Numbers of the pieces of each sentence, special ones included."""
        return self._encoded(sentences)["input_ids"]

    def names(self, pieces: list[int]) -> list[str]:
        """Pieces as the vocabulary writes them."""
        return self._tokenizer.convert_ids_to_tokens(pieces)

    def states(self, items: list[str]) -> list[np.ndarray]:
        """Give the teacher's states, each as if its sentence were alone.

        Parameters
        ----------
        items : sentences, each of at least one piece and at most ``max_size``.

        Returns
        -------
        float32 [S_i, E] each.

        Raises
        ------
        UserError : the batch does not fit into the device's memory.
        """
        encoded = self._encoded(items)
        states = self._states(encoded)
        return self._read_masked(encoded, states) if self._masks else states

    def _states(self, encoded: dict[str, list[list[int]]]) -> list[np.ndarray]:
        """States of encoded sentences."""
        inputs, counts = self._padded(encoded)
        try:
            with computing(self._dtype, self._device):
                on_device = {name: values.to(self._device) for name, values in inputs.items()}
                output = self._model(**on_device, output_hidden_states=True)
                states = self.layers(output).float().cpu().numpy()
        except torch.OutOfMemoryError as error:
            raise UserError(
                f"device {self._device}: out of memory with {len(counts)} sentence(s) of up to "
                f"{max(counts)} pieces; lower `batch_tokens`"
            ) from error
        return [row[:count].copy() for row, count in zip(states, counts, strict=True)]

    def _read_masked(
        self, encoded: dict[str, list[list[int]]], states: list[np.ndarray]
    ) -> list[np.ndarray]:
        """Each position as the model reads it with that position masked.

        Special pieces, which stand for no word, keep their ``states``.
        """
        found = []
        for number, row in enumerate(states):
            one = {name: rows[number] for name, rows in encoded.items()}
            pieces = one["input_ids"]
            special = self._tokenizer.get_special_tokens_mask(
                pieces, already_has_special_tokens=True
            )
            places = [place for place, is_special in enumerate(special) if not is_special]
            row = row.copy()
            size = max(1, self._batch_tokens // len(pieces))
            for first in range(0, len(places), size):
                some = places[first : first + size]
                masked = {name: [list(given) for _ in some] for name, given in one.items()}
                for copy, place in zip(masked["input_ids"], some, strict=True):
                    copy[place] = self._tokenizer.mask_token_id
                row[some] = [
                    given[place] for given, place in zip(self._states(masked), some, strict=True)
                ]
            found.append(row)
        return found

    def _padded(self, pieces: dict[str, list[list[int]]]) -> tuple[dict[str, Tensor], list[int]]:
        """Give the model's inputs [B, P], padded on the right, and S of each sentence."""
        counts = [len(row) for row in pieces["input_ids"]]
        for number, count in enumerate(counts):
            if not 0 < count <= (self.max_size or count):
                limit = f"1 to {self.max_size}" if self.max_size else "at least 1"
                raise ValueError(f"{count} pieces, expected {limit}: sentence {number}")
        fill = {"input_ids": self._padding, "token_type_ids": 0}
        inputs = {
            name: torch.tensor([row + [fill[name]] * (max(counts) - len(row)) for row in rows])
            for name, rows in pieces.items()
        }
        steps = torch.arange(max(counts))
        inputs["attention_mask"] = (steps < torch.tensor(counts)[:, None]).to(torch.int64)
        return inputs, counts

    def _encoded(self, sentences: list[str]) -> dict[str, list[list[int]]]:
        encoded = self._tokenizer(
            sentences, padding=False, truncation=False, return_attention_mask=False, verbose=False
        )
        return {name: encoded[name] for name in ("input_ids", "token_type_ids") if name in encoded}


def _require_text_model(request: ModelRequest, model_config: Any) -> None:
    where = f"{request.where}: model: {request.name} is of family {model_config.model_type!r}"
    if (read := input_name(model_config)) != "input_ids":
        hint = "; use `kind: speech`" if read in ("input_values", "input_features") else ""
        raise UserError(f"{where}, which reads {read}, no text{hint}")
    stack = getattr(model_config, "num_hidden_layers", None)
    if getattr(model_config, "is_encoder_decoder", False) or stack is None:
        raise UserError(
            f"{where}, which is more than one stack of layers; allowed: encoders (BERT, RoBERTa, "
            "XLM-R) and decoder-only models (GPT-2, Llama, Qwen)"
        )


def _most_pieces(model: Any, tokenizer: Any) -> int | None:
    """Where positions are learnt, as many as there are, the ones before the first piece left out.

    RoBERTa and its relatives count positions from the padding's index on, so that two of their
    514 are never reached.
    """
    limits = [tokenizer.model_max_length, getattr(model.config, "max_position_embeddings", None)]
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, nn.Embedding):
            skipped = 0 if module.padding_idx is None else module.padding_idx + 1
            limits.append(module.num_embeddings - skipped)
    return min((limit for limit in limits if limit and 0 < limit < NO_LIMIT), default=None)


def _drop_layers_above(layer: int, model: nn.Module) -> None:
    """Free what the states up to ``layer`` do not need, where the layers are one plain list."""
    depth = model.config.num_hidden_layers
    stacks = [m for m in model.modules() if isinstance(m, nn.ModuleList) and len(m) == depth]
    if len(stacks) == 1:
        # the library itself calls the norm above the last layer that is left the last hidden
        # state, so one more is kept
        del stacks[0][layer + 1 :]
