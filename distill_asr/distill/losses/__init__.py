"""Losses on matched pairs: ``loss(student [N, E], teacher [N, E]) -> [N]``.

A new loss is one file here: a subclass of ``distill_asr.distill.contracts.Loss`` with ``forward``,
named in ``LOSSES``. If it reads codes or posteriors, or the tokens of the pairs, attributes of
that class declare it; the class documents them. A loss of another package needs no entry: a config
names it by its dotted path. Losses import neither matchers nor other losses.
"""

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
