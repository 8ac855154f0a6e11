"""Laws of the streaming encoder: masked as a whole, chunk by chunk, alone and in a batch."""

from __future__ import annotations

from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from distill_asr.decode.streaming import EncoderStream
from distill_asr.errors import UserError
from distill_asr.models.encoders.chunked import (
    FULL_CONTEXT,
    ChunkedEncoder,
    ChunkedStream,
    chunk_mask,
)
from distill_asr.models.students.taps import encoder_tap_names
from distill_asr.testing.fixtures import tiny_config
from distill_asr.testing.students import tiny_batch, tiny_student
from distill_asr.train.checks import check_config
from distill_asr.train.config import TrainConfig

CONF = {
    "output_size": 16,
    "attention_heads": 2,
    "linear_units": 16,
    "num_blocks": 2,
    "cnn_module_kernel": 5,
}
WIDTH = 16  # of features


def encoder(seed: int = 0, **conf: object) -> ChunkedEncoder:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ChunkedEncoder(WIDTH, **(CONF | {"left_frames": 6} | conf)).eval()


def features(frames: int, seed: int = 0, size: int = 1) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(size, frames, WIDTH, generator=generator), torch.tensor([frames] * size)


@cache
def student(snip_edges: bool, factor: int, left: int) -> nn.Module:
    made = tiny_student(
        "transducer",
        frontend_conf={"n_mels": WIDTH, "snip_edges": snip_edges},
        encoder="chunked",
        encoder_conf=CONF | {"subsampling_factor": factor, "left_frames": left},
    )
    return made.eval()


def cut(samples: Tensor, sizes: list[int]) -> list[Tensor]:
    """Pieces of the sizes given, over and over."""
    pieces, begin, turn = [], 0, 0
    while begin < len(samples):
        size = sizes[turn % len(sizes)]
        pieces.append(samples[begin : begin + size])
        begin, turn = begin + size, turn + 1
    return pieces


@settings(max_examples=40, deadline=None)
@given(
    samples=st.integers(1, 24000),
    chunk=st.integers(1, 12),
    sizes=st.lists(st.sampled_from([1, 37, 160, 320, 2192, 5000, 16000]), min_size=1, max_size=4),
    snip_edges=st.booleans(),
    factor=st.sampled_from([2, 4, 6]),
    left=st.sampled_from([0, 1, 7, 30]),
)
def test_pieces_of_audio_give_what_the_masked_whole_gives(
    samples: int, chunk: int, sizes: list[int], snip_edges: bool, factor: int, left: int
) -> None:
    if max(sizes) < 160:
        sizes = [*sizes, 4000]  # sample by sample takes long
    made = student(snip_edges, factor, left)
    made.encoder.chunk_size = chunk
    speech = 0.1 * torch.randn(samples, generator=torch.Generator().manual_seed(samples))
    stream = EncoderStream(made, chunk)
    chunks = [c for piece in cut(speech, sizes) for c in stream.push(piece)]
    assert all(c.size(1) == chunk for c in chunks)
    chunks += stream.push(torch.zeros(0), final=True)
    frames = made.frontend.num_frames(torch.tensor([samples]))
    if not int(made.encoder.num_frames(frames)):
        assert not chunks
        return
    with torch.no_grad():
        whole, lengths = made.encode(speech[None], torch.tensor([samples]))
    assert lengths.tolist() == [whole.size(1)]
    torch.testing.assert_close(torch.cat(chunks, dim=1), whole, atol=1e-4, rtol=0)


