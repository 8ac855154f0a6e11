"""KaldiFbank against kaldi-native-fbank, and the laws of a batched frontend."""

import copy

import kaldi_native_fbank as knf
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from distill_asr.models.frontends.kaldi_fbank import LOG_FLOOR, WINDOWS, KaldiFbank

FS = 16000
DEVICES = [
    "cpu",
    pytest.param(
        "cuda",
        marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
    ),
]
OPTIONS = st.fixed_dictionaries(
    {
        "fs": st.sampled_from([8000, 11025, 16000]),
        "n_mels": st.sampled_from([4, 23, 40, 80]),
        "frame_length": st.sampled_from([25.0, 32.0]),
        "frame_shift": st.sampled_from([5.0, 10.0, 12.5]),
        "low_freq": st.sampled_from([0.0, 20.0, 64.0]),
        "high_freq": st.sampled_from([0.0, -400.0, 3800.0]),
        "preemphasis": st.sampled_from([0.0, 0.97]),
        "remove_dc_offset": st.booleans(),
        "window": st.sampled_from(sorted(WINDOWS)),
        "round_to_power_of_two": st.booleans(),
        "snip_edges": st.booleans(),
        "use_log": st.booleans(),
        "use_power": st.booleans(),
        "input_scale": st.sampled_from([1.0, 32768.0]),
    }
)


def speech_like(samples: int, seed: int = 0) -> np.ndarray:
    """Coloured noise with an offset in [-1, 1]: energy in every band, no bin at rounding level."""
    rng = np.random.default_rng(seed)
    noise = np.cumsum(rng.standard_normal(samples)) * 0.02 + rng.standard_normal(samples)
    return (0.03 * noise + 0.01).clip(-1, 1).astype(np.float32)


def reference(wave: np.ndarray, **options) -> np.ndarray:
    """What kaldi-native-fbank gives for one utterance, [T, M]."""
    options = {"fs": FS, "n_mels": 80, "high_freq": -400.0, "snip_edges": False, **options}
    opts = knf.FbankOptions()
    frame, mel = opts.frame_opts, opts.mel_opts
    frame.dither = 0.0
    frame.samp_freq = options.pop("fs")
    mel.num_bins = options.pop("n_mels")
    scale = options.pop("input_scale", 1.0)
    names = {
        "frame_length": "frame_length_ms",
        "frame_shift": "frame_shift_ms",
        "preemphasis": "preemph_coeff",
        "window": "window_type",
        "use_log": "use_log_fbank",
    }
    for name, value in options.items():
        name = names.get(name, name)
        owner = next(o for o in (frame, mel, opts) if hasattr(o, name))
        setattr(owner, name, value)
    fbank = knf.OnlineFbank(opts)
    fbank.accept_waveform(frame.samp_freq, (wave * np.float32(scale)).tolist())
    fbank.input_finished()
    frames = [fbank.get_frame(i) for i in range(fbank.num_frames_ready)]
    return np.stack(frames) if frames else np.zeros((0, mel.num_bins), np.float32)


def pad(waves: list[np.ndarray], fill: float = 0.0) -> tuple[torch.Tensor, torch.Tensor]:
    lengths = torch.tensor([len(w) for w in waves])
    batch = torch.full((len(waves), int(lengths.max())), fill)
    for row, wave in zip(batch, waves, strict=True):
        row[: len(wave)] = torch.from_numpy(wave)
    return batch, lengths


def close(ours: np.ndarray, theirs: np.ndarray, log: bool) -> None:
    # without the logarithm values span many orders of magnitude, so 1e-3 is relative there
    np.testing.assert_allclose(ours, theirs, rtol=0 if log else 1e-3, atol=1e-3 if log else 1e-6)


@settings(deadline=None, max_examples=150)
@given(options=OPTIONS, samples=st.lists(st.integers(1, 6000), min_size=1, max_size=4))
def test_equals_kaldi_native_fbank(options: dict, samples: list[int]) -> None:
    try:
        fbank = KaldiFbank(**options).eval()
    except ValueError as error:
        # an odd FFT or an empty mel bin: kaldi-native-fbank refuses these as well
        assert "odd" in str(error) or "mel bins" in str(error)
        return
    waves = [speech_like(n, seed) for seed, n in enumerate(samples)]
    feats, lengths = fbank(*pad(waves, fill=float("nan")))
    assert feats.shape == (len(waves), int(lengths.max()), options["n_mels"])
    for row, length, wave in zip(feats, lengths, waves, strict=True):
        expected = reference(wave, **options)
        assert int(length) == len(expected)
        close(row[:length].numpy(), expected, options["use_log"])
        assert (row[length:] == 0).all()


@pytest.mark.parametrize("snip_edges", [True, False])
def test_the_defaults(snip_edges: bool) -> None:
    """They are the convention of icefall and sherpa-onnx."""
    wave = speech_like(3 * FS + 77)
    feats, lengths = KaldiFbank(snip_edges=snip_edges).eval()(*pad([wave]))
    expected = reference(wave, snip_edges=snip_edges)
    assert lengths.tolist() == [298 if snip_edges else 300] == [len(expected)]
    close(feats[0].numpy(), expected, log=True)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("snip_edges", [True, False])
