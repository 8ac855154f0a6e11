"""Recognisers of transformers: audio in, words and their log-probability out, searched greedily.

Legend: B batch, N samples, T frames, V vocabulary, U tokens.
"""

from __future__ import annotations

import copy
import inspect
import math
import re
from typing import Any

import numpy as np
import torch
import transformers
from torch import Tensor

from distill_asr.errors import UserError, nearest
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.families import FAMILIES
from distill_asr.pretrained.loading import (
    fingerprint,
    load_extractor,
    load_model,
    load_model_config,
    load_tokenizer,
    model_facts,
    quiet,
    require_device,
    tokenizer_facts,
)
from distill_asr.pretrained.recognition import Heard, PretrainedRecogniser, words_of
from distill_asr.pretrained.request import ModelRequest
from distill_asr.pretrained.transducers import TRANSDUCERS, TransducerRecogniser

_FILES = "config.json, preprocessor_config.json, tokenizer.json and model.safetensors"
COPY = "copy it from where the model was published"
_WHISPER = "whisper"
_PARAKEET = "parakeet_ctc"
WITHOUT_PROMPT = ("moonshine", "speech_to_text")  # encoder-decoders without prompts
WHISPER_MULTILINGUAL = 51865  # tokens, from which on OpenAI's checkpoints have languages
MOST_TOKENS = 50  # a second; scripts that fall into bytes need most. More is a loop
_LANGUAGE = re.compile(r"<\|([a-z]{2,3})\|>")


class CTCRecogniser(PretrainedRecogniser):
    """wav2vec 2.0 and relatives, Parakeet: the best path of a CTC.

    Families whose padding is kept out of the states run in batches, others one by one.
    """

    def __init__(self, model: Any, extractor: Any, tokenizer: Any, device: str) -> None:
        facts = model_facts(model) | {"extractor": extractor.to_dict()}
        facts |= tokenizer_facts(tokenizer)
        self.fingerprint = fingerprint(model.state_dict(), facts)
        self._model = model.eval().requires_grad_(False).to(device)
        self._extractor, self._tokenizer, self._device = extractor, tokenizer, device
        self._blank = model.config.pad_token_id
        known: Any = FAMILIES.get(model.config.model_type)
        # an adapter above the encoder has frames of its own
        if known is None or getattr(model.config, "add_adapter", False):
            self._family = None
        else:
            self._encoder, self._head = _parts(model)
            self._family = known(self._encoder, extractor)
        self._accepted = inspect.signature(model.forward).parameters

    @torch.inference_mode()
    def recognise(self, waveforms: list[np.ndarray]) -> list[Heard]:
        """Words of each waveform; empty if it is too short for a frame."""
        if self._family is None:
            return [self._heard(self._logits(one)) for one in waveforms]
        long = [i for i, one in enumerate(waveforms) if len(one) >= self._family.min_samples]
        found = [Heard("", 0.0, 0)] * len(waveforms)
        if long:
            inputs, counts = self._family.inputs([waveforms[i] for i in long])
            states = self._encoder(**self._moved(inputs)).last_hidden_state
            for i, row, count in zip(long, self._head(states), counts, strict=True):
                found[i] = self._heard(row[:count])
        return found

    def _logits(self, waveform: np.ndarray) -> Tensor:
        """[T, V] of one waveform."""
        features = self._extractor(waveform, sampling_rate=SAMPLE_RATE, return_tensors="pt")
        inputs = {name: value for name, value in features.items() if name in self._accepted}
        return self._model(**self._moved(inputs)).logits[0]

    def _moved(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.to(self._device) for name, value in inputs.items()}

    def _heard(self, logits: Tensor) -> Heard:
        best, path = logits.float().log_softmax(dim=-1).max(dim=-1)
        begins = path.diff(prepend=path.new_tensor([-1])) != 0
        runs = path[begins]
        tokens = runs[runs != self._blank]
        # these tokenizers merge equal neighbours and drop blanks themselves, others must be told
        grouped = "group_tokens" in inspect.signature(self._tokenizer._decode).parameters
        words = words_of(self._tokenizer, path if grouped else tokens)
        return Heard(words, float(best.sum()), len(tokens))


