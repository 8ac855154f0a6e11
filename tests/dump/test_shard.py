"""Computing, reading and writing at the same time; what goes wrong in one ends the others."""

import threading

import numpy as np
import pytest

from distill_asr.dump.shard import WRITE_BEHIND, _ahead, _Writing


class Source:
    def __init__(self, bad: str = "") -> None:
        self.bad = bad
        self.read_by: set[int] = set()

    def read(self, utterance: str) -> str:
        self.read_by.add(threading.get_ident())
        if utterance == self.bad:
            raise ValueError(utterance)
        return utterance.upper()


def test_items_come_in_order_from_other_threads() -> None:
    source = Source()
    batches = [["a", "b"], ["c"], ["d", "e", "f"], ["g"], ["h"]]
    assert list(_ahead(source, batches)) == [(b, [u.upper() for u in b]) for b in batches]
    assert threading.get_ident() not in source.read_by


def test_an_item_that_cannot_be_read() -> None:
    with pytest.raises(ValueError, match="c"):
        list(_ahead(Source("c"), [["a"], ["b", "c"], ["d"]]))


STATES = [("a", np.zeros((1, 1)))]


def test_everything_is_written_by_another_thread() -> None:
    found, by = [], []

    def write(pairs) -> None:
        found.extend(pairs)
        by.append(threading.get_ident())

    with _Writing(write) as writing:
        for _ in range(10 * WRITE_BEHIND):
            writing.put(STATES)
    assert len(found) == 10 * WRITE_BEHIND and by != [threading.get_ident()]


def test_a_full_disk_stops_the_teacher() -> None:
    def write(pairs) -> None:
        next(pairs)
        raise OSError("full")

    count = 0
    with pytest.raises(OSError, match="full"), _Writing(write) as writing:
        for _ in range(1000):
            writing.put(STATES)
            count += 1
    assert count < 1000


def test_a_failing_teacher_stops_the_writer() -> None:
    seen = []

    def write(pairs) -> None:
        try:
            list(pairs)
        except Exception as error:
            seen.append(type(error).__name__)
            raise

    with pytest.raises(KeyboardInterrupt), _Writing(write) as writing:
        writing.put(STATES)
        raise KeyboardInterrupt
    assert seen == ["_AbandonedError"]  # so that what is half-written is removed
