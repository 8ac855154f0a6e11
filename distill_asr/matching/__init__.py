"""Matchers: student and teacher states in, paired positions out. Name a new one here."""

from distill_asr.matching.frame import FrameMatcher

MATCHERS = {"frame": FrameMatcher}
