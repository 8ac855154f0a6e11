"""Neural transducer student on ESPnet's parts and torchaudio's loss.

Legend: B batch, T frames, U tokens, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from espnet2.asr_transducer.joint_network import JointNetwork
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import Tensor, nn

from distill_asr.distill.states import LatticeLogits, States, TapShape
from distill_asr.models.students.encoder_student import EncoderStudent
from distill_asr.models.students.joint_loss import Lattice, transducer_loss


class TransducerStudent(EncoderStudent):
    """Encoder, predictor, joint network and an optional auxiliary CTC.

    The encoder may be any of ESPnet's. ESPnet's model is the base for its front-end, ``encode``
    and CTC; its transducer branch is not used, since it needs a loss built from other sources.
    The tap ``decoder`` gives the predictor's output: position u has read the tokens before token u,
    the last one all of them, so that it is paired with the end token.

    Parameters
    ----------
    decoder : predictor of ``espnet2.asr_transducer`` (``stateless``, ``lstm``).
    ctc : auxiliary CTC on the encoder output.
    joint_net_conf : arguments of ``JointNetwork``.
    ctc_weight : factor of the auxiliary CTC; 0 for none.
    joint_budget_mb : memory for the joint network's logits, in MiB; a batch that would take more
        is computed in parts, with the same loss and gradients (see ``transducer_loss``).
    report_cer : compute the auxiliary CTC's character error rate in validation.
    """

    def __init__(
        self,
        vocab_size: int,
        encoder: nn.Module,
        postencoder: nn.Module | None,
        decoder: nn.Module,
        ctc: nn.Module,
        joint_net_conf: dict | None = None,
        ctc_weight: float = 0.3,
        joint_budget_mb: float = 1024.0,
        report_cer: bool = True,
        sym_space: str = "<space>",
        sym_blank: str = "<blank>",
        extract_feats_in_collect_stats: bool = True,
        **parts: Any,
    ) -> None:
        super().__init__(
            vocab_size=vocab_size,
            encoder=encoder,
            postencoder=postencoder,
            ctc=ctc,
            report_cer=report_cer,
            sym_space=sym_space,
            sym_blank=sym_blank,
            extract_feats_in_collect_stats=extract_feats_in_collect_stats,
            **parts,
        )
        self.decoder = decoder
        width = (postencoder or encoder).output_size()
        self.joint_network = JointNetwork(
            vocab_size, width, decoder.output_size, **(joint_net_conf or {})
        )
        if joint_budget_mb <= 0:
            raise ValueError(f"joint_budget_mb: {joint_budget_mb}, expected more than 0")
        self.joint_budget_mb = joint_budget_mb
        self.ctc_weight = ctc_weight
        if ctc_weight == 0.0:
            self.ctc = None

    def token_taps(self) -> dict[str, TapShape]:
        """The predictor's."""
        return {"decoder": TapShape(self.decoder.output_size, None)}

    def asr_loss(
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        **batch: Tensor,
    ) -> tuple:
        """Transducer loss per utterance, averaged, plus the weighted CTC.

        Parameters
        ----------
        speech : [B, samples].
        speech_lengths : [B], samples.
        text : [B, U], ids.
        text_lengths : [B].

        Returns
        -------
        (loss, stats, weight), as ESPnet's trainer expects them.
        """
        encoded, encoded_lengths = self.encode(speech, speech_lengths)
        predicted = self.predict(text, text_lengths)
        self._put_taps(encoded, encoded_lengths, predicted, text_lengths)
        loss = self.transducer_loss(encoded, encoded_lengths, text, text_lengths, predicted)
        stats = {"loss_transducer": loss.detach()}
        if self.ctc is not None:
            loss_ctc, cer_ctc = self._calc_ctc_loss(encoded, encoded_lengths, text, text_lengths)
            loss = loss + self.ctc_weight * loss_ctc
            stats.update(loss_ctc=loss_ctc.detach(), cer_ctc=cer_ctc)
        stats["loss"] = loss.detach()
        return force_gatherable((loss, stats, speech.size(0)), loss.device)

    def logit_taps(self) -> dict[str, int]:
        """``logits`` are the lattice's, for ``match: path``; ``ctc`` the auxiliary CTC's."""
        return {**super().logit_taps(), "logits": self.joint_network.lin_out.out_features}

    def predict(self, text: Tensor, text_lengths: Tensor) -> Tensor:
        """Predictor's output [B, U + 1, P].

        Parameters
        ----------
        text : [B, U], ids of the transcripts.
        text_lengths : [B], tokens of each.
        """
        history = nn.functional.pad(self._labels(text, text_lengths), (1, 0), value=self.blank_id)
        self.decoder.set_device(history.device)  # it remembers where it was built
        return self.decoder(history)

    def transducer_loss(
        self,
        encoded: Tensor,
        encoded_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        predicted: Tensor | None = None,
    ) -> Tensor:
        """Negative log-likelihood per utterance, averaged over the batch.

        Parameters
        ----------
        encoded : [B, T, D].
        encoded_lengths, text_lengths : [B].
        text : [B, U], padded with ``ignore_id``.
        predicted : [B, U + 1, P], from ``predict``, where it is computed already.
        """
        if predicted is None:
            predicted = self.predict(text, text_lengths)
        # the loss wants the longest utterance to reach the last frame and the last token
        encoded = encoded[:, : encoded_lengths.max()]
        labels = self._labels(text, text_lengths)
        lattice = Lattice(labels, encoded_lengths, text_lengths, self.blank_id)
        return transducer_loss(
            self.joint_network, encoded, predicted, lattice, self.joint_budget_mb
        )

    def _labels(self, text: Tensor, text_lengths: Tensor) -> Tensor:
        """Transcripts padded with blanks, as long as the longest."""
        text = text[:, : text_lengths.max()]
        return text.masked_fill(text == self.ignore_id, self.blank_id)

    def _put_taps(
        self, encoded: Tensor, encoded_lengths: Tensor, predicted: Tensor, text_lengths: Tensor
    ) -> None:
        if not self.taps.is_recording:
            return

        def logits(utterance: Tensor, frame: Tensor, token: Tensor) -> Tensor:
            return self.joint_network(encoded[utterance, frame], predicted[utterance, token])

        self.taps.put("decoder", States(predicted, text_lengths.to(torch.int64) + 1, None))
        self.taps.put_lattice(LatticeLogits(logits, text_lengths), encoded, encoded_lengths)