@pytest.mark.parametrize("chunk", [FULL_CONTEXT, 1, 3, 100])
def test_padding_changes_nothing(chunk: int) -> None:
    made = encoder(chunk_size=chunk)
    (values, _), lengths = features(90, size=4), torch.tensor([90, 41, 7, 60])
    with torch.no_grad():
        together, frames, _ = made(values, lengths)
        for i, length in enumerate(lengths.tolist()):
            alone, count, _ = made(values[i : i + 1, :length], lengths[i : i + 1])
            assert count == frames[i] == alone.size(1)
            torch.testing.assert_close(together[i, :count], alone[0], atol=1e-5, rtol=0)
        more = nn.functional.pad(values, (0, 0, 0, 20), value=5.0)
        torch.testing.assert_close(made(more, lengths)[0], together)


@pytest.mark.parametrize("factor", [2, 4, 6])
def test_frames_are_those_of_the_convolutions(factor: int) -> None:
    made = encoder(subsampling_factor=factor)
    for frames in range(made.embed.min_frame_length, 40):
        assert made.embed(features(frames)[0])[0].size(1) == made.num_frames(torch.tensor([frames]))
    below = torch.arange(made.embed.min_frame_length)
    assert not made.num_frames(below).any()


def test_a_chunk_as_long_as_the_utterance_is_full_context() -> None:
    values = features(80)
    with torch.no_grad():
        full = encoder(chunk_size=FULL_CONTEXT)(*values)[0]
        torch.testing.assert_close(encoder(chunk_size=19)(*values)[0], full)
        assert not torch.allclose(encoder(chunk_size=9)(*values)[0], full, atol=1e-3)


def test_nothing_is_heard_of_later_chunks_nor_beyond_the_left_context() -> None:
    made = encoder(chunk_size=4, left_frames=2, cnn_module_kernel=3)
    values, lengths = features(150)
    changed = values.clone()
    changed[:, 50:60] += 1.0  # encoder frames 11 to 14, of the chunks from 8 and from 12
    with torch.no_grad():
        difference = (made(changed, lengths)[0] - made(values, lengths)[0])[0].abs().amax(-1)
    # first block: the chunk from 16 looks back to 14, its convolution carries that on to 21;
    # second block: the chunk from 20 looks back to 18, the one from 24 only to 22, and so on to 25
    assert len(difference) == 36 and not difference[:8].any() and not difference[26:].any()
    assert difference[8:26].gt(1e-5).all()


def test_the_mask() -> None:
    expected = [
        # 0  1  2  3  4  5  6
        "1  1  .  .  .  .  .",
        "1  1  .  .  .  .  .",
        ".  1  1  1  .  .  .",
        ".  1  1  1  .  .  .",
        ".  .  .  1  1  1  .",
        ".  .  .  1  1  1  .",
        ".  .  .  .  .  1  1",
    ]
    seen = torch.tensor([[c == "1" for c in row.split()] for row in expected])
    assert torch.equal(~chunk_mask(7, 2, 1), seen)


def test_training_draws_chunks_and_full_context(monkeypatch: pytest.MonkeyPatch) -> None:
    made = encoder(max_chunk=4, full_context_share=0.4).train()
    drawn = []
    original = made.encoders.forward

    def spy(*args: object, chunk_mask: Tensor | None) -> Tensor:
        drawn.append(0 if chunk_mask is None else int((~chunk_mask[0]).sum()))
        return original(*args, chunk_mask=chunk_mask)

    monkeypatch.setattr(made.encoders, "forward", spy)
    torch.manual_seed(0)
    values = features(60)
    with torch.no_grad():
        for _ in range(100):
            made(*values)
        assert set(drawn) == {0, 1, 2, 3, 4} and 25 <= drawn.count(0) <= 55
        made.eval()(*values)
    assert drawn[-1] == 8, "the chunk size of the config"


def test_gradients_are_finite_where_padding_sees_nothing() -> None:
    made = encoder(chunk_size=2, left_frames=0)
    values, _ = features(90, size=2)
    values.requires_grad_()
    encoded, lengths, _ = made(values, torch.tensor([90, 20]))
    encoded[1, : int(lengths[1])].sum().backward()
    assert values.grad.isfinite().all() and values.grad[1, :20].any()
    assert not values.grad[1, 20:].any() and not values.grad[0].any()
    assert all(p.grad is None or p.grad.isfinite().all() for p in made.parameters())


