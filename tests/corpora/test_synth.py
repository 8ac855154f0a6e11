"""Synthesis is a pure function, and mixing keeps what it promises."""

import gc
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from distill_asr.corpora import synthesis as synth
from distill_asr.data.noise import add_noise, babble, pink_noise, scale_peak, white_noise
from distill_asr.errors import UserError
from distill_asr.io.audio import resample

TEXT = "turn on the light at seven thirty"
# with flutter, noise sources, echo or the other synthesiser: whatever may carry state over
VOICES = ["en-us", "en+croak", "en-us+f3", "en-gb-scotland+klatt2", "en-us-nyc+whisper", "en+Annie"]


def test_the_same_utterance_is_bitwise_the_same_in_any_order() -> None:
    first = {voice: synth.synthesise(TEXT, voice)[0] for voice in VOICES}
    synth.synthesise("something else in between", "en-029+m3", rate=250, pitch=90)
    second = {voice: synth.synthesise(TEXT, voice)[0] for voice in reversed(VOICES)}
    for voice in VOICES:
        np.testing.assert_array_equal(first[voice], second[voice])


def test_the_same_utterance_is_bitwise_the_same_in_another_process() -> None:
    code = (
        "import sys; from distill_asr.corpora import synthesis as synth;"
        "synth.synthesise('before', 'en-us+m3');"
        f"sys.stdout.buffer.write(synth.synthesise({TEXT!r}, 'en+croak')[0].tobytes())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    other = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, check=True
    )
    assert other.stdout == synth.synthesise(TEXT, "en+croak")[0].tobytes()


def test_many_utterances_survive_garbage_collection() -> None:
    for number in range(len(VOICES)):
        samples, rate = synth.synthesise(f"number {number}", VOICES[number])
        gc.collect()
        assert rate == 22050 and samples.dtype == np.float32 and len(samples) > rate // 4


def test_settings_change_the_speech() -> None:
    plain, _ = synth.synthesise(TEXT)
    fast, _ = synth.synthesise(TEXT, rate=250)
    loud, _ = synth.synthesise(TEXT, volume=50)
    high, _ = synth.synthesise(TEXT, pitch=90)
    assert len(fast) < 0.8 * len(plain)
    assert np.abs(loud).max() < 0.75 * np.abs(plain).max()
    assert len(high) != len(plain) or not np.array_equal(high, plain)


@pytest.mark.parametrize("voice", ["en-xx", "en-us+nobody", "en-us+Reed"])
def test_an_unknown_voice_is_refused(voice: str) -> None:
    with pytest.raises(ValueError, match="unknown espeak-ng voice"):
        synth.synthesise(TEXT, voice)
    assert len(synth.synthesise(TEXT)[0])  # and the library still works


