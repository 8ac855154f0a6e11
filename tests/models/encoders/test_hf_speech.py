"""Pretrained encoders: the library's numbers, whatever the batch; only what should, trains."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
import yaml
from espnet2.torch_utils.initialize import initialize

from distill_asr.distill.states import TapShape
from distill_asr.errors import UserError
from distill_asr.models.encoders.hf_speech import FAMILIES, HFSpeechEncoder, without_weights
from distill_asr.models.students.base import probe_taps
from distill_asr.teachers import TeacherConfig
from distill_asr.teachers.speech import SpeechTeacher
from distill_asr.testing.students import tiny_batch

FORMS = [
    (family, norm) for family in ("hubert", "wav2vec2", "wavlm") for norm in ("group", "layer")
]
FORMS += [("wav2vec2-bert", "layer"), ("whisper", "none")]
LENGTHS = (7000, 600, 16000, 3333)
each_family = pytest.mark.parametrize("family", FAMILIES)


def still(family: str = "wav2vec2") -> dict[str, float]:
    """Changes to a model's config that leave nothing to chance."""
    if family == "whisper":
        return dict.fromkeys(("dropout", "attention_dropout", "mask_time_prob"), 0.0)
    names = ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout")
    plain = dict.fromkeys((*names, "mask_time_prob"), 0.0)
    return plain | ({"conformer_conv_dropout": 0.0} if family == "wav2vec2-bert" else {})


def encoder(path: Path, **options: object) -> HFSpeechEncoder:
    return HFSpeechEncoder(1, str(path), **options)


def audio(lengths: tuple[int, ...] = LENGTHS) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    speech = torch.full((len(lengths), max(lengths)), 9.0)  # padding that would be heard
    for row, length in enumerate(lengths):
        level = 0.05 * (row + 1)
        speech[row, :length] = 0.05 + level * torch.randn(length, generator=generator)
    return speech, torch.tensor(lengths)


