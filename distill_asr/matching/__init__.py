"""Matchers: student and teacher states in, paired positions out. Name a new one here."""

from distill_asr.matching.ctc import CTCMatcher
from distill_asr.matching.frame import FrameMatcher
from distill_asr.matching.path import PathMatcher
from distill_asr.matching.shrink import ShrinkMatcher
from distill_asr.matching.token import TokenMatcher

MATCHERS = {
    "frame": FrameMatcher,
    "shrink": ShrinkMatcher,
    "token": TokenMatcher,
    "path": PathMatcher,
    "ctc": CTCMatcher,
}
