"""Features of audio in pieces against features of the whole."""

from __future__ import annotations

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.models.frontends.kaldi_fbank import KaldiFbank
from distill_asr.models.frontends.streaming import FbankStream


@settings(max_examples=60, deadline=None)
@given(
    samples=st.integers(0, 4000),
    pieces=st.lists(st.integers(1, 900), min_size=1, max_size=4),
    frame_length=st.sampled_from([10.0, 25.0, 32.0]),
    frame_shift=st.sampled_from([2.5, 5.0, 10.0]),
    snip_edges=st.booleans(),
)
def test_pieces_give_the_frames_of_the_whole(
    samples: int, pieces: list[int], frame_length: float, frame_shift: float, snip_edges: bool
) -> None:
    frontend = KaldiFbank(
        n_mels=4, frame_length=frame_length, frame_shift=frame_shift, snip_edges=snip_edges
    ).eval()
    audio = torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    expected, _ = frontend(audio[None], torch.tensor([samples]))
    stream, begin, found = FbankStream(frontend), 0, []
    while begin < samples:
        size = pieces[len(found) % len(pieces)]
        found.append(stream.push(audio[begin : begin + size]))
        begin += size
        # a frame is given as soon as its window is complete
        heard, first = min(begin, samples), 0 if snip_edges else frontend.shift // 2
        end = first - (0 if snip_edges else frontend.window_size // 2) + frontend.window_size
        assert sum(f.size(1) for f in found) == max(0, (heard - end) // frontend.shift + 1)
    found.append(stream.push(audio[:0], final=True))
    torch.testing.assert_close(torch.cat(found, dim=1), expected, atol=1e-4, rtol=0)


def test_it_keeps_no_more_than_a_few_windows() -> None:
    frontend = KaldiFbank().eval()
    stream = FbankStream(frontend)
    for samples in (400, 16000, 160):
        stream.push(torch.randn(samples))
        size = stream._audio.untyped_storage().nbytes() // 4
        assert size < 3 * frontend.window_size