def published(path: Path, waveform: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The library's hidden states [T, D] for one utterance, then its output."""
    if json.loads((path / "config.json").read_text())["model_type"] == "whisper":
        return tuple(torch.from_numpy(whisper_clip(path, waveform, layer)) for layer in range(4))
    model = transformers.AutoModel.from_pretrained(path).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
    inputs = extractor(waveform.numpy(), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        output = model(**inputs, output_hidden_states=True)
    valid = int(inputs["attention_mask"].sum()) if "input_features" in inputs else None
    return tuple(s[0, :valid] for s in (*output.hidden_states, output.last_hidden_state))


def whisper_clip(path: Path, waveform: torch.Tensor, layer: int) -> np.ndarray:
    """The library's encoder without the window's silence; of the last layer its output."""
    content = {"kind": "speech", "model": str(path), "layers": [layer], "window": "audio"}
    config = TeacherConfig.from_mapping(content, "test")
    return SpeechTeacher.from_config(config).states([waveform.numpy()])[0]


@pytest.mark.parametrize("do_normalize", [True, False])
@pytest.mark.parametrize(("family", "norm"), FORMS)
def test_a_padded_batch_equals_the_library_on_single_utterances(
    saved, family: str, norm: str, do_normalize: bool
) -> None:
    path = saved(family, norm=norm, do_normalize=do_normalize)
    speech, lengths = audio()
    with torch.no_grad():
        hidden, frames, _ = encoder(path).eval()(speech, lengths)
    assert hidden.size(1) == frames.max()
    for row, length in enumerate(LENGTHS):
        expected = published(path, speech[row, :length])[-1]
        assert frames[row] == len(expected)
        torch.testing.assert_close(hidden[row, : len(expected)], expected, atol=5e-4, rtol=1e-3)


@pytest.mark.parametrize(("family", "norm"), FORMS)
def test_gradients_of_a_batch_are_those_of_its_utterances(saved, family: str, norm: str) -> None:
    made = encoder(
        saved(family, norm=norm), model_conf=still(family), freeze_feature_encoder=False
    ).train()
    speech, lengths = audio()

    def gradients(rows: list[slice]) -> dict[str, torch.Tensor]:
        made.zero_grad()
        for row in rows:
            longest = int(lengths[row].max())
            hidden, frames, _ = made(speech[row, :longest], lengths[row])
            valid = torch.arange(hidden.size(1)) < frames.unsqueeze(1)
            (hidden.sin() * valid.unsqueeze(-1)).sum().backward()
        return {n: p.grad.clone() for n, p in made.named_parameters() if p.grad is not None}

    together = gradients([slice(None)])
    alone = gradients([slice(row, row + 1) for row in range(len(LENGTHS))])
    assert together.keys() == alone.keys()
    for name, gradient in together.items():
        scale = float(gradient.abs().max()) + 1e-3
        torch.testing.assert_close(
            gradient / scale, alone[name] / scale, atol=2e-3, rtol=0, msg=lambda m, n=name: n + m
        )


@each_family
def test_it_is_a_students_encoder(hf_student, family: str) -> None:
    student = hf_student(family).train()
    assert student.tap_names() == [
        "encoder",
        "encoder:1",
        "encoder:2",
        "encoder:3",
        "ctc",
    ]
    loss, _, _ = student(**tiny_batch())
    loss.backward()
    trained = {n for n, p in student.named_parameters() if p.grad is not None}
    assert any(".layers.2." in name for name in trained)
    assert not any("feature_extractor" in name for name in trained)


@each_family
def test_any_layer_is_a_tap(hf_student, saved, family: str) -> None:
    student = hf_student(family).eval()
    names = [name for name in student.tap_names() if name.startswith("encoder")]
    student.watch(names)
    assert set(probe_taps(student, names, 16000).values()) == {TapShape(16, 20.0)}
    speech, lengths = audio((9000, 7000))
    with torch.no_grad(), student.taps.recording():
        student.encode(speech, lengths)
        states = dict(student.taps.states)
    expected = published(saved(family), speech[1, :7000])
    for number in (1, 2):
        tap = states[f"encoder:{number}"]
        found = tap.values[1, : tap.lengths[1]]
        torch.testing.assert_close(found, expected[number], atol=5e-4, rtol=1e-3)
    final = states["encoder"].values[1, : len(expected[-1])]
    torch.testing.assert_close(final, expected[-1], atol=5e-4, rtol=1e-3)


def test_the_feature_encoder_is_frozen_unless_told_otherwise(saved) -> None:
    for freeze in (True, False):
        made = encoder(saved(), freeze_feature_encoder=freeze, model_conf=still()).train()
        made(*audio())[0].sum().backward()
        grads = [p.grad for p in made.encoders.feature_extractor.parameters()]
        assert all((grad is None) == freeze for grad in grads)


def test_the_model_is_frozen_for_the_first_batches(hf_student) -> None:
    student = hf_student(conf={"freeze_batches": 2, "model_conf": still()}).train()
    optimizer = torch.optim.AdamW(student.parameters(), lr=0.01)
    encoder_weights, changed = student.encoder.encoders, []
    for _ in range(4):
        before = [p.detach().clone() for p in encoder_weights.parameters()]
        loss, _, _ = student(**tiny_batch())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        after = encoder_weights.parameters()
        changed.append(any(not torch.equal(*pair) for pair in zip(before, after, strict=True)))
        student.eval()
        student(**tiny_batch())  # validation is no training batch
        student.train()
    assert changed == [False, False, True, True]


def test_the_freeze_survives_an_interruption(hf_student) -> None:
    first = hf_student(conf={"freeze_batches": 3}).train()
    first(**tiny_batch())
    second = hf_student(conf={"freeze_batches": 3}).train()
    second.load_state_dict(first.state_dict())
    grads = []
    for _ in range(3):
        loss, _, _ = second(**tiny_batch())
        second.zero_grad()
        loss.backward()
        layer = second.encoder.encoders.encoder.layers[0]
        grads.append(any(p.grad is not None for p in layer.parameters()))
    assert grads == [False, False, True]
    assert set(hf_student().state_dict()) == set(first.state_dict()), "any may start from any"


@each_family
def test_hidden_states_are_masked_in_training_alone(saved, family: str) -> None:
    masking = still(family) | {"mask_time_prob": 0.5, "mask_time_length": 4}
    made = encoder(saved(family, mask_time_prob=0.0), model_conf=masking)
    speech, lengths = audio((16000, 12000))
    with torch.no_grad():
        plain = made.eval()(speech, lengths)[0]
        masked = made.train()(speech, lengths)[0]
        again = made(speech, lengths)[0]
    torch.testing.assert_close(made.eval()(speech, lengths)[0], plain)
    assert not torch.allclose(masked, plain) and not torch.allclose(masked, again)


@pytest.mark.parametrize("family", [family for family in FAMILIES if family != "whisper"])
def test_a_batch_shorter_than_a_masked_span(saved, family: str) -> None:
    masking = still(family) | {"mask_time_prob": 0.9, "mask_time_length": 10}
    made = encoder(saved(family), model_conf=masking).train()
    speech, lengths = audio((3000, 2000))  # 9 frames
    hidden = made(speech, lengths)[0]
    hidden.sum().backward()
    assert made.encoders.masked_spec_embed.grad is not None, "other devices would wait for it"
    torch.testing.assert_close(hidden, made.eval()(speech, lengths)[0])


def test_a_checkpoint_that_switches_masking_off_is_overruled(saved) -> None:
    path = saved("wav2vec2", apply_spec_augment=False)
    masking = still() | {"mask_time_prob": 0.5, "mask_time_length": 4}
    made = encoder(path, model_conf=masking)
    speech, lengths = audio()
    assert not torch.allclose(made.train()(speech, lengths)[0], made.eval()(speech, lengths)[0])


def test_no_layer_is_dropped_unless_told(saved) -> None:
    path, (speech, lengths) = saved("wav2vec2", layerdrop=0.9), audio()
    made = encoder(path, model_conf=still())
    expected = made.eval()(speech, lengths)[0]
    torch.testing.assert_close(made.train()(speech, lengths)[0], expected)
    dropping = encoder(path, model_conf=still(), layer_drop_rate=0.99).train()
    assert not torch.allclose(dropping(speech, lengths)[0], expected)


@each_family
def test_gradient_checkpointing_changes_no_gradient(hf_student, family: str) -> None:
    found = []
    for checkpointing in (False, True):
        conf = {"model_conf": still(family), "gradient_checkpointing": checkpointing}
        student = hf_student(family, conf).train()
        student.watch(["encoder:2"])
        with student.taps.recording():
            loss, _, _ = student(**tiny_batch())
            tapped = student.taps.states["encoder:2"].values
        (loss + tapped.square().mean()).backward()
        found.append({n: p.grad for n, p in student.named_parameters() if p.grad is not None})
    assert found[0].keys() == found[1].keys()
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], msg=name)