def _parts(model: Any) -> tuple[Any, Any]:
    """The encoder of a CTC model, and what makes logits of its states."""
    if model.config.model_type == _PARAKEET:
        return model.encoder, model.ctc_head
    return model.base_model, model.lm_head


class AttentionRecogniser(PretrainedRecogniser):
    """Whisper, Moonshine: an encoder and a decoder that writes one token after the other.

    Whisper's inputs are windows of one length, so that it runs in batches; others one by one.

    Parameters
    ----------
    prompt : ids that the decoder begins with: Whisper's language and task; none elsewhere.
    batch_samples : of padded audio in one call; an utterance of Whisper counts as a window.
    """

    def __init__(
        self,
        model: Any,
        extractor: Any,
        tokenizer: Any,
        prompt: list[int],
        batch_samples: float,
        device: str,
    ) -> None:
        facts = model_facts(model) | {"extractor": extractor.to_dict(), "prompt": prompt}
        facts |= tokenizer_facts(tokenizer)
        self.fingerprint = fingerprint(model.state_dict(), facts)
        self._windows = model.config.model_type == _WHISPER
        if self._windows:
            frames = 2 * model.config.max_source_positions  # of the encoder's input
            self.max_samples = frames * extractor.hop_length
        self._at_once = max(1, math.floor(batch_samples / self.max_samples)) if self._windows else 1
        self._model = model.eval().requires_grad_(False).to(device)
        self._extractor, self._tokenizer, self._device = extractor, tokenizer, device
        self._prompt = prompt
        self._end = tokenizer.eos_token_id
        if self._end is None:
            self._end = model.config.eos_token_id
        self._accepted = inspect.signature(model.forward).parameters

    @torch.inference_mode()
    def recognise(self, waveforms: list[np.ndarray]) -> list[Heard]:
        """Words of each waveform."""
        starts = range(0, len(waveforms), self._at_once)
        groups = [waveforms[start : start + self._at_once] for start in starts]
        return [heard for group in groups for heard in self._recognise(group)]

    def _recognise(self, waveforms: list[np.ndarray]) -> list[Heard]:
        options: dict[str, Any] = {}
        if self._windows:
            options = {"padding": "max_length", "max_length": self.max_samples}
        features = self._extractor(
            waveforms, sampling_rate=SAMPLE_RATE, return_tensors="pt", **options
        )
        inputs = {
            name: value.to(self._device)
            for name, value in features.items()
            if name in self._accepted
        }
        prompt = self._prompt or [self._model.config.decoder_start_token_id]
        start = torch.tensor([prompt] * len(waveforms), device=self._device)
        seconds = max(map(len, waveforms)) / SAMPLE_RATE
        with quiet():
            # not Whisper's own, which cuts long audio and asks for settings that few copies have
            output = transformers.GenerationMixin.generate(
                self._model,
                **inputs,
                decoder_input_ids=start,
                generation_config=self._generation(len(prompt), seconds),
            )
        written = output.sequences[:, len(prompt) :]
        scores = torch.stack(output.scores, dim=1).float().log_softmax(dim=-1)
        scores = scores.gather(2, written.unsqueeze(-1)).squeeze(-1)
        return [self._heard(*row) for row in zip(written.tolist(), scores.tolist(), strict=True)]

    def _heard(self, tokens: list[int], scores: list[float]) -> Heard:
        finished = self._end in tokens
        count = tokens.index(self._end) + 1 if finished else len(tokens)
        words = self._tokenizer.decode(tokens[: count - finished], skip_special_tokens=True)
        return Heard(words.strip(), sum(scores[:count]), count, finished)

    def _generation(self, begun: int, seconds: float) -> Any:
        """Greedy, up to the tokenizer's end token, which some copies' settings lack."""
        config = self._model.config
        limits = [
            limit
            for name in ("max_target_positions", "max_position_embeddings")
            if (limit := getattr(config, name, None))
        ]
        most = math.ceil(MOST_TOKENS * seconds) + 10
        generation = copy.deepcopy(self._model.generation_config)
        generation.update(
            do_sample=False,
            num_beams=1,
            max_length=None,
            max_new_tokens=min(most, *(limit - begun for limit in limits)) if limits else most,
            eos_token_id=self._end,
            pad_token_id=self._end,
            forced_decoder_ids=None,
            return_dict_in_generate=True,
            output_scores=True,
        )
        return generation


