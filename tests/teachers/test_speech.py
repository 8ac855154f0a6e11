"""Speech teachers: the same states whatever the batch, and no teacher that is not what it seems."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from distill_asr.errors import UserError
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.testing.speech_models import CONVOLUTIONAL, FAMILIES, save_speech_model
from distill_asr.testing.text_models import save_text_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

LENGTHS = (7000, 400, 16000, 3333, 12345)
TOLERANCE = 2e-5  # float32 noise on states of size 1
FORMS = [(family, norm) for family in CONVOLUTIONAL for norm in ("group", "layer")]
FORMS += [(family, "layer") for family in ("data2vec", "wav2vec2-bert", "whisper")]
ENCODERS = ("canary", "moonshine", "parakeet-ctc", "parakeet-tdt")  # of models with a head on top


def waveforms(lengths: tuple[int, ...] = LENGTHS) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    # an offset and different levels, so that normalising over padding would show
    return [(rng.normal(0.05, 0.05 * (i + 1), n)).astype(np.float32) for i, n in enumerate(lengths)]


def config(model: Path | str, *layers: int, combine: str | None = None) -> TeacherConfig:
    return TeacherConfig("t.yaml", "speech", str(model), layers or (3,), combine)


def encoder_of(model: Any) -> Any:
    """The encoder, wherever a family's published model keeps it."""
    return model.encoder if hasattr(model, "encoder") else model.model.encoder


