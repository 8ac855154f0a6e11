"""What is particular about each family of speech models."""

import shutil
from pathlib import Path

import numpy as np
import pytest

from distill_asr.errors import UserError
from distill_asr.pretrained.families import FAMILIES, OneByOne, family_of
from distill_asr.teachers import Teacher, TeacherConfig, load_teacher
from distill_asr.testing.speech_models import save_speech_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

TOLERANCE = 2e-5  # float32 noise on states of size 1


def waveforms(*lengths: int) -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [(rng.normal(0.05, 0.05 * (i + 1), n)).astype(np.float32) for i, n in enumerate(lengths)]


def load(
    model: Path, *layers: int, batch_seconds: float = 60, window: float | str | None = None
) -> Teacher:
    config = TeacherConfig(
        "t.yaml", "speech", str(model), layers or (3,), "mean", window=window,
        batch_seconds=batch_seconds,
    )  # fmt: skip
    return load_teacher(config)


def alone(teacher: Teacher, audio: list[np.ndarray]) -> list[np.ndarray]:
    return [teacher.states([waveform])[0] for waveform in audio]


def assert_equal(found: list[np.ndarray], expected: list[np.ndarray]) -> None:
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE)


@pytest.mark.parametrize(
    "family",
    ["wavlm", "wav2vec2-conformer", "wav2vec2-bert", "whisper", "moonshine", "parakeet-ctc"],
)
def test_as_many_positions_as_predicted(tmp_path: Path, family: str) -> None:
    teacher = load(save_speech_model(tmp_path, family))
    lengths = [720, 721, 879, 880, 1040, 1279, 1280, 1440, 5000, 15999, 16000, 24000]
    lengths = [teacher.min_samples, *(n for n in lengths if n >= teacher.min_samples)]
    predicted = [teacher._family.num_positions(n) for n in lengths]
    assert [len(states) for states in teacher.states(waveforms(*lengths))] == predicted
    assert teacher._family.num_positions(teacher.min_samples) == 1
    assert teacher._family.num_positions(teacher.min_samples - 1) == 0


def test_every_entry_is_a_model_type_of_the_library() -> None:
    known = transformers.models.auto.configuration_auto.CONFIG_MAPPING_NAMES
    assert set(FAMILIES) <= set(known)
    assert family_of("sew") is OneByOne


class TestConformer:
    @pytest.mark.parametrize("position", ["relative", "rotary", None])
    def test_batch_equals_single(self, tmp_path: Path, position: str | None) -> None:
        model = save_speech_model(tmp_path, "wav2vec2-conformer", position_embeddings_type=position)
        teacher, audio = load(model), waveforms(3000, 9000, 5000)
        assert_equal(teacher.states(audio), alone(teacher, audio))

    def test_the_library_alone_would_let_padding_in(self, tmp_path: Path) -> None:
        """Its depthwise convolutions see what the padding became."""
        save_speech_model(tmp_path, "wav2vec2-conformer", norm="layer", do_normalize=False)
        model = transformers.Wav2Vec2ConformerModel.from_pretrained(tmp_path).eval()
        short, long = (torch.from_numpy(w)[None] for w in waveforms(4000, 16000))
        padded = torch.cat([torch.nn.functional.pad(short, (0, 12000)), long])
        mask = (torch.arange(16000) < torch.tensor([4000, 16000])[:, None]).long()
        with torch.no_grad():
            leaked = model(padded, attention_mask=mask).last_hidden_state[0, :12]
            expected = model(short).last_hidden_state[0]
        assert (leaked - expected).abs().max() > 100 * TOLERANCE


class TestFilterbank:
    def test_facts(self, tmp_path: Path) -> None:
        teacher = load(save_speech_model(tmp_path, "wav2vec2-bert"))
        # one vector alone has no deviation to be divided by
        assert (teacher.step_ms, teacher.min_samples, teacher.max_size) == (20.0, 560, None)
        assert np.isfinite(teacher.states(waveforms(560))[0]).all()

    def test_adapter_and_its_feed_forward_on_top_are_left_out(self, tmp_path: Path) -> None:
        plain = save_speech_model(tmp_path / "a", "wav2vec2-bert")
        more = {"add_adapter": True, "use_intermediate_ffn_before_adapter": True}
        save_speech_model(tmp_path / "b", "wav2vec2-bert", **more)
        shutil.copy(plain / "model.safetensors", tmp_path / "b")
        audio = waveforms(3000, 2000)
        assert_equal(load(tmp_path / "b").states(audio), load(plain).states(audio))

    def test_another_extractor_is_refused(self, tmp_path: Path) -> None:
        save_speech_model(tmp_path, "wav2vec2-bert")
        transformers.Wav2Vec2FeatureExtractor().save_pretrained(tmp_path)
        with pytest.raises(UserError, match=r"expected SeamlessM4T.*SeamlessM4TFeatureExtractor\("):
            load(tmp_path)


