"""Sentences that a reader takes in at once."""

from __future__ import annotations

import pages
import pytest

LONGEST = 30  # words
FEW_PAGES = ("README.md", "CONTRIBUTING.md", "bench/README.md")
SHORT = [page for page in pages.PAGES if page in FEW_PAGES or page.startswith(("docs/", "egs/"))]


@pytest.mark.parametrize("page", SHORT)
def test_no_sentence_is_long(page: str) -> None:
    long = [text for text in pages.sentences(page) if len(text.split()) > LONGEST]
    assert not long
