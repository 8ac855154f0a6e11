"""Text teachers: the same states whatever the batch, one position a piece."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill_asr.errors import UserError
from distill_asr.pretrained.precision import has_bfloat16, relative_error
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.text_models import FAMILIES, save_text_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

SENTENCES = ["ab abcd d", "c", "a cd ab ab bad dad", "d d"]
TOLERANCE = 2e-5  # float32 noise on states of size 1


def config(model: Path | str, *layers: int, combine: str | None = None) -> TeacherConfig:
    return TeacherConfig("t.yaml", "text", str(model), layers or (3,), combine)


def published(model: Path, sentence: str) -> list[np.ndarray]:
    """What the library's own model says to the sentence alone: hidden states, then the output."""
    reference = transformers.AutoModel.from_pretrained(model).eval()
    inputs = transformers.AutoTokenizer.from_pretrained(model)(sentence, return_tensors="pt")
    with torch.no_grad():
        output = reference(**inputs, output_hidden_states=True)
    return [state[0].numpy() for state in [*output.hidden_states, output.last_hidden_state]]


@pytest.mark.parametrize("family", FAMILIES)
def test_padded_batch_equals_published_model_on_single_sentences(
    tmp_path: Path, family: str
) -> None:
    model = save_text_model(tmp_path, family)
    states = load_teacher(config(model, 0, 1, 3, combine="stack")).states(SENTENCES)
    for sentence, found in zip(SENTENCES, states, strict=True):
        hidden = published(model, sentence)
        expected = np.concatenate([hidden[0], hidden[1], hidden[-1]], axis=-1)
        assert found.shape == expected.shape and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=TOLERANCE)


@pytest.mark.parametrize("family", FAMILIES)
def test_layers_above_the_highest_are_not_needed(tmp_path: Path, family: str) -> None:
    model = save_text_model(tmp_path, family)
    hidden = published(model, "ab cd a")
    for layer in (0, 1, 2):
        teacher = load_teacher(config(model, layer))
        (found,) = teacher.states(["ab cd a"])
        np.testing.assert_allclose(found, hidden[layer], atol=TOLERANCE)
    assert len(teacher._model.state_dict()) == len(
        load_teacher(config(model))._model.state_dict()
    )  # one more than the second is kept
    assert len(load_teacher(config(model, 1))._model.state_dict()) < len(
        teacher._model.state_dict()
    )


@pytest.mark.parametrize("family", FAMILIES)
def test_as_many_positions_as_pieces(tmp_path: Path, family: str) -> None:
    teacher = load_teacher(config(save_text_model(tmp_path, family)))
    sizes = [teacher.size(sentence) for sentence in SENTENCES]
    assert [len(states) for states in teacher.states(SENTENCES)] == sizes
    special = {"bert": 2, "roberta": 2, "xlm-roberta": 2, "llama": 1}.get(family, 0)
    assert teacher.size("c") == 1 + special


@pytest.mark.parametrize("family", FAMILIES)
def test_longest_sentence_is_what_the_model_can_take(tmp_path: Path, family: str) -> None:
    teacher = load_teacher(config(save_text_model(tmp_path, family)))
    # RoBERTa and its relatives never reach the first two positions
    assert teacher.max_size == (38 if "roberta" in family else 40)
    longest = "a" + " a" * 60
    while teacher.size(longest) > teacher.max_size:
        longest = longest[:-1].rstrip()
    if teacher.size(longest) < teacher.max_size:  # where a space is a piece of its own
        longest += " "
    assert teacher.size(longest) == teacher.max_size
    assert len(teacher.states([longest, "a"])[0]) == teacher.max_size
    with pytest.raises(ValueError, match=f"expected 1 to {teacher.max_size}: sentence 1"):
        teacher.states(["a", longest + " a"])


def test_tokenizer_may_allow_less_than_the_model(tmp_path: Path) -> None:
    model = save_text_model(tmp_path)
    (model / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "BertTokenizer", "model_max_length": 20})
    )
    assert load_teacher(config(model)).max_size == 20


def test_blanks_emoji_and_decomposed_letters_are_sentences_too(tmp_path: Path) -> None:
    teacher = load_teacher(config(save_text_model(tmp_path)))
    odd = ["ab\u00a0cd \U0001f600", "gru\u0308n", "ab\u2028cd", "\u05e9\u05dc\u05d5\u05dd"]
    for sentence, states in zip(odd, teacher.states(odd), strict=True):
        assert states.shape == (teacher.size(sentence), 16) and np.isfinite(states).all()


def test_a_sentence_without_a_piece(tmp_path: Path) -> None:
    bert = load_teacher(config(save_text_model(tmp_path / "bert")))
    assert bert.size("") == 2 and bert.states([""])[0].shape == (2, 16)
    gpt2 = load_teacher(config(save_text_model(tmp_path / "gpt2", "gpt2")))
    assert gpt2.size("") == 0
    with pytest.raises(ValueError, match="0 pieces"):
        gpt2.states(["ab", ""])