def load_recogniser(
    request: ModelRequest, language: str | None, task: str, device: str
) -> PretrainedRecogniser:
    """Load a recogniser from a local directory or the hub (its cache first).

    Parameters
    ----------
    request : names the model.
    language, task : forced on a model of several; None and ``transcribe`` elsewhere.
    device : of torch.

    Raises
    ------
    UserError : no such model, parts missing, a model that writes no words, or a language or task
        that it does not support.
    """
    require_device(device)
    config = load_model_config(request, _FILES)
    where = f"{request.where}: model: {request.name} is of family {config.model_type!r}"
    ctc = transformers.models.auto.modeling_auto.MODEL_FOR_CTC_MAPPING_NAMES
    others = (_WHISPER, *WITHOUT_PROMPT, *TRANSDUCERS)
    if config.model_type not in others and config.model_type not in ctc:
        raise UserError(
            f"{where}, which writes no words here; expected a CTC model ({', '.join(ctc)}) or one "
            f"of {', '.join(others)}"
        )
    if config.model_type != _WHISPER and (language is not None or task != "transcribe"):
        raise UserError(f"{where}, which cannot be asked for a language or a task; remove both")
    extractor = load_extractor(request, None, COPY)
    tokenizer = load_tokenizer(request, config)
    if config.model_type in ctc:
        model = load_model(request, transformers.AutoModelForCTC, config, _FILES)
        return CTCRecogniser(model, extractor, tokenizer, device)
    if config.model_type in TRANSDUCERS:
        kind = TRANSDUCERS[config.model_type]
        model = load_model(request, getattr(transformers, kind), config, _FILES)
        return TransducerRecogniser(model, extractor, tokenizer, device)
    model = load_model(request, transformers.AutoModelForSpeechSeq2Seq, config, _FILES)
    prompt: list[int] = []
    if config.model_type == _WHISPER:
        prompt = _whisper_prompt(request, model, tokenizer, language, task)
    samples = request.batch_seconds * SAMPLE_RATE
    return AttentionRecogniser(model, extractor, tokenizer, prompt, samples, device)


def _whisper_prompt(
    request: ModelRequest, model: Any, tokenizer: Any, language: str | None, task: str
) -> list[int]:
    """What the decoder begins with: language and task, no time stamps."""
    known = tokenizer.get_vocab()
    multilingual = getattr(model.generation_config, "is_multilingual", None)
    if multilingual is None:
        multilingual = model.config.vocab_size >= WHISPER_MULTILINGUAL
    where = f"{request.where}: language"
    if not multilingual:
        if language not in (None, "en") or task != "transcribe":
            raise UserError(f"{where}: {request.name} writes English alone; take another model")
        asked = []
    else:
        codes = sorted(m[1] for token in known if (m := _LANGUAGE.fullmatch(token)))
        if language is None:
            raise UserError(
                f"{where}: missing; {request.name} knows {len(codes)}, and would guess one for "
                "each utterance; write one, such as `language: en`"
            )
        if language not in codes:
            raise UserError(
                f"{where}: {language!r} is none of the {len(codes)} codes that {request.name} "
                f"knows, such as {codes[0]}{nearest(language, codes)}"
            )
        asked = [f"<|{language}|>", f"<|{task}|>"]
    tokens = ["<|startoftranscript|>", *asked, "<|notimestamps|>"]
    if absent := [token for token in tokens if token not in known]:
        raise UserError(
            f"{request.where}: model {request.name}: its tokenizer lacks {', '.join(absent)}; "
            f"{COPY}"
        )
    return [known[token] for token in tokens]
