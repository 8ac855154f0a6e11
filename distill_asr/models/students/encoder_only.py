"""Stage 1: an encoder that is trained on teachers' targets alone and needs no text."""

from __future__ import annotations

from typing import Any

from torch import Tensor

from distill_asr.models.students.encoder_student import EncoderStudent


class EncoderOnlyStudent(EncoderStudent):
    """Front-end and encoder of an ESPnet model; its whole loss is its distillers'.

    Stage 2 takes the encoder over with ESPnet's own ``--init_param <file>:encoder:encoder``.
    Parameters are those of ESPnet's model; decoder, CTC and joint network are not kept.
    """

    def __init__(
        self,
        autocast_frontend: bool = False,
        extract_feats_in_collect_stats: bool = True,
        **parts: Any,
    ) -> None:
        super().__init__(
            report_cer=False,
            autocast_frontend=autocast_frontend,
            extract_feats_in_collect_stats=extract_feats_in_collect_stats,
            **parts,
        )
        self.ctc = None  # no text, so no output layer

    def asr_loss(self, speech: Tensor, speech_lengths: Tensor, **batch: Tensor) -> tuple:
        """Run the encoder, so that its taps are recorded; it has no loss of its own.

        Parameters
        ----------
        speech : [B, samples].
        speech_lengths : [B], samples.

        Returns
        -------
        (None, {}, B).
        """
        self.encode(speech, speech_lengths)
        return None, {}, speech.new_tensor(speech.size(0))

    def collect_feats(self, speech: Tensor, speech_lengths: Tensor, **batch: Tensor) -> dict:
        """Features for ESPnet's statistics pass, with text or without.

        Parameters
        ----------
        speech : [B, samples].
        speech_lengths : [B], samples.

        Returns
        -------
        ``feats`` [B, N, F] and ``feats_lengths`` [B].
        """
        feats, feats_lengths = self._extract_feats(speech, speech_lengths)
        return {"feats": feats, "feats_lengths": feats_lengths}
