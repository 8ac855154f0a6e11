"""Matchers: ``matcher(student States, teacher States, Context) -> Pairs``.

A new matcher is one file here: a subclass of ``distill_asr.distill.contracts.Matcher`` with
``forward``, named in ``MATCHERS``. What it needs of the batch and of the student (texts, tokens, a
lattice, one certain tap), which targets it can pair and how wide its pairs are, it declares by
members of that class, which documents them. ``Pairs`` may carry weights, tokens and alternatives.
A matcher of another package needs no entry: a config names it by its dotted path. Matchers do not
import losses.
"""

from distill_asr.distill.matching.aligned import AlignedMatcher
from distill_asr.distill.matching.ctc import CTCMatcher
from distill_asr.distill.matching.frame import FrameMatcher
from distill_asr.distill.matching.greedy import GreedyMatcher
from distill_asr.distill.matching.nbest import NBestMatcher
from distill_asr.distill.matching.path import PathMatcher
from distill_asr.distill.matching.shrink import ShrinkMatcher
from distill_asr.distill.matching.token import TokenMatcher
from distill_asr.distill.matching.transport import TransportMatcher

MATCHERS = {
    "frame": FrameMatcher,
    "shrink": ShrinkMatcher,
    "token": TokenMatcher,
    "path": PathMatcher,
    "ctc": CTCMatcher,
    "aligned": AlignedMatcher,
    "transport": TransportMatcher,
    "greedy": GreedyMatcher,
    "nbest": NBestMatcher,
}
