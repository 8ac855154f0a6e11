"""Continuous integrate-and-fire: frames in, one vector a token out, and where the tokens end."""

from distill_asr.models.cif.integrate_and_fire import CifOutput, integrate_and_fire
from distill_asr.models.cif.streaming import StreamingCif
from distill_asr.models.cif.weights import WEIGHT_PREDICTORS

__all__ = ["WEIGHT_PREDICTORS", "CifOutput", "StreamingCif", "integrate_and_fire"]
