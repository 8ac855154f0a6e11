"""Losses on matched pairs: ``loss(student [N, E], teacher [N, E]) -> [N]``. Name a new one here."""

from distill_asr.distill.losses.codebook import Codebook
from distill_asr.distill.losses.contrastive import Contrastive
from distill_asr.distill.losses.cosine import Cosine
from distill_asr.distill.losses.kl import KL
from distill_asr.distill.losses.l1 import L1
from distill_asr.distill.losses.l1_cosine import L1Cosine
from distill_asr.distill.losses.mse import MSE

LOSSES = {
    "l1": L1,
    "mse": MSE,
    "cosine": Cosine,
    "l1_cosine": L1Cosine,
    "contrastive": Contrastive,
    "codebook": Codebook,
    "kl": KL,
}
