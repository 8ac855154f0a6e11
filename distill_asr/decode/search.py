"""Searches: audio of one utterance in, n-best token sequences out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from tempfile import TemporaryDirectory

import torch
from torch import Tensor, nn

from distill_asr.decode.alignment import align
from distill_asr.decode.language_model import LanguageModel, PrefixScorer

LONG_ENOUGH = 16000  # samples; every encoder makes a frame of so many


@dataclass(frozen=True)
class Hypothesis:
    """Token ids without blank or end token, and the search's score, a sum of log-probabilities.

    ``frames``: the encoder frame in which each token was emitted, from searches that record it.
    ``path_score``: log-probability of the path that ``frames`` come from, where ``score`` may be
    something else (that of another path, with a language model).
    """

    tokens: list[int]
    score: float
    frames: list[int] | None = None
    path_score: float | None = None


def encode(student: nn.Module, speech: Tensor) -> Tensor:
    """Encoder output [T, D] of one utterance; T is 0 where it is too short for a frame.

    Utterances are encoded one by one, since most of ESPnet's encoders let padding into their
    convolutions.

    Parameters
    ----------
    student : its front-end, normalisation and encoder run.
    speech : [samples], on the student's device.
    """
    try:
        return _encoded(student, speech)
    except Exception:  # a front-end or layer may raise anything on an empty input
        if not _is_too_short(student, speech):
            raise
        return speech.new_zeros(0, (student.postencoder or student.encoder).output_size())


def _encoded(student: nn.Module, speech: Tensor) -> Tensor:
    lengths = torch.tensor([speech.numel()], device=speech.device)
    return student.encode(speech.unsqueeze(0), lengths)[0][0]


def _is_too_short(student: nn.Module, speech: Tensor) -> bool:
    """Whether audio that cannot be encoded could be if there was more of it."""
    if speech.numel() >= LONG_ENOUGH:
        return False
    try:
        _encoded(student, speech.new_zeros(LONG_ENOUGH))
    except Exception:
        return False
    return True


class TransducerSearch:
    """ESPnet's beam search over a transducer student.

    Parameters
    ----------
    student : in evaluation mode.
    beam_size : hypotheses followed; what its size 1 does is not greedy search, see ``greedy.py``.
    nbest : hypotheses kept.
    language_model : adds its weighted log-probability to a token's.
    timestamps : find frames and ``path_score`` of each hypothesis, by its best alignment.
    """

    def __init__(
        self,
        student: nn.Module,
        beam_size: int,
        nbest: int,
        language_model: LanguageModel | None = None,
        timestamps: bool = False,
    ) -> None:
        from espnet2.asr_transducer.beam_search_transducer import BeamSearchTransducer

        self.student = student
        self.timestamps = timestamps
        self.scorer = None if language_model is None else PrefixScorer(language_model.lm)
        fusion = {} if language_model is None else {"lm_weight": language_model.weight}
        self.beam = BeamSearchTransducer(
            student.decoder, student.joint_network, beam_size, nbest=nbest, lm=self.scorer, **fusion
        )

    @torch.inference_mode()
    def __call__(self, speech: Tensor) -> list[Hypothesis]:
        """Speech [samples] -> hypotheses, best first."""
        encoded, blank = encode(self.student, speech), self.student.blank_id
        if self.scorer is not None:
            self.scorer.forget()
        found = [
            Hypothesis([t for t in one.yseq if t != blank], float(one.score))
            for one in self.beam(encoded)
        ]
        return [self._timed(encoded, one) for one in found] if self.timestamps else found

    def _timed(self, encoded: Tensor, found: Hypothesis) -> Hypothesis:
        if not len(encoded):
            return replace(found, frames=[], path_score=0.0)
        path = align(self.student, encoded, found.tokens)
        return replace(found, frames=path.frames, path_score=path.score)


class CTCGreedySearch:
    """Best path of a CTC student."""

    def __init__(self, student: nn.Module) -> None:
        self.student = student

    @torch.inference_mode()
    def __call__(self, speech: Tensor) -> list[Hypothesis]:
        """Speech [samples] -> one hypothesis; a token's frame is the first of its run."""
        encoded = encode(self.student, speech)
        best, path = self.student.ctc.log_softmax(encoded[None])[0].max(dim=-1)
        begins = path.diff(prepend=path.new_tensor([-1])) != 0
        begins &= path != self.student.blank_id
        frames = begins.nonzero().squeeze(1).tolist()
        return [Hypothesis(path[begins].tolist(), float(best.sum()), frames)]


class AttentionSearch:
    """ESPnet's own inference, joint CTC/attention, on the exported model.

    Parameters
    ----------
    config_file, model_file : written by ``distill_asr.experiments.export.espnet_model``.
    ctc_weight : share of CTC in the joint score.
    folder : of those files, which live as long as this.
    fusion : ESPnet's ``lm_train_config``, ``lm_file`` and ``lm_weight``, of a language model that
        ``load_language_model`` has checked.
    """

    def __init__(
        self,
        config_file: str,
        model_file: str,
        beam_size: int,
        nbest: int,
        ctc_weight: float,
        device: str,
        fusion: Mapping[str, str | float],
        folder: TemporaryDirectory[str],
    ) -> None:
        from espnet2.bin.asr_inference import Speech2Text

        self._folder = folder
        self.recogniser = Speech2Text(
            config_file,
            model_file,
            device=device,
            beam_size=beam_size,
            nbest=nbest,
            ctc_weight=ctc_weight,
            **fusion,
        )

    def __call__(self, speech: Tensor) -> list[Hypothesis]:
        """Speech [samples] -> hypotheses, best first."""
        return [
            Hypothesis(tokens, float(found.score))
            for _, _, tokens, found in self.recogniser(speech)
        ]