@each_family
def test_half_precision_trains(hf_student, family: str) -> None:
    student = hf_student(family).train()
    with torch.autocast("cpu", torch.bfloat16):
        loss, _, _ = student(**tiny_batch())
    loss.backward()
    grads = [p.grad for p in student.encoder.parameters() if p.grad is not None]
    assert len(grads) > 20 and all(torch.isfinite(grad).all() for grad in grads)


def test_espnets_init_leaves_the_pretrained_weights_alone(hf_student) -> None:
    for init in ("xavier_uniform", "chainer"):
        for family in ("wavlm", "wav2vec2-bert"):
            student = hf_student(family)
            before = {n: p.clone() for n, p in student.encoder.state_dict().items()}
            ctc = student.ctc.ctc_lo.weight.clone()
            initialize(student, init)
            assert not torch.equal(student.ctc.ctc_lo.weight, ctc)
            for name, value in student.encoder.state_dict().items():
                assert torch.equal(value, before[name]), f"{init}: {name}"


# -- without the model it came from ---------------------------------------------


@each_family
@pytest.mark.parametrize("lora", [None, {"r": 2}])
def test_a_trained_encoder_is_built_from_its_own_config(saved, family: str, lora: object) -> None:
    drop = 0.0 if family == "whisper" else 0.1
    conf = {"model_conf": {"mask_time_prob": 0.3}, "layer_drop_rate": drop, "lora": lora}
    conf |= {"model": str(saved(family)), "freeze_batches": 1}
    made = HFSpeechEncoder(1, **conf).eval()
    portable = yaml.safe_load(yaml.safe_dump(conf | made.portable_conf()))
    assert portable["model"] is None
    again = HFSpeechEncoder(1, **portable).eval()
    again.load_state_dict(made.state_dict(), strict=True)
    speech, lengths = audio()
    with torch.no_grad():
        torch.testing.assert_close(again(speech, lengths), made(speech, lengths))
    assert again.portable_conf()["architecture"] == made.portable_conf()["architecture"]


