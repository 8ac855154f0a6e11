"""Stage 1: an encoder that learns from teachers alone and needs no text."""

from __future__ import annotations

from espnet2.asr.espnet_model import ESPnetASRModel
from torch import Tensor, nn

from distill_asr.models.students.base import Student


class EncoderOnlyStudent(Student, ESPnetASRModel):
    """Front-end and encoder of an ESPnet model; its whole loss is its distillers'.

    Stage 2 takes the encoder over with ESPnet's own ``--init_param <file>:encoder:encoder``.
    Parameters are those of ESPnet's model; decoder, CTC and joint network are not kept.
    """

    def __init__(
        self,
        vocab_size: int,
        token_list: list[str],
        frontend: nn.Module | None,
        specaug: nn.Module | None,
        normalize: nn.Module | None,
        preencoder: nn.Module | None,
        encoder: nn.Module,
        postencoder: nn.Module | None,
        decoder: nn.Module | None,
        ctc: nn.Module,
        joint_network: nn.Module | None,
        autocast_frontend: bool = False,
        extract_feats_in_collect_stats: bool = True,
    ) -> None:
        super().__init__(
            vocab_size, token_list, frontend, specaug, normalize, preencoder, encoder,
            postencoder, None, ctc, None, ctc_weight=1.0, report_cer=False, report_wer=False,
            autocast_frontend=autocast_frontend,
            extract_feats_in_collect_stats=extract_feats_in_collect_stats,
        )  # fmt: skip
        self.ctc = None  # no text, so no output layer

    def asr_loss(self, speech: Tensor, speech_lengths: Tensor, **batch: Tensor) -> tuple:
        """Run the encoder, so that its taps are recorded; there is no loss of its own."""
        self.encode(speech, speech_lengths)
        return None, {}, speech.new_tensor(speech.size(0))

    def collect_feats(self, speech: Tensor, speech_lengths: Tensor, **batch: Tensor) -> dict:
        """Features for ESPnet's statistics pass, text or not."""
        feats, feats_lengths = self._extract_feats(speech, speech_lengths)
        return {"feats": feats, "feats_lengths": feats_lengths}
