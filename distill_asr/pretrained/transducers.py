"""Transducers of transformers as recognisers: Parakeet RNN-T and TDT, searched greedily.

Legend: B batch, N samples, T frames, H width of the joint network, U tokens, V vocabulary,
D durations, I steps of a search.
"""

from __future__ import annotations

import inspect
from typing import Any

import numpy as np
import torch
from torch import Tensor

from distill_asr.pretrained.families.fastconformer import FastConformerFamily
from distill_asr.pretrained.loading import fingerprint, model_facts, tokenizer_facts
from distill_asr.pretrained.recognition import Heard, PretrainedRecogniser, words_of

# their classes in transformers, by family
TRANSDUCERS = {"parakeet_rnnt": "ParakeetForRNNT", "parakeet_tdt": "ParakeetForTDT"}


class TransducerRecogniser(PretrainedRecogniser):
    """Parakeet's RNN-T, and TDT, whose symbols last several frames.

    The search is ours: the library's takes a duration for a token unless the model's settings
    forbid it, and keeps no probabilities. Audio is padded, which changes nothing. A path's
    probability is that of its symbols, blanks included, and of their durations.
    """

    def __init__(self, model: Any, extractor: Any, tokenizer: Any, device: str) -> None:
        facts = model_facts(model) | {"extractor": extractor.to_dict()}
        facts |= tokenizer_facts(tokenizer)
        self.fingerprint = fingerprint(model.state_dict(), facts)
        self._model = model.eval().requires_grad_(False).to(device)
        self._family = FastConformerFamily(model.encoder, extractor)
        self._tokenizer, self._device = tokenizer, device
        self._durations = torch.tensor(model.config.durations if _is_tdt(model) else [])
        # Parakeet's tokenizer merges equal neighbours unless it is told that none are a CTC's
        accepted = inspect.signature(tokenizer._decode).parameters
        self._options = {"group_tokens": False} if "group_tokens" in accepted else {}

    @torch.inference_mode()
    def recognise(self, waveforms: list[np.ndarray]) -> list[Heard]:
        """Words of each waveform; empty if it is too short for a frame."""
        long = [i for i, one in enumerate(waveforms) if len(one) >= self._family.min_samples]
        found = [Heard("", 0.0, 0)] * len(waveforms)
        if not long:
            return found
        inputs, frames = self._family.inputs([waveforms[i] for i in long])
        inputs = {name: value.to(self._device) for name, value in inputs.items()}
        states = self._model.get_audio_features(**inputs).pooler_output
        symbols, spoken, scores = self._search(states, torch.tensor(frames, device=states.device))
        for i, row, kept, score in zip(long, symbols, spoken, scores.tolist(), strict=True):
            words = words_of(self._tokenizer, row[kept], **self._options)
            found[i] = Heard(words, score, int(kept.sum()))
        return found

    def _search(self, states: Tensor, frames: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Symbols [B, I] of states [B, T, H], which of them are tokens, and the path's score [B].

        Every step takes the likeliest symbol and the likeliest duration. A frame with as many
        tokens as the model allows is left.
        """
        rows = torch.arange(len(states), device=states.device)
        place, here = torch.zeros_like(rows), torch.zeros_like(rows)
        score = states.new_zeros(len(states))
        blank = self._model.config.blank_token_id
        predicted, memory = self._predict(torch.full_like(rows, blank), None)
        path, kept = [rows[:, None][:, :0]], [rows[:, None][:, :0].bool()]
        while bool((walking := place < frames).any()):
            nodes = states[rows, place.clamp(max=states.size(1) - 1)]
            symbol, duration, found = self._likeliest(self._model.joint(predicted, nodes))
            spoken = walking & (symbol != blank)
            score = score + found.where(walking, torch.zeros_like(found))
            path.append(symbol[:, None])
            kept.append(spoken[:, None])
            here = torch.where(spoken & (duration == 0), here + 1, 0)
            full = here == self._model.max_symbols_per_step
            place = place + torch.where((symbol == blank) | full, duration.clamp(min=1), duration)
            here = here.masked_fill(full, 0)
            if bool(spoken.any()):
                new, changed = self._predict(symbol, memory)
                predicted = torch.where(spoken[:, None], new, predicted)
                memory = [
                    torch.where(spoken[None, :, None], one, other)
                    for one, other in zip(changed, memory, strict=True)
                ]
        return torch.cat(path, dim=1), torch.cat(kept, dim=1), score

    def _predict(self, tokens: Tensor, memory: list[Tensor] | None) -> tuple[Tensor, list[Tensor]]:
        """What the predictor gives, [B, H], after one more token [B]."""
        decoder = self._model.decoder
        embedded = decoder.embedding(tokens)[:, None]
        given, changed = decoder.lstm(embedded, None if memory is None else tuple(memory))
        return decoder.decoder_projector(given)[:, 0], list(changed)

    def _likeliest(self, logits: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Symbol, duration and log-probability [B] of logits [B, V + D]; RNN-T has D = 0."""
        count = self._model.config.vocab_size
        found, symbol = logits[:, :count].float().log_softmax(-1).max(-1)
        if not len(self._durations):
            return symbol, torch.zeros_like(symbol), found
        lasting, which = logits[:, count:].float().log_softmax(-1).max(-1)
        return symbol, self._durations.to(which.device)[which], found + lasting


def _is_tdt(model: Any) -> bool:
    return model.config.model_type == "parakeet_tdt"