def test_a_long_path_to_the_voices_is_no_problem(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library, voices = synth._wheel_paths()
    expected = synth.synthesise(TEXT)[0]
    long = tmp_path / ("d" * 200)
    long.symlink_to(voices, target_is_directory=True)
    monkeypatch.setattr(synth, "_wheel_paths", lambda: (library, str(long)))
    with pytest.raises(UserError, match="cannot read its voice data"):
        synth.synthesise(TEXT)
    short = synth._short_path(str(long))
    monkeypatch.setattr(synth, "_wheel_paths", lambda: (library, short))
    np.testing.assert_array_equal(synth.synthesise(TEXT)[0], expected)


@pytest.mark.parametrize(
    ("voice", "text"), [("fi+f2", "Kenia, Uganda ja Nairobi"), ("th+m1", "เคนยา, ยูกันดา และ มาลี")]
)
def test_words_and_phones_have_their_places(voice: str, text: str) -> None:
    expected, rate = synth.synthesise(text, voice)
    samples, same, words = synth.synthesise_words(text, voice)
    assert same == rate
    np.testing.assert_array_equal(samples, expected)
    starts = [0, *(i + 1 for i, char in enumerate(text) if char == " ")]
    assert [word.position for word in words] == starts
    phones = [phone for word in words for phone in word.phones]
    assert phones == sorted(phones) and phones[-1] < len(samples)
    assert all(len(word.phones) >= 2 for word in words)
    quiet = samples[: max(phones[0] - rate // 100, 0)]
    assert np.abs(quiet).max(initial=0.0) < 0.01 * np.abs(samples).max(), "nothing before the first"


def test_nothing_to_speak_is_refused() -> None:
    with pytest.raises(ValueError, match="nothing to speak"):
        synth.synthesise("  ")


def test_transcribing_tells_homophones_alike_and_all_clauses() -> None:
    assert (
        synth.transcribe("the sail", "en-us") == synth.transcribe("the sale", "en-us") == "ðə sˈeɪl"
    )
    said = [synth.transcribe(text, "en-us") for text in ("the sail", "the sale")]
    assert said == ["ðə sˈeɪl"] * 2
    assert synth.transcribe("euro, Malte", "fr") == "øʁˈo mˈalt"
    with pytest.raises(ValueError, match="nothing to speak"):
        synth.transcribe(" ", "en-us")


def test_resampling_keeps_a_tone() -> None:
    time = np.arange(22050) / 22050
    tone = np.sin(2 * np.pi * 440 * time).astype(np.float32)
    resampled = resample(tone, 22050, 16000)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000)
    assert resampled.shape == (16000,) and resampled.dtype == np.float32
    np.testing.assert_allclose(resampled[500:-500], expected[500:-500], atol=2e-3)


@pytest.mark.parametrize("snr", [-5.0, 0.0, 20.0])
def test_noise_has_the_wanted_level(snr: float) -> None:
    rng = np.random.default_rng(0)
    speech = synth.synthesise(TEXT)[0]
    for noise in (white_noise(len(speech), rng), pink_noise(len(speech), rng)):
        added = add_noise(speech, noise, snr).astype(np.float64) - speech
        ratio = np.mean(np.square(speech, dtype=np.float64)) / np.mean(np.square(added))
        assert 10 * np.log10(ratio) == pytest.approx(snr, abs=0.01)


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    power = np.abs(np.fft.rfft(pink_noise(1 << 18, np.random.default_rng(1)))) ** 2
    octaves = [power[n : 2 * n].mean() for n in (4096, 8192, 16384, 32768)]
    np.testing.assert_allclose(10 * np.log10(np.divide(octaves[:-1], octaves[1:])), 3.0, atol=0.3)


def test_babble_is_reproducible_and_made_of_the_given_speech() -> None:
    rng = np.random.default_rng(3)
    tones = [np.sin(2 * np.pi * f * np.arange(8000) / 8000) for f in (200, 300, 500, 700)]
    one = babble(tones, 16000, np.random.default_rng(7), talkers=3)
    np.testing.assert_array_equal(one, babble(tones, 16000, np.random.default_rng(7), 3))
    assert np.mean(one.astype(np.float64) ** 2) == pytest.approx(1.0, abs=1e-3)
    spectrum = np.abs(np.fft.rfft(one))
    assert set(np.argsort(spectrum)[-3:]) <= {400, 600, 1000, 1400}
    assert not np.array_equal(one, babble(tones, 16000, rng, 3))


def test_what_the_library_refuses_is_an_error() -> None:
    """Its status codes; a stand-in gives them, since our settings are all in its ranges."""
    library = Mock()
    library.espeak_Initialize.return_value = synth.ESPEAK_RATE
    library.espeak_SetVoiceByName.return_value = 0
    with pytest.raises(ValueError, match="espeak-ng refuses value 900 for parameter 1"):
        synth._start(library, "data", "en-us", {1: 900}, 0)
    with pytest.raises(RuntimeError, match=r"espeak_Synth failed with status .* for 'one'"):
        synth._speak(library, "one")


def test_mixing_different_lengths_is_an_error() -> None:
    with pytest.raises(ValueError, match="speech has 3 samples, noise 4"):
        add_noise(np.ones(3), np.ones(4), 10.0)


def test_scaling_the_peak() -> None:
    np.testing.assert_allclose(scale_peak(np.array([0.1, -0.2]), 0.5), [0.25, -0.5])
    np.testing.assert_array_equal(scale_peak(np.zeros(4), 0.5), np.zeros(4))
