"""Matchers: student and teacher states in, paired positions out. Name a new one here."""

from distill_asr.distill.matching.ctc import CTCMatcher
from distill_asr.distill.matching.frame import FrameMatcher
from distill_asr.distill.matching.path import PathMatcher
from distill_asr.distill.matching.shrink import ShrinkMatcher
from distill_asr.distill.matching.token import TokenMatcher

MATCHERS = {
    "frame": FrameMatcher,
    "shrink": ShrinkMatcher,
    "token": TokenMatcher,
    "path": PathMatcher,
    "ctc": CTCMatcher,
}