def test_an_architecture_alone_has_random_weights() -> None:
    small = {"model_type": "wav2vec2", "hidden_size": 16, "num_hidden_layers": 1,
             "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8] * 7,
             "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2}  # fmt: skip
    made = HFSpeechEncoder(1, architecture=small, do_normalize=True)
    assert made(*audio())[0].shape == (4, 49, 16)
    with pytest.raises(ValueError, match="do_normalize: missing"):
        HFSpeechEncoder(1, architecture=small)
    with pytest.raises(ValueError, match=r"model_type.*did you mean 'wav2vec2'"):
        HFSpeechEncoder(1, architecture=small | {"model_type": "wav2vec"}, do_normalize=True)


def test_checks_need_no_weights(tmp_path: Path, saved) -> None:
    path = tmp_path / "light"
    path.mkdir()
    for name in ("config.json", "preprocessor_config.json"):
        (path / name).write_bytes((saved() / name).read_bytes())
    with without_weights():
        assert encoder(path).output_size() == 16
    with pytest.raises(UserError, match="encoder_conf: model"):
        encoder(path)


# -- mistakes ------------------------------------------------------------------


def test_a_checkpoint_without_some_weights_is_refused(tmp_path: Path, saved) -> None:
    model = transformers.AutoModel.from_pretrained(saved())
    weights = {n: v for n, v in model.state_dict().items() if "layers.1." not in n}
    model.save_pretrained(tmp_path, state_dict=weights)
    transformers.AutoFeatureExtractor.from_pretrained(saved()).save_pretrained(tmp_path)
    with pytest.raises(UserError, match=r"lacks \d+ weight"):
        encoder(tmp_path)


def test_a_mask_embedding_that_a_checkpoint_lacks_is_made(saved) -> None:
    path = saved("wav2vec2", mask_time_prob=0.0)
    made = encoder(path, model_conf={"mask_time_prob": 0.1})
    assert made.encoders.masked_spec_embed.shape == (16,)


def test_other_families_are_refused(tmp_path: Path, saved) -> None:
    for name in ("config.json", "preprocessor_config.json"):
        content = json.loads((saved() / name).read_text())
        if name == "config.json":
            content["model_type"] = "moonshine"
        (tmp_path / name).write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"'moonshine'.*allowed: hubert"):
        encoder(tmp_path)


def test_a_missing_model_is_explained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(UserError, match=r"encoder_conf: model: .*neither a usable local directory"):
        encoder(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ({"input_size": 80}, "input_size: 1"),
        ({"model": None}, "give model, or architecture"),
        ({"architecture": {"model_type": "wav2vec2"}}, "not both"),
        ({"layer_drop_rate": 1.0}, "layer_drop_rate"),
        ({"freeze_batches": -1}, "freeze_batches"),
        ({"model_conf": {"hidden_dropuot": 0.1}}, "did you mean 'hidden_dropout'"),
        ({"model_conf": {"hidden_size": 32}}, "unknown 'hidden_size'"),
        ({"model_conf": {"conformer_conv_dropout": 0.1}}, "'wav2vec2' has no"),
        ({"freeze_layers": 1}, "of whisper alone"),
    ],
)
def test_bad_arguments(saved, arguments: dict, named: str) -> None:
    given = {"input_size": 1, "model": str(saved())} | arguments
    with pytest.raises(ValueError, match=named):
        HFSpeechEncoder(**given)


def test_audio_that_is_none(saved) -> None:
    made = encoder(saved())
    with pytest.raises(ValueError, match="takes raw audio"):
        made(torch.zeros(1, 100, 80), torch.tensor([100]))
    with pytest.raises(ValueError, match=r"shorter than 400 samples.*number 1: 399"):
        made(torch.zeros(2, 800), torch.tensor([800, 399]))