@pytest.mark.parametrize(
    "family, step_ms, min_samples",
    [("moonshine", 24.0, 895), ("parakeet-ctc", 80.0, 320), ("canary", 80.0, 320)],
)
def test_rates(tmp_path: Path, family: str, step_ms: float, min_samples: int) -> None:
    teacher = load(save_speech_model(tmp_path, family))
    assert (teacher.step_ms, teacher.min_samples) == (step_ms, min_samples)
    long = len(teacher.states(waveforms(16000 * 12))[0]) - len(
        teacher.states(waveforms(16000 * 6))[0]
    )
    assert abs(long - 6000 / step_ms) <= 1


class TestWhisper:
    def test_facts(self, tmp_path: Path) -> None:
        teacher = load(save_speech_model(tmp_path, "whisper"))
        assert (teacher.step_ms, teacher.min_samples) == (20.0, 1)
        assert teacher.max_size == 24000  # 75 positions of 20 ms

    def test_only_the_encoder_is_loaded(self, tmp_path: Path) -> None:
        teacher = load(save_speech_model(tmp_path, "whisper"))
        names = list(teacher._model.state_dict())
        assert names and not any("decoder" in name for name in names)

    def test_bare_and_transcribing_checkpoints_say_the_same(self, tmp_path: Path) -> None:
        save_speech_model(tmp_path, "whisper")
        full = load(tmp_path)
        transformers.WhisperModel.from_pretrained(tmp_path).save_pretrained(tmp_path)
        bare = load(tmp_path)
        audio = waveforms(3000)
        assert_equal(bare.states(audio), full.states(audio))
        assert bare.fingerprint == full.fingerprint

    def test_longer_than_the_window_is_refused_not_cut(self, tmp_path: Path) -> None:
        teacher = load(save_speech_model(tmp_path, "whisper"))
        assert len(teacher.states(waveforms(24000))[0]) == 75
        with pytest.raises(ValueError, match="24001 samples, longer than 24000"):
            teacher.states(waveforms(24001))

    @pytest.mark.parametrize("batch_seconds, calls", [(60, [3]), (3.1, [2, 1]), (0.1, [1, 1, 1])])
    def test_a_batch_counts_windows(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, batch_seconds: float, calls: list
    ) -> None:
        model = save_speech_model(tmp_path, "whisper")
        teacher, found = load(model, batch_seconds=batch_seconds), []
        inputs = teacher._family.inputs
        monkeypatch.setattr(
            teacher._family, "inputs", lambda group: found.append(len(group)) or inputs(group)
        )
        audio = waveforms(3000, 4000, 5000)
        assert_equal(teacher.states(audio), load(model).states(audio))
        assert found == calls