def published(model: Path, family: str, waveform: np.ndarray) -> list[np.ndarray]:
    """What the library's own model says to the utterance alone: hidden states, then the output."""
    reference = getattr(transformers, FAMILIES[family].model).from_pretrained(model).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(model)
    options: dict = {"sampling_rate": 16000, "return_tensors": "pt"}
    if family == "whisper":
        reference = reference.model.encoder
        options["max_length"] = 24000
    if family in ENCODERS:
        reference = encoder_of(reference)
    inputs = extractor(waveform, **options)
    if family == "moonshine":  # its mask counts positions that reach behind the audio
        inputs.pop("attention_mask", None)
    with torch.no_grad():
        output = reference(**inputs, output_hidden_states=True)
    # w2v-BERT's own extractor pads an odd number of vectors, Whisper's to the window
    mask = inputs.get("attention_mask") if family == "wav2vec2-bert" else None
    valid = None if mask is None else int(mask.sum())
    valid = -(-len(waveform) // 320) if family == "whisper" else valid
    if "parakeet" in family or family == "canary":  # one more vector than hops, which is masked
        valid = -(-(len(waveform) // 160) // 8)
    states = [*output.hidden_states, output.last_hidden_state]
    return [state[0, :valid].numpy() for state in states]


@pytest.mark.parametrize("do_normalize", [True, False])
@pytest.mark.parametrize("family, norm", FORMS)
def test_padded_batch_equals_published_model_on_single_utterances(
    tmp_path: Path, family: str, norm: str, do_normalize: bool
) -> None:
    model = save_speech_model(tmp_path, family, norm=norm, do_normalize=do_normalize)
    teacher = load_teacher(config(model, 0, 1, 3, combine="stack"))
    audio = waveforms(tuple(max(count, teacher.min_samples) for count in LENGTHS))
    for waveform, found in zip(audio, teacher.states(audio), strict=True):
        hidden = published(model, family, waveform)
        expected = np.concatenate([hidden[0], hidden[1], hidden[-1]], axis=-1)
        assert found.shape == expected.shape and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.parametrize("family", ENCODERS)
def test_encoders_in_a_padded_batch_equal_the_published_ones(tmp_path: Path, family: str) -> None:
    model = save_speech_model(tmp_path, family)
    teacher = load_teacher(config(model, 0, 1, 3, combine="stack"))
    audio = waveforms((7000, 1000, 16000, 3333, teacher.min_samples))
    for waveform, found in zip(audio, teacher.states(audio), strict=True):
        hidden = published(model, family, waveform)
        expected = np.concatenate([hidden[0], hidden[1], hidden[-1]], axis=-1)
        assert found.shape == expected.shape and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)
    assert not any("decoder" in name for name in teacher._model.state_dict())


def test_the_library_alone_would_let_padding_in(tmp_path: Path) -> None:
    """The test above must be able to fail: unpatched, a group norm sees the padding."""
    model = save_speech_model(tmp_path, "hubert", norm="group")
    reference = transformers.HubertModel.from_pretrained(model).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(model)
    short, long = waveforms((4000, 16000))
    batch = extractor(
        [short, long], sampling_rate=16000, padding=True, return_attention_mask=True,
        return_tensors="pt",
    )  # fmt: skip
    with torch.no_grad():
        leaked = reference(**batch).last_hidden_state[0, :12].numpy()
    assert np.abs(leaked - published(model, "hubert", short)[-1]).max() > 100 * TOLERANCE


def test_batch_norm_in_the_positional_embedding(tmp_path: Path) -> None:
    model = save_speech_model(tmp_path, "hubert", norm="layer", conv_pos_batch_norm=True)
    audio = waveforms()
    for waveform, found in zip(audio, load_teacher(config(model)).states(audio), strict=True):
        np.testing.assert_allclose(found, published(model, "hubert", waveform)[-1], atol=TOLERANCE)


@pytest.mark.parametrize(
    "family, norm",
    [(f, n) for f, n in FORMS if f.startswith("wav") or f == "whisper"]
    + [(f, "layer") for f in ("moonshine", "parakeet-ctc")],
)
def test_layers_above_the_highest_are_not_needed(tmp_path: Path, family: str, norm: str) -> None:
    model = save_speech_model(tmp_path, family, norm=norm)
    (audio,) = waveforms((5000,))
    hidden = published(model, family, audio)
    for layer in (0, 1, 2):
        (found,) = load_teacher(config(model, layer)).states([audio])
        np.testing.assert_allclose(found, hidden[layer], atol=TOLERANCE)


def test_adapter_on_top_is_left_out(tmp_path: Path) -> None:
    model = save_speech_model(tmp_path, "wav2vec2", norm="layer", add_adapter=True)
    audio = waveforms((5000, 9000))
    assert [len(s) for s in load_teacher(config(model)).states(audio)] == [15, 27]


def test_mean_and_stack(tmp_path: Path) -> None:
    model = save_speech_model(tmp_path)
    audio = waveforms((5000, 3000))
    one, two = (load_teacher(config(model, layer)).states(audio) for layer in (1, 2))
    mean = load_teacher(config(model, 1, 2, combine="mean"))
    stack = load_teacher(config(model, 2, 1, combine="stack"))
    assert (mean.width, stack.width) == (16, 32)
    for a, b, m, s in zip(one, two, mean.states(audio), stack.states(audio), strict=True):
        np.testing.assert_allclose(m, (a + b) / 2, atol=TOLERANCE)
        np.testing.assert_allclose(s, np.concatenate([b, a], axis=1), atol=TOLERANCE)


def test_facts(tmp_path: Path) -> None:
    teacher = load_teacher(config(save_speech_model(tmp_path)))
    assert (teacher.reads, teacher.step_ms, teacher.width) == ("audio", 20.0, 16)
    assert (teacher.min_samples, teacher.max_size) == (400, None)
    audio = waveforms((400, 719, 720))
    assert [teacher.size(waveform) for waveform in audio] == [400, 719, 720]
    assert [len(states) for states in teacher.states(audio)] == [1, 1, 2]


def test_too_short_is_refused_not_made_up(tmp_path: Path) -> None:
    teacher = load_teacher(config(save_speech_model(tmp_path)))
    with pytest.raises(ValueError, match="399"):
        teacher.states(waveforms((399, 5000)))


def test_frozen_and_repeatable(tmp_path: Path) -> None:
    teacher = load_teacher(config(save_speech_model(tmp_path, hidden_dropout=0.5, layerdrop=0.5)))
    assert not any(p.requires_grad for p in teacher._model.parameters())
    first, second = (teacher.states(waveforms()) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_fingerprint_follows_numbers_not_places(tmp_path: Path) -> None:
    def fingerprint(directory: str, **options: object) -> str:
        model = save_speech_model(tmp_path / directory, **options)
        return load_teacher(config(model)).fingerprint

    base = fingerprint("a")
    assert fingerprint("b") == base
    others = [
        fingerprint("c", seed=1),
        fingerprint("d", do_normalize=False),
        fingerprint("e", layer_norm_eps=1e-3),
    ]
    assert len({base, *others}) == 4 and all(len(f) == 64 for f in (base, *others))


def test_fingerprint_does_not_depend_on_layers_or_unused_weights(tmp_path: Path) -> None:
    model = save_speech_model(tmp_path)
    base = load_teacher(config(model, 3)).fingerprint
    assert load_teacher(config(model, 1)).fingerprint == base
    weights = transformers.HubertModel.from_pretrained(model)
    weights.masked_spec_embed.data += 1  # only masked pre-training uses it
    weights.save_pretrained(model)
    assert load_teacher(config(model)).fingerprint == base


def refused(model: Path | str, *layers: int, device: str = "cpu") -> list[str]:
    with pytest.raises(UserError) as caught:
        load_teacher(config(model, *layers), device)
    return caught.value.problems


def test_missing_model_says_where_to_get_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub.constants

    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    (problem,) = refused("nobody/nothing-large")
    assert "t.yaml: model: nobody/nothing-large" in problem
    assert "hf download nobody/nothing-large" in problem and "model.safetensors" in problem
    (problem,) = refused(tmp_path / "absent")
    assert str(tmp_path / "absent") in problem and "config.json" in problem


def test_directory_without_weights(tmp_path: Path) -> None:
    save_speech_model(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    (problem,) = refused(tmp_path)
    assert str(tmp_path) in problem and "model.safetensors" in problem


def test_missing_preprocessor_says_how_to_make_one(tmp_path: Path) -> None:
    save_speech_model(tmp_path, norm="layer")
    (tmp_path / "preprocessor_config.json").unlink()
    (problem,) = refused(tmp_path)
    assert "preprocessor_config.json is missing" in problem
    assert "Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained" in problem


def test_other_feature_extractor_or_rate(tmp_path: Path) -> None:
    save_speech_model(tmp_path)
    transformers.WhisperFeatureExtractor().save_pretrained(tmp_path)
    assert "WhisperFeatureExtractor" in refused(tmp_path)[0]
    transformers.Wav2Vec2FeatureExtractor(sampling_rate=8000).save_pretrained(tmp_path)
    assert "wants 8000 Hz" in refused(tmp_path)[0]


def test_text_model_is_refused(tmp_path: Path) -> None:
    (problem,) = refused(save_text_model(tmp_path))
    assert "family 'bert', which reads input_ids, no audio; use `kind: text`" in problem


def test_layers_beyond_the_model_are_all_named(tmp_path: Path) -> None:
    problems = refused(save_speech_model(tmp_path), 3, 4, 24)
    assert [p.split(" given")[0] for p in problems] == ["t.yaml: layers: 4", "t.yaml: layers: 24"]
    assert all("allowed: 0 to 3" in p for p in problems)


def test_checkpoint_without_some_weights_is_refused(tmp_path: Path) -> None:
    """The library would fill them with random numbers and a warning."""
    from safetensors.torch import load_file, save_file

    save_speech_model(tmp_path)
    path = tmp_path / "model.safetensors"
    weights = load_file(path)
    lost = next(name for name in weights if "layers.1.attention.q_proj.weight" in name)
    save_file({k: v for k, v in weights.items() if k != lost}, path, metadata={"format": "pt"})
    (problem,) = refused(tmp_path)
    assert "lacks 1 weight(s)" in problem and "q_proj.weight" in problem


def test_checkpoint_of_another_size_is_refused(tmp_path: Path) -> None:
    save_speech_model(tmp_path)
    path = tmp_path / "config.json"
    content = json.loads(path.read_text()) | {"intermediate_size": 64}
    path.write_text(json.dumps(content))
    (problem,) = refused(tmp_path)
    assert str(tmp_path) in problem


def test_device_that_is_not_there(tmp_path: Path) -> None:
    (problem,) = refused(save_speech_model(tmp_path), device="cuda:99")
    assert "--device cuda:99" in problem


def test_out_of_memory_says_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = load_teacher(config(save_speech_model(tmp_path)))

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(teacher._model, "forward", full)
    with pytest.raises(UserError, match=r"2 utterance.* up to 0.3 s; lower --batch-seconds"):
        teacher.states(waveforms((5000, 3000)))
