"""CIF student: continuous integrate-and-fire between encoder and decoder (arXiv 2301.13003).

Legend: B batch, T frames, U tokens (the end token included), D width, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import Tensor, nn

from distill_asr.distill.states import States, TapShape
from distill_asr.models.cif import WEIGHT_PREDICTORS, CifOutput, integrate_and_fire
from distill_asr.models.cif.integrate_and_fire import TAIL_THRESHOLD, THRESHOLD
from distill_asr.models.students.cif_decoders import CIF_DECODERS
from distill_asr.models.students.encoder_student import EncoderStudent
from distill_asr.models.students.pooling import pool_after as pool_encoder_after


class CIFStudent(EncoderStudent):
    """Encoder, weight predictor, integrate-and-fire, decoder and an auxiliary CTC.

    The encoder may be any of ESPnet's. Where the transcript is known, in training and in
    validation, weights are scaled to it, so that position u of the taps ``cif`` and ``decoder`` is
    the transcript's token u; the end token is the last. The published code leaves them unscaled
    in validation and shortens what does not fit.

    Parameters
    ----------
    decoder : ``cif_ar`` or ``cif_nar``.
    weights : weight predictor, ``conv``, ``dense`` or ``linear``.
    weights_conf : its arguments.
    pool_after : encoder layers, counted from 1, after which the frame rate is halved.
    threshold, tail_threshold : see ``integrate_and_fire``.
    quantity_weight : factor of ``|sum of weights - U|``.
    ctc_weight : factor of the auxiliary CTC, whose targets have the end token; 0 for none.
    lsm_weight : label smoothing, spread over the V - 1 other tokens.
    """

    def __init__(
        self,
        encoder: nn.Module,
        postencoder: nn.Module | None,
        decoder: nn.Module | None,
        ctc: nn.Module,
        weights: str = "conv",
        weights_conf: dict | None = None,
        pool_after: Sequence[int] = (),
        threshold: float = THRESHOLD,
        tail_threshold: float = TAIL_THRESHOLD,
        quantity_weight: float = 1.0,
        ctc_weight: float = 0.5,
        lsm_weight: float = 0.1,
        sym_blank: str = "<blank>",
        extract_feats_in_collect_stats: bool = True,
        **parts: Any,
    ) -> None:
        _check_parts(decoder, weights)
        super().__init__(
            encoder=encoder,
            postencoder=postencoder,
            ctc=ctc,
            report_cer=False,
            sym_blank=sym_blank,
            extract_feats_in_collect_stats=extract_feats_in_collect_stats,
            **parts,
        )
        self.decoder = decoder
        self.width = (postencoder or encoder).output_size()
        self.weights = WEIGHT_PREDICTORS[weights](self.width, **(weights_conf or {}))
        pool_encoder_after(encoder, pool_after)
        self.limits = (threshold, tail_threshold)
        self.quantity_weight = quantity_weight
        self.ctc_weight = ctc_weight
        self.lsm_weight = lsm_weight
        self.ctc = ctc if ctc_weight else None

    def token_taps(self) -> dict[str, TapShape]:
        """Taps on token level."""
        return {"cif": TapShape(self.width, None), "decoder": TapShape(self.decoder.width, None)}

    def integrate(
        self, encoded: Tensor, encoded_lengths: Tensor, target_lengths: Tensor | None = None
    ) -> CifOutput:
        """Integrate the encoder's output into tokens (arXiv 1905.11235).

        Parameters
        ----------
        encoded : [B, T, D].
        encoded_lengths : [B], valid frames.
        target_lengths : [B], tokens of the transcripts, to which weights are scaled; None in
            inference.
        """
        alpha = self.weights(encoded, encoded_lengths)
        return integrate_and_fire(encoded, alpha, encoded_lengths, target_lengths, *self.limits)

    def asr_loss(
        self,
        speech: Tensor,
        speech_lengths: Tensor,
        text: Tensor,
        text_lengths: Tensor,
        **batch: Tensor,
    ) -> tuple:
        """Sum cross-entropy, quantity and CTC loss, each per token of the transcripts.

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
        encoded_lengths = encoded_lengths.to(torch.int64)
        targets, target_lengths = self.with_end(text, text_lengths)
        cif = self.integrate(encoded, encoded_lengths, target_lengths)
        fired = targets[:, : cif.states.size(1)]
        logits, states = self.decoder(cif.states, cif.lengths, self.history(fired))
        self._put_taps(cif, states, target_lengths)
        entropy, likelihood, correct = cross_entropy_sums(
            logits, fired, cif.lengths, self.lsm_weight
        )
        sums = {"ce": entropy, "quantity": (cif.quantity - target_lengths).abs().sum()}
        if self.ctc is not None:
            # ESPnet's CTC is a mean over utterances
            ctc = self.ctc(encoded.float(), encoded_lengths, targets, target_lengths)
            sums["ctc"] = ctc * speech.size(0)
        tokens = target_lengths.sum()
        stats = {f"loss_{name}": (value / tokens).detach() for name, value in sums.items()}
        stats |= {"nll": (likelihood / tokens).detach(), "acc": correct / tokens}
        stats["unfired"] = (target_lengths - cif.lengths).sum() / tokens
        loss = self.weighted(sums) / tokens
        stats["loss"] = loss.detach()
        return force_gatherable((loss, stats, tokens), loss.device)

    def weighted(self, sums: dict[str, Tensor]) -> Tensor:
        """Sum of the terms with their factors."""
        factors = {"ce": 1.0, "quantity": self.quantity_weight, "ctc": self.ctc_weight}
        return torch.stack([factors[name] * value.float() for name, value in sums.items()]).sum()

    def history(self, targets: Tensor) -> Tensor:
        """The token before each, [B, U]; the start token first, and in the padding."""
        tokens = targets.masked_fill(targets == self.ignore_id, self.sos)
        return nn.functional.pad(tokens, (1, 0), value=self.sos)[:, :-1]

    def _put_taps(self, cif: CifOutput, states: Tensor, target_lengths: Tensor) -> None:
        if not self.taps.is_recording:
            return
        # if some tokens did not fire, it is unknown which of them did
        lengths = cif.lengths * (cif.lengths == target_lengths)
        self.taps.put("cif", States(cif.states, lengths, None))
        self.taps.put("decoder", States(states, lengths, None))


def _check_parts(decoder: nn.Module | None, weights: str) -> None:
    if not isinstance(decoder, tuple(CIF_DECODERS.values())):
        raise ValueError(f"decoder: a CIF student needs one of {', '.join(CIF_DECODERS)}")
    if weights not in WEIGHT_PREDICTORS:
        known = ", ".join(WEIGHT_PREDICTORS)
        raise ValueError(f"weights must be one of {known}, not {weights!r}")


def cross_entropy_sums(
    logits: Tensor, targets: Tensor, lengths: Tensor, smoothing: float
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over valid positions: smoothed cross-entropy, plain one, and correct tokens.

    Parameters
    ----------
    logits : [B, U, V].
    targets : [B, U].
    lengths : [B], valid positions.
    smoothing : probability that goes to the V - 1 other tokens.
    """
    valid = torch.arange(targets.size(1), device=targets.device) < lengths.unsqueeze(1)
    logits, gold = logits[valid], targets[valid]
    log_probs = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    likelihood = -log_probs.gather(1, gold.unsqueeze(1)).sum()
    others = -log_probs.sum() - likelihood
    entropy = (1 - smoothing) * likelihood + smoothing / (logits.size(-1) - 1) * others
    return entropy, likelihood, (logits.argmax(dim=-1) == gold).sum()