def test_padding_and_batch_do_not_change_a_frame(device: str, snip_edges: bool) -> None:
    fbank = KaldiFbank(snip_edges=snip_edges).eval()
    waves = [speech_like(n, n) for n in (100, 401, 4000, 7993)]
    batch, lengths = pad(waves, fill=0.7)
    batch = torch.nn.functional.pad(batch, (0, 555), value=float("inf"))
    together, frames = fbank(batch.to(device), lengths.to(device))
    assert together.device.type == device and together.shape[1] == int(frames.max())
    for row, length, wave in zip(together, frames, waves, strict=True):
        alone, _ = fbank(*pad([wave]))
        torch.testing.assert_close(row[:length].cpu(), alone[0], rtol=0, atol=1e-3)


@pytest.mark.parametrize("samples", [0, 1, 79, 80, 399])
def test_short_utterances(samples: int) -> None:
    wave = torch.from_numpy(speech_like(samples))[None]
    feats, lengths = KaldiFbank(snip_edges=True).eval()(wave, torch.tensor([samples]))
    assert feats.shape == (1, 0, 80) and lengths.tolist() == [0]
    feats, lengths = KaldiFbank(snip_edges=False).eval()(wave, torch.tensor([samples]))
    assert lengths.tolist() == [(samples + 80) // 160] and torch.isfinite(feats).all()


def test_an_empty_utterance_beside_a_full_one() -> None:
    for snip_edges in (True, False):
        fbank = KaldiFbank(snip_edges=snip_edges).eval()
        feats, lengths = fbank(*pad([speech_like(0), speech_like(1600)], fill=float("nan")))
        assert lengths[0] == 0 and lengths[1] > 0
        assert (feats[0] == 0).all() and torch.isfinite(feats).all()


def test_dither_is_for_training_only_and_has_the_given_size() -> None:
    torch.manual_seed(0)
    silence, lengths = torch.zeros(2, 8000), torch.tensor([8000, 8000])
    quiet, loud = KaldiFbank(dither=0.1), KaldiFbank(dither=0.2)
    still, _ = copy.deepcopy(quiet).eval()(silence, lengths)
    assert torch.equal(still, torch.full_like(still, LOG_FLOOR).log())
    first, again = quiet(silence, lengths)[0], quiet(silence, lengths)[0]
    assert not torch.equal(first, again) and not torch.equal(first[0], first[1])
    # twice the amplitude is four times the power
    gain = loud(silence, lengths)[0].mean() - first.mean()
    assert abs(float(gain) - np.log(4)) < 0.05


def test_no_dither_by_default_in_training() -> None:
    wave, lengths = pad([speech_like(4000)])
    fbank = KaldiFbank()
    assert torch.equal(fbank.train()(wave, lengths)[0], fbank.eval()(wave, lengths)[0])


@pytest.mark.parametrize("device", DEVICES)
def test_float32_under_autocast(device: str) -> None:
    fbank = KaldiFbank().eval()
    wave, lengths = (x.to(device) for x in pad([speech_like(4000)]))
    plain, _ = fbank(wave, lengths)
    with torch.autocast(device, dtype=torch.bfloat16):
        mixed, _ = fbank(wave, lengths)
    assert mixed.dtype == torch.float32 and torch.equal(plain, mixed)


def test_casting_the_model_rounds_the_result_only() -> None:
    wave, lengths = pad([speech_like(4000)])
    wave = wave.bfloat16()
    exact, _ = KaldiFbank().eval()(wave.float(), lengths)
    half, _ = KaldiFbank().eval().bfloat16()(wave, lengths)
    assert half.dtype == torch.bfloat16 and torch.equal(half, exact.bfloat16())


def test_nothing_in_the_checkpoint() -> None:
    assert not KaldiFbank().state_dict() and KaldiFbank(n_mels=40).output_size() == 40


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"window": "gauss"}, "povey"),
        ({"high_freq": 9000.0}, "high_freq"),
        ({"low_freq": -1.0}, "low_freq"),
        ({"n_mels": 200}, "n_mels"),
        ({"frame_shift": 30.0}, "frame_shift"),
        ({"frame_length": 0.1}, "ms"),
        ({"dither": -1.0}, "dither"),
        ({"fs": 11025, "round_to_power_of_two": False}, "odd"),
    ],
)
def test_wrong_options_are_named(options: dict, word: str) -> None:
    with pytest.raises(ValueError, match=word):
        KaldiFbank(**options)


def test_wrong_shapes_are_refused() -> None:
    fbank = KaldiFbank()
    with pytest.raises(ValueError, match="single-channel"):
        fbank(torch.zeros(2, 4000, 2), torch.tensor([4000, 4000]))
    with pytest.raises(ValueError, match="a length of 4001 in 4000 samples"):
        fbank(torch.zeros(1, 4000), torch.tensor([4001]))