def test_facts_mean_and_stack(tmp_path: Path) -> None:
    model = save_text_model(tmp_path)
    one, two = (load_teacher(config(model, layer)).states(SENTENCES) for layer in (1, 2))
    mean = load_teacher(config(model, 1, 2, combine="mean"))
    stack = load_teacher(config(model, 2, 1, combine="stack"))
    assert (mean.reads, mean.step_ms, mean.min_samples) == ("text", None, 0)
    assert (mean.width, stack.width) == (16, 32)
    for a, b, m, s in zip(one, two, mean.states(SENTENCES), stack.states(SENTENCES), strict=True):
        np.testing.assert_allclose(m, (a + b) / 2, atol=TOLERANCE)
        np.testing.assert_allclose(s, np.concatenate([b, a], axis=1), atol=TOLERANCE)


def test_frozen_and_repeatable(tmp_path: Path) -> None:
    teacher = load_teacher(config(save_text_model(tmp_path, hidden_dropout_prob=0.5)))
    assert not any(p.requires_grad for p in teacher._model.parameters())
    first, second = (teacher.states(SENTENCES) for _ in range(2))
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize("family", ["bert", "gpt2", "llama"])
def test_bfloat16_stays_close(tmp_path: Path, family: str) -> None:
    plain = config(save_text_model(tmp_path, family))
    lowered = replace(plain, dtype="bfloat16")
    if not has_bfloat16("cpu"):
        with pytest.raises(UserError, match="cpu has no instructions for it"):
            load_teacher(lowered)
        return
    found, exact = (load_teacher(c).states(SENTENCES) for c in (lowered, plain))
    assert all(states.dtype == np.float32 for states in found)
    assert 0 < relative_error(found, exact) < 1e-2


def test_fingerprint_follows_numbers_not_places(tmp_path: Path) -> None:
    def fingerprint(model: Path, layer: int = 3) -> str:
        return load_teacher(config(model, layer)).fingerprint

    base = save_text_model(tmp_path / "a")
    assert fingerprint(save_text_model(tmp_path / "b")) == fingerprint(base) == fingerprint(base, 1)
    shutil.copytree(base, tmp_path / "c")
    vocabulary = tmp_path / "c/vocab.txt"
    vocabulary.write_text(vocabulary.read_text().replace("##a\n##b\n", "##b\n##a\n"))
    others = [
        fingerprint(tmp_path / "c"),
        fingerprint(save_text_model(tmp_path / "d", seed=1)),
        fingerprint(save_text_model(tmp_path / "e", layer_norm_eps=1e-3)),
    ]
    assert len({fingerprint(base), *others}) == 4


def test_checkpoints_with_a_head_and_without_a_pooler(tmp_path: Path) -> None:
    """Masked language models, as most are published, have no pooler; no state depends on it."""
    model = save_text_model(tmp_path)
    bare = load_teacher(config(model))
    full = transformers.BertForMaskedLM.from_pretrained(model)
    full.save_pretrained(model)
    masked = load_teacher(config(model))
    assert masked.fingerprint == bare.fingerprint
    assert np.array_equal(masked.states(["ab"])[0], bare.states(["ab"])[0])


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
    assert "hf download nobody/nothing-large" in problem and "the tokenizer's files" in problem
    assert str(tmp_path / "absent") in refused(tmp_path / "absent")[0]


@pytest.mark.parametrize("family, file", [("bert", "vocab.txt"), ("gpt2", "vocab.json")])
def test_missing_tokenizer_is_not_made_up(tmp_path: Path, family: str, file: str) -> None:
    """The library would take one that knows nothing, and say the same to every sentence."""
    (save_text_model(tmp_path, family) / file).unlink()
    (problem,) = refused(tmp_path)
    assert "tokenizer" in problem and "copy tokenizer.json" in problem


def test_models_that_are_no_text_teachers(tmp_path: Path) -> None:
    (problem,) = refused(save_speech_model(tmp_path / "speech"))
    assert "reads input_values, no text; use `kind: speech`" in problem
    small = {"d_model": 16, "num_layers": 1, "num_heads": 2, "d_kv": 8, "d_ff": 16}
    transformers.T5Config(vocab_size=20, **small).save_pretrained(tmp_path)
    (problem,) = refused(tmp_path)
    assert "family 't5'" in problem and "more than one stack" in problem


def test_layers_beyond_the_model_and_no_device(tmp_path: Path) -> None:
    model = save_text_model(tmp_path)
    assert "t.yaml: layers: 4 given" in refused(model, 4)[0]
    assert "--device cuda:99" in refused(model, device="cuda:99")[0]


def test_out_of_memory_says_what_to_lower(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher = load_teacher(config(save_text_model(tmp_path)))

    def full(*_: object, **__: object) -> None:
        raise torch.OutOfMemoryError("no room")

    monkeypatch.setattr(teacher._model, "forward", full)
    with pytest.raises(UserError, match=r"4 sentence.* up to 12 pieces; lower `batch_tokens`"):
        teacher.states(SENTENCES)
