"""Greedy search over a transducer: many utterances at a time, or a stream chunk by chunk.

Legend: B utterances, T frames, D width of the encoder, V vocabulary, J width of the joint network.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from distill_asr.decode.search import Hypothesis, encode

MAX_SYMBOLS = 5  # tokens in one frame; speech has fewer
BATCH_SIZE = 32  # utterances


@dataclass
class GreedyState:
    """Where a greedy search stands, by utterance.

    ``tokens`` and the ``frames`` in which they came out; ``scores`` [B]; ``predicted`` [B, J], the
    predictor's projected output, and its ``memory``; ``time``, frames that have gone by.
    """

    tokens: list[list[int]]
    frames: list[list[int]]
    scores: Tensor
    predicted: Tensor
    memory: Any
    time: int = 0


class GreedySearch:
    """The best symbol in every frame, over and over until it is the blank.

    ESPnet's beam search of size 1 is something else: it compares hypotheses of different length
    within a frame, and may take a token back.

    Parameters
    ----------
    decoder : predictor, in evaluation mode.
    joint : ESPnet's ``JointNetwork``.
    blank : its index.
    max_symbols : tokens in a frame at most; after them the frame is made to end, and the score
        counts the blank that ends it.
    """

    def __init__(
        self, decoder: nn.Module, joint: nn.Module, blank: int = 0, max_symbols: int = MAX_SYMBOLS
    ) -> None:
        self.decoder = decoder
        self.joint = joint
        self.blank = blank
        self.max_symbols = max_symbols

    @torch.inference_mode()
    def start(self, size: int, device: torch.device) -> GreedyState:
        """The state before the first frame.

        Parameters
        ----------
        size : utterances.
        device : of the encoder's output.
        """
        self.decoder.set_device(device)  # it remembers where it was built
        tokens = torch.full((size,), self.blank, device=device)
        predicted, memory = self._predict(tokens, self.decoder.init_state(size))
        empty: tuple[list, list] = ([[] for _ in range(size)], [[] for _ in range(size)])
        return GreedyState(*empty, torch.zeros(size, device=device), predicted, memory)

    @torch.inference_mode()
    def advance(self, state: GreedyState, encoded: Tensor, lengths: Tensor) -> None:
        """Go on through more frames, in place.

        Parameters
        ----------
        state : of B utterances, which changes.
        encoded : [B, T, D].
        lengths : [B], how many of the frames are an utterance's own.
        """
        projected = self.joint.lin_enc(encoded)
        alive = torch.arange(encoded.size(1), device=lengths.device)[:, None] < lengths
        for frame, going in zip(projected.unbind(1), alive, strict=True):
            self._frame(state, frame, going.nonzero().squeeze(1))
            state.time += 1

    def _frame(self, state: GreedyState, frame: Tensor, rows: Tensor) -> None:
        """One frame [B, J] for the utterances [b] that have it."""
        for _ in range(self.max_symbols):
            best, symbols = self._scores(state, frame, rows).max(dim=-1)
            state.scores[rows] += best
            emits = symbols != self.blank
            rows, symbols = rows[emits], symbols[emits]
            if not len(rows):
                return
            self._emit(state, rows, symbols)
        state.scores[rows] += self._scores(state, frame, rows)[:, self.blank]

    def _scores(self, state: GreedyState, frame: Tensor, rows: Tensor) -> Tensor:
        """Log-probabilities [b, V]."""
        logits = self.joint(frame[rows], state.predicted[rows], no_projection=True)
        return logits.float().log_softmax(dim=-1)

    def _emit(self, state: GreedyState, rows: Tensor, symbols: Tensor) -> None:
        for row, symbol in zip(rows.tolist(), symbols.tolist(), strict=True):
            state.tokens[row].append(symbol)
            state.frames[row].append(state.time)
        memory = None if state.memory is None else tuple(part[:, rows] for part in state.memory)
        state.predicted[rows], memory = self._predict(symbols, memory)
        if memory is not None:
            for whole, part in zip(state.memory, memory, strict=True):
                whole[:, rows] = part

    def _predict(self, tokens: Tensor, memory: Any) -> tuple[Tensor, Any]:
        """Projected outputs [b, J] of the predictor after ``tokens`` [b], and its memory."""
        output = self.decoder.embed(tokens.unsqueeze(1))
        if memory is not None:
            output, memory = self.decoder.rnn_forward(output, memory)
        return self.joint.lin_dec(output.squeeze(1)), memory


class TransducerGreedySearch:
    """Greedy search over whole utterances, with the frame of every token.

    Utterances are encoded one by one and searched together: the search is what takes the time. One
    that is too short for an encoder frame has no words.

    Parameters
    ----------
    student : in evaluation mode.
    batch_size : utterances that ``batch`` should be given at a time.
    """

    def __init__(
        self, student: nn.Module, max_symbols: int = MAX_SYMBOLS, batch_size: int = BATCH_SIZE
    ) -> None:
        self.student = student
        self.batch_size = batch_size
        self.search = GreedySearch(
            student.decoder, student.joint_network, student.blank_id, max_symbols
        )

    def __call__(self, speech: Tensor) -> list[Hypothesis]:
        """Speech [samples] -> one hypothesis."""
        return self.batch([speech])[0]

    @torch.inference_mode()
    def batch(self, speech: list[Tensor]) -> list[list[Hypothesis]]:
        """Utterances [samples] -> one hypothesis each."""
        encoded = [encode(self.student, one) for one in speech]
        lengths = torch.tensor([len(one) for one in encoded], device=encoded[0].device)
        state = self.search.start(len(encoded), encoded[0].device)
        self.search.advance(state, nn.utils.rnn.pad_sequence(encoded, batch_first=True), lengths)
        found = zip(state.tokens, state.scores.tolist(), state.frames, strict=True)
        return [[Hypothesis(*one)] for one in found]


def search_all(
    search: Any, utterances: Iterable[tuple[str, Tensor]]
) -> Iterator[tuple[str, list[Hypothesis]]]:
    """Hypotheses by utterance, in order; a search that takes several at a time gets them.

    Parameters
    ----------
    search : maps speech [samples] to hypotheses; ``batch`` and ``batch_size`` where it can more.
    utterances : id and speech [samples] of each.
    """
    utterances, size = iter(utterances), getattr(search, "batch_size", 1)
    while group := list(itertools.islice(utterances, size)):
        names, speech = zip(*group, strict=True)
        found = search.batch(list(speech)) if size > 1 else [search(speech[0])]
        yield from zip(names, found, strict=True)


@torch.inference_mode()
def step_ms(student: nn.Module, rate: int) -> float:
    """Duration of an encoder frame in ms, measured, since any encoder may be there.

    Parameters
    ----------
    student : its ``encode`` runs on 12 s of silence.
    rate : of the audio, in Hz.
    """
    device, seconds, frames = next(student.parameters()).device, (2, 10), []
    for samples in (rate * duration for duration in seconds):
        silence = torch.zeros(1, samples, device=device)
        frames.append(int(student.encode(silence, torch.tensor([samples], device=device))[1]))
    return float(round(1000 * (seconds[1] - seconds[0]) / (frames[1] - frames[0])))
