"""Searches: audio of one utterance in, n-best token sequences out."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Hypothesis:
    """Token ids without blank or end token, and their log-probability.

    ``frames``: the encoder frame in which each token came out, from searches that know it.
    """

    tokens: list[int]
    score: float
    frames: list[int] | None = None


class TransducerSearch:
    """ESPnet's beam search over a transducer student.

    Parameters
    ----------
    student : in evaluation mode.
    beam_size : 1 is greedy.
    nbest : hypotheses kept.
    """

    def __init__(self, student: nn.Module, beam_size: int, nbest: int) -> None:
        from espnet2.asr_transducer.beam_search_transducer import BeamSearchTransducer

        self.student = student
        self.beam = BeamSearchTransducer(
            student.decoder, student.joint_network, beam_size, nbest=nbest
        )

    @torch.inference_mode()
    def __call__(self, speech: Tensor) -> list[Hypothesis]:
        """speech [samples] -> hypotheses, best first."""
        encoded, _ = self.student.encode(speech.unsqueeze(0), torch.tensor([speech.numel()]))
        blank = self.student.blank_id
        return [
            Hypothesis([t for t in found.yseq if t != blank], float(found.score))
            for found in self.beam(encoded[0])
        ]


class CTCGreedySearch:
    """Best path of a CTC student."""

    def __init__(self, student: nn.Module) -> None:
        self.student = student

    @torch.inference_mode()
    def __call__(self, speech: Tensor) -> list[Hypothesis]:
        """speech [samples] -> one hypothesis."""
        encoded, _ = self.student.encode(speech.unsqueeze(0), torch.tensor([speech.numel()]))
        best, path = self.student.ctc.log_softmax(encoded)[0].max(dim=-1)
        tokens = torch.unique_consecutive(path).tolist()
        tokens = [t for t in tokens if t != self.student.blank_id]
        return [Hypothesis(tokens, float(best.sum()))]


class AttentionSearch:
    """ESPnet's own inference, joint CTC/attention, on the exported model.

    Parameters
    ----------
    config_file, model_file : written by ``distill_asr.export.espnet_model``.
    ctc_weight : share of CTC in the joint score.
    """

    def __init__(
        self,
        config_file: str,
        model_file: str,
        beam_size: int,
        nbest: int,
        ctc_weight: float,
        device: str,
    ) -> None:
        from espnet2.bin.asr_inference import Speech2Text

        self.recogniser = Speech2Text(
            config_file,
            model_file,
            device=device,
            beam_size=beam_size,
            nbest=nbest,
            ctc_weight=ctc_weight,
        )

    def __call__(self, speech: Tensor) -> list[Hypothesis]:
        """speech [samples] -> hypotheses, best first."""
        return [
            Hypothesis(tokens, float(found.score))
            for _, _, tokens, found in self.recogniser(speech)
        ]
