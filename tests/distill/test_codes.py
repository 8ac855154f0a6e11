"""Codes made states again: what the codebooks' own sums give, by either table."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from distill_asr.distill.codes import CodeReader, byte_rows
from distill_asr.targets.codebooks import ENTRIES, Codebooks
from distill_asr.testing.codebooks import random_codebooks


def dense_codebooks(width: int, count: int, mean: float, seed: int = 0) -> Codebooks:
    """Codebooks whose entries have no zeros, as trained ones."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(0, 1, (count, ENTRIES, width)).astype(np.float32)
    return Codebooks.of(centers, np.full(width, mean), rng.uniform(0.1, 9.0, width), {})


def decoded(books: Codebooks, codes: torch.Tensor) -> torch.Tensor:
    """[B, S, C] -> [B, S, E], by the codebooks themselves."""
    return torch.stack([torch.from_numpy(books.decode(row.numpy())) for row in codes])


@given(
    width=st.integers(1, 90),
    count=st.integers(1, 17),
    shape=st.tuples(st.integers(0, 3), st.integers(0, 20)),
    mean=st.sampled_from([0.0, -3.0, 1000.0]),
)
def test_states_are_the_sums_of_entries(
    width: int, count: int, shape: tuple[int, int], mean: float
) -> None:
    books = dense_codebooks(width, count, mean)
    codes = torch.randint(ENTRIES, (*shape, count), generator=torch.Generator().manual_seed(1))
    reader = CodeReader(books)
    states = reader(codes)
    assert states.shape == (*shape, width) and states.dtype == torch.float32
    if states.numel():
        # sums of `count` numbers of up to 5 in float32, then a mean beside them
        near = {"rtol": 1e-6, "atol": 2e-5 * count}
        torch.testing.assert_close(states, decoded(books, codes), **near)
        rows = (codes.int() + reader._first).flatten(0, 1)
        floats = reader._from_floats(rows).unflatten(0, shape)  # what other devices compute
        torch.testing.assert_close(floats, states, **near)


@pytest.mark.parametrize("fill", [-1, -100])
def test_padding_changes_no_other_state(fill: int) -> None:
    reader = CodeReader(random_codebooks(6))
    codes = torch.randint(ENTRIES, (2, 9, 4))
    padded = torch.nn.functional.pad(codes, (0, 0, 0, 3), value=fill)
    assert torch.equal(reader(padded)[:, :9], reader(codes))


def test_the_table_of_bytes_holds_every_level() -> None:
    books = dense_codebooks(300, 1, 0.0)
    levels = np.arange(-127, 128, dtype=np.int8)
    books.entries[0, 0, : len(levels)] = levels
    rows = byte_rows(books)
    assert rows.shape == (ENTRIES, 308) and rows.dtype == torch.uint8
    unpacked = torch.ops.quantized.embedding_bag_byte_unpack(rows)
    torch.testing.assert_close(unpacked, torch.from_numpy(books.centers()[0]), rtol=0, atol=2e-6)
