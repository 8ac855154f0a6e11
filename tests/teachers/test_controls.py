"""Controls: random vectors, means of pieces, what is left of them, and masked context."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from distill_asr.data.datadir import DataDir
from distill_asr.dump.run import dump_sets
from distill_asr.dump.workers import ThisProcess
from distill_asr.errors import UserError
from distill_asr.targets.manifest import Manifest
from distill_asr.targets.reader import TargetReader
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.testing.fixtures import make_prepared_dir
from distill_asr.testing.text_models import save_text_model

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

CORPUS = ["ab abcd d", "c", "a cd ab ab bad dad", "d d c b"]
CLS, SEP, MASK = 2, 3, 4


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_text_model(tmp_path_factory.mktemp("bert"))


@pytest.fixture
def corpus(tmp_path: Path) -> str:
    (tmp_path / "corpus.txt").write_text("\n".join(["", *CORPUS]) + "\n")
    return str(tmp_path / "corpus.txt")


def text(model: Path, **changes: object) -> TeacherConfig:
    plain = TeacherConfig("t.yaml", "text", str(model), (2,))
    return replace(plain, **changes)


def random(model: Path, **changes: object) -> TeacherConfig:
    return replace(TeacherConfig("r.yaml", "random", str(model)), **changes)


def spoken(path: Path, sentences: list[str]) -> Path:
    """A prepared data dir with these transcripts."""
    make_prepared_dir(path, len(sentences), (0.2, 0.3))
    utterances = sorted(DataDir.read(path).wav)
    rows = zip(utterances, sentences, strict=True)
    (path / "text").write_text("".join(f"{u} {sentence}\n" for u, sentence in rows))
    return path


# -- random vectors ----------------------------------------------------------------


def test_one_vector_a_piece_wherever_it_stands(model: Path) -> None:
    teacher, plain = load_teacher(random(model)), load_teacher(text(model))
    assert (teacher.reads, teacher.step_ms, teacher.width) == ("text", None, 16)
    states = teacher.states(CORPUS)
    assert [len(row) for row in states] == [teacher.size(s) for s in CORPUS]
    of_piece: dict[int, np.ndarray] = {}
    for pieces, row in zip(plain.pieces(CORPUS), states, strict=True):
        assert row.dtype == np.float32
        for piece, vector in zip(pieces, row, strict=True):
            np.testing.assert_array_equal(of_piece.setdefault(piece, vector), vector)
    drawn = np.stack(list(of_piece.values()))
    assert len(np.unique(drawn, axis=0)) == len(of_piece), "another piece, another vector"


def test_one_vector_a_position_whatever_stands_there(model: Path) -> None:
    short, long = load_teacher(random(model, vectors="position")).states(["c", "a b c d"])
    np.testing.assert_array_equal(short, long[: len(short)])


def test_the_seed_decides(model: Path) -> None:
    one, same, other = (load_teacher(random(model, seed=seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one.states(["a"])[0], same.states(["a"])[0])
    assert not np.array_equal(one.states(["a"])[0], other.states(["a"])[0])
    by_position = load_teacher(random(model, seed=1, vectors="position"))
    prints = {one.fingerprint, other.fingerprint, by_position.fingerprint}
    assert one.fingerprint == same.fingerprint and len(prints) == 3


def test_vectors_are_standard_normal_and_never_change(model: Path) -> None:
    teacher = load_teacher(random(model))
    (row,) = teacher.states(["a b c d ab cd"])
    assert abs(row.mean()) < 0.3 and abs(row.std() - 1) < 0.3
    expected = np.random.RandomState([0, CLS]).standard_normal(16)
    np.testing.assert_allclose(row[0], expected, rtol=1e-6)
    assert row[0, 0] == pytest.approx(-0.19382523)


# -- means of pieces, and what they leave ------------------------------------------


def test_means_are_those_of_the_corpus(model: Path, corpus: str) -> None:
    plain = load_teacher(text(model))
    means = load_teacher(text(model, combine="mean_of_piece", corpus=corpus))
    pieces = np.concatenate(plain.pieces(CORPUS))
    states = np.concatenate(plain.states(CORPUS))
    given = np.concatenate(means.states(CORPUS))
    for piece in np.unique(pieces):
        there = pieces == piece
        mean = states[there].mean(axis=0)
        np.testing.assert_allclose(given[there], np.tile(mean, (there.sum(), 1)), atol=1e-5)


@pytest.mark.parametrize("context", ["whole", "masked"])
def test_mean_and_residual_are_the_state(model: Path, corpus: str, context: str) -> None:
    plain = load_teacher(text(model, context=context))
    means = load_teacher(text(model, combine="mean_of_piece", corpus=corpus, context=context))
    rest = load_teacher(text(model, residual="token", corpus=corpus, context=context))
    for a, b, c in zip(*(t.states(CORPUS) for t in (plain, means, rest)), strict=True):
        np.testing.assert_allclose(b + c, a, atol=1e-5)


def test_of_the_residual_no_piece_explains_anything(model: Path, corpus: str) -> None:
    rest = load_teacher(text(model, residual="token", corpus=corpus))
    pieces = np.concatenate(load_teacher(text(model)).pieces(CORPUS))
    left = np.concatenate(rest.states(CORPUS))
    for piece in np.unique(pieces):
        np.testing.assert_allclose(left[pieces == piece].mean(axis=0), 0, atol=1e-5)


def test_several_layers_are_averaged(model: Path, corpus: str) -> None:
    layers = {"layers": (1, 3), "combine": "mean_of_piece", "corpus": corpus}
    both = load_teacher(text(model, **layers)).states(["a b"])[0]
    one, three = (
        load_teacher(text(model, **(layers | {"layers": (n,)}))).states(["a b"])[0] for n in (1, 3)
    )
    np.testing.assert_allclose(both, (one + three) / 2, atol=1e-5)


def test_pieces_that_the_corpus_lacks_are_named(model: Path, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("a b\n")
    config = text(model, combine="mean_of_piece", corpus=str(tmp_path / "few.txt"))
    teacher = load_teacher(config)
    assert teacher.objection("b a") is None
    assert teacher.objection("a c d").startswith("'c', 'd' not in ")


def test_a_corpus_that_cannot_serve(model: Path, tmp_path: Path) -> None:
    def said(content: str | None) -> str:
        file = tmp_path / "x.txt"
        if content is not None:
            file.write_text(content)
        with pytest.raises(UserError) as raised:
            load_teacher(text(model, residual="token", corpus=str(file)))
        return str(raised.value)

    assert "cannot be read" in said(None)
    assert "no sentences" in said("\n \n")
    assert "62 pieces, and the model takes at most 40" in said("a " * 60)


# -- masked context ----------------------------------------------------------------


def test_each_position_is_read_with_itself_masked(model: Path) -> None:
    sentence = "ab abcd d"
    (found,) = load_teacher(text(model, context="masked", batch_tokens=12)).states([sentence])
    tokenizer = transformers.AutoTokenizer.from_pretrained(model)
    reference = transformers.AutoModel.from_pretrained(model).eval()
    inputs = tokenizer(sentence, return_tensors="pt")
    for place in range(inputs["input_ids"].size(1)):
        ids = inputs["input_ids"].clone()
        if int(ids[0, place]) not in (CLS, SEP):
            ids[0, place] = MASK
        with torch.no_grad():
            output = reference(**(inputs | {"input_ids": ids}), output_hidden_states=True)
        expected = output.hidden_states[2][0, place].numpy()
        np.testing.assert_allclose(found[place], expected, atol=2e-5)


def test_what_stands_at_a_position_does_not_change_its_state(model: Path) -> None:
    teacher = load_teacher(text(model, context="masked"))
    one, other = teacher.states(["a b c", "a d c"])
    np.testing.assert_allclose(one[2], other[2], atol=2e-5)
    assert abs(one[1] - other[1]).max() > 1e-3, "its neighbours see it"


def test_a_model_without_a_mask(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"context: masked, but the tokenizer of .* has no mask"):
        load_teacher(text(save_text_model(tmp_path, "gpt2"), context="masked"))


# -- files and dumps ---------------------------------------------------------------


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"kind": "text", "combine": "mean_of_piece"}, "corpus: missing, but combine: mean_of_pi"),
        ({"kind": "text", "residual": "token"}, "corpus: missing, but residual needs a file"),
        ({"kind": "text", "corpus": "x"}, "corpus: read for combine: mean_of_piece or residual"),
        ({"kind": "text", "combine": "mean_of_piece", "residual": "token", "corpus": "x"},
         "residual: of combine: mean_of_piece nothing would be left"),
        ({"kind": "text", "context": "maskd"}, "unknown value 'maskd' (did you mean masked?)"),
        ({"kind": "speech", "combine": "mean_of_piece"}, "combine: mean_of_piece: speech has no"),
        ({"kind": "random", "seed": -1}, "seed: given -1, expected a whole number"),
        ({"kind": "random", "vectors": "word"}, "vectors: unknown value 'word'"),
    ],
)  # fmt: skip
def test_mistakes_of_the_file(content: dict, said: str) -> None:
    layers = {} if content["kind"] == "random" else {"layers": [2]}
    with pytest.raises(UserError) as raised:
        TeacherConfig.from_mapping({"model": "m", **layers, **content}, "t.yaml")
    assert len(raised.value.problems) == 1 and said in raised.value.problems[0]


def test_dumps_say_that_they_are_controls(model: Path, corpus: str, tmp_path: Path) -> None:
    data = spoken(tmp_path / "data", ["a b", "c", "a b"])
    facts = {}
    for name, config in {
        "plain": text(model),
        "random": random(model, seed=3),
        "means": text(model, combine="mean_of_piece", corpus=corpus),
        "rest": text(model, residual="token", corpus=corpus, context="masked"),
    }.items():
        dump_sets([DataDir.read(data)], name, config, ThisProcess(config, "cpu", 1), 200)
        directory = data / "targets" / name
        facts[name] = Manifest.load(directory).control
        reader, teacher = TargetReader([directory]), load_teacher(config)
        for utterance, sentence in DataDir.read(data).text.items():
            np.testing.assert_allclose(reader[utterance], teacher.states([sentence])[0], atol=2e-5)
    assert facts == {
        "plain": None,
        "random": {"vectors": "piece", "seed": 3},
        "means": {"corpus": "corpus.txt"},
        "rest": {"context": "masked", "residual": "token", "corpus": "corpus.txt"},
    }
    stored = json.loads((data / "targets" / "plain" / "manifest.json").read_text())
    assert "control" not in stored, "other manifests stay what they were"


def test_a_dump_names_the_sentences_it_cannot_judge(model: Path, tmp_path: Path) -> None:
    (tmp_path / "few.txt").write_text("a b\n")
    config = text(model, combine="mean_of_piece", corpus=str(tmp_path / "few.txt"))
    data = spoken(tmp_path / "data", ["a b", "c", "d a", "c"])
    with pytest.raises(UserError) as raised:
        dump_sets([DataDir.read(data)], "means", config, ThisProcess(config, "cpu", 1), 200)
    assert len(raised.value.problems) == 2
    assert "2 utterance(s)" in str(raised.value) and "'c' not in" in str(raised.value)
    assert not (data / "targets" / "means" / "manifest.json").exists()