def test_full_context_does_not_stream() -> None:
    with pytest.raises(ValueError, match="chunk size 0: a stream needs chunks of 1 or more"):
        ChunkedStream(encoder(chunk_size=0))


def test_streams_share_an_encoder() -> None:
    made = encoder(chunk_size=3)
    one, other = ChunkedStream(made), ChunkedStream(made, 5)
    (first, _), (second, _) = features(70), features(70, seed=1)
    found: list[list[Tensor]] = [[], []]
    for begin in range(0, 70, 10):
        found[0] += one.push(first[:, begin : begin + 10], final=begin == 60)
        found[1] += other.push(second[:, begin : begin + 10], final=begin == 60)
    for values, chunks, size in ((first, found[0], 3), (second, found[1], 5)):
        made.chunk_size = size
        with torch.no_grad():
            whole = made(values, torch.tensor([70]))[0]
        torch.testing.assert_close(torch.cat(chunks, dim=1), whole, atol=1e-4, rtol=0)
    with pytest.raises(ValueError, match="1 or more"):
        ChunkedStream(made, FULL_CONTEXT)


def test_a_stream_keeps_nothing_of_what_it_has_encoded() -> None:
    stream = ChunkedStream(encoder(chunk_size=3))
    sizes = []
    for frames in (40, 41, 600):
        stream.push(features(frames)[0])
        kept = [stream._waiting, *(cache for pair in stream._caches for cache in pair)]
        sizes.append(sum(tensor.untyped_storage().nbytes() for tensor in kept))
    assert max(sizes) - min(sizes) < 4 * WIDTH * 20, "frames that wait may differ, by a few"


def test_taps_and_distillers() -> None:
    block = {"teacher": "teacher", "tap": "encoder:1", "loss": "l1"}
    made = tiny_student("transducer", {"d": block}, encoder="chunked", encoder_conf=CONF)
    assert encoder_tap_names(made.encoder) == ["encoder", "encoder:1", "encoder:2"]
    assert made.taps.shapes["encoder:1"].width == 16
    assert made.taps.shapes["encoder:1"].step_ms == 40
    loss, stats, _ = made(**tiny_batch())
    loss.backward()
    assert stats["distill/d"] > 0
    assert all(p.grad.isfinite().all() for p in made.parameters() if p.grad is not None)
    reached = {
        name.split(".")[2] for name, p in made.encoder.named_parameters()
        if name.startswith("encoders.blocks") and p.grad is not None and p.grad.any()
    }  # fmt: skip
    assert reached == {"0", "1"}


def test_too_short() -> None:
    from espnet.nets.pytorch_backend.transformer.subsampling import TooShortUttError

    with pytest.raises(TooShortUttError, match="6 feature frames"):
        encoder()(*features(6))


@pytest.mark.parametrize(
    ("conf", "message"),
    [
        ({"attention_heads": 3}, "output_size: 16, expected an even multiple"),
        ({"cnn_module_kernel": 4}, "cnn_module_kernel: 4, expected an odd number"),
        ({"subsampling_factor": 3}, "expected 2, 4 or 6"),
        ({"chunk_size": -1}, "chunk_size: -1, expected frames, or 0"),
        ({"left_frames": -1}, "left_frames: -1"),
        ({"max_chunk": 0}, "max_chunk: 0"),
        ({"full_context_share": 1.5}, "full_context_share: 1.5"),
        ({"chunksize": 4}, "did you mean 'chunk_size'"),
    ],
)
def test_mistakes_are_found_before_training(conf: dict, message: str) -> None:
    config = tiny_config("transducer", encoder="chunked", encoder_conf=CONF | conf)
    with pytest.raises(UserError, match=message):
        check_config(TrainConfig.parse(config, "student.yaml"))