class TestWhisperOnClips:
    """`window: audio`: the clip alone."""

    def test_full_window_equals_the_library(self, tmp_path: Path) -> None:
        model = save_speech_model(tmp_path, "whisper")
        audio = waveforms(24000)
        for layer in (0, 1, 3):
            found = load(model, layer, window="audio").states(audio)
            assert_equal(found, load(model, layer).states(audio))

    def test_positions_lengths_and_features_are_those_of_the_window(self, tmp_path: Path) -> None:
        """Layer 0 sees no other positions, so the cut must not show there."""
        model = save_speech_model(tmp_path, "whisper")
        audio = waveforms(1, 319, 320, 321, 5000, 23999)
        found = load(model, 0, window="audio").states(audio)
        expected = load(model, 0).states(audio)
        assert [len(states) for states in found] == [1, 1, 1, 2, 16, 75]
        for one, other in zip(found, expected, strict=True):
            # the window's convolution sees quiet features where the clip's sees nothing
            np.testing.assert_allclose(one[:-1], other[:-1], atol=TOLERANCE)

    @pytest.mark.parametrize("layer", [0, 1, 3])
    def test_batch_equals_single(self, tmp_path: Path, layer: int) -> None:
        teacher = load(save_speech_model(tmp_path, "whisper"), layer, window="audio")
        audio = waveforms(3000, 300, 24000, 5001, 320)
        assert_equal(teacher.states(audio), alone(teacher, audio))

    def test_longer_than_the_window_is_refused(self, tmp_path: Path) -> None:
        teacher = load(save_speech_model(tmp_path, "whisper"), window="audio")
        assert teacher.max_size == 24000
        with pytest.raises(ValueError, match="24001 samples, longer than 24000"):
            teacher.states(waveforms(24001))

    def test_the_windows_own_seconds_change_nothing(self, tmp_path: Path) -> None:
        model = save_speech_model(tmp_path, "whisper")
        default = load(model)
        assert load(model, window=1.5).fingerprint == default.fingerprint
        assert load(model, window="audio").fingerprint != default.fingerprint

    def test_another_window_is_refused(self, tmp_path: Path) -> None:
        model = save_speech_model(tmp_path, "whisper")
        with pytest.raises(UserError, match=r"window: 30 given.* 1.5 s; allowed: 1.5, audio"):
            load(model, window=30)

    def test_families_without_a_window(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"window: audio given, .*'hubert' have no window"):
            load(save_speech_model(tmp_path), window="audio")


class TestOneByOne:
    def test_sew(self, tmp_path: Path) -> None:
        model = save_speech_model(tmp_path, "sew")
        reference = transformers.SEWModel.from_pretrained(model).eval()
        extractor = transformers.AutoFeatureExtractor.from_pretrained(model)
        audio = waveforms(3000, 9000, 5000)
        for layer, step_ms in ((1, 40.0), (3, 20.0)):  # inside, its rate is halved
            teacher = load(model, layer)
            assert (teacher.step_ms, teacher.width) == (step_ms, 16)
            for waveform, found in zip(audio, teacher.states(audio), strict=True):
                values = extractor(waveform, sampling_rate=16000, return_tensors="pt").input_values
                with torch.no_grad():
                    output = reference(values, output_hidden_states=True)
                chosen = output.last_hidden_state if layer == 3 else output.hidden_states[layer]
                np.testing.assert_allclose(found, chosen[0].numpy(), atol=TOLERANCE)

    def test_shortest_audio_is_measured(self, tmp_path: Path) -> None:
        teacher = load(save_speech_model(tmp_path, "sew"))
        assert len(teacher.states(waveforms(teacher.min_samples))[0]) > 0
        with pytest.raises(ValueError, match="shorter than"):
            teacher.states(waveforms(teacher.min_samples - 1))
        assert 0 < teacher.min_samples < 1600

    def test_layers_of_different_rates_are_refused(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match=r"layers \[1, 3\] differ in rate or width"):
            load(save_speech_model(tmp_path, "sew"), 1, 3)

    def test_layers_beyond_the_model(self, tmp_path: Path) -> None:
        with pytest.raises(UserError, match="layers: 4 given"):
            load(save_speech_model(tmp_path, "sew"), 4)

    def test_encoder_of_a_model_with_a_decoder(self, tmp_path: Path) -> None:
        shape = {
            "d_model": 16, "encoder_layers": 2, "encoder_attention_heads": 2, "decoder_layers": 1,
            "encoder_ffn_dim": 32, "decoder_attention_heads": 2, "decoder_ffn_dim": 32,
            "vocab_size": 8, "conv_channels": 16, "input_feat_per_channel": 80,
        }  # fmt: skip
        config = transformers.Speech2TextConfig(**shape)
        transformers.Speech2TextModel(config).save_pretrained(tmp_path)
        transformers.Speech2TextFeatureExtractor().save_pretrained(tmp_path)
        teacher, audio = load(tmp_path, 1), waveforms(3000, 9000)
        assert (teacher.step_ms, teacher.width) == (40.0, 16)
        assert_equal(teacher.states(audio), alone(teacher, audio))

    def test_a_fixed_window_is_refused(self, tmp_path: Path) -> None:
        shape = {
            "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 32, "max_length": 1024, "num_mel_bins": 128,
        }  # fmt: skip
        transformers.ASTModel(transformers.ASTConfig(**shape)).save_pretrained(tmp_path)
        transformers.ASTFeatureExtractor().save_pretrained(tmp_path)
        with pytest.raises(UserError, match="positions however long the audio is"):
            load(tmp_path, 1)
