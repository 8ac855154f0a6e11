"""The quantizer of codec mvq: trained once a teacher, the same bytes each time."""

import argparse
import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("multi_quantization")
from distill_asr.dump import command as dump
from distill_asr.dump.codebooks import Sample, prepare_codec, train_quantizer, trained_codec
from distill_asr.errors import UserError
from distill_asr.io.locks import locked
from distill_asr.targets import Manifest, TargetReader
from distill_asr.targets.codebooks import CODEBOOKS, Codebooks
from distill_asr.targets.codecs import complete_codec
from distill_asr.targets.quantizer import Quantizer, quantizer_path
from distill_asr.targets.verify import check_targets
from distill_asr.testing.data_dirs import write_data_dir
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.targets import target_settings

OPTIONS = {"name": "mvq", "codebooks": 2, "sample_frames": 300, "steps": 8, "seed": 0}
SETTINGS = target_settings(codec=OPTIONS)
WIDTH = 6


def sample(frames: int = 400) -> Sample:
    rng = np.random.default_rng(0)
    means = rng.normal(0, 100, (30, WIDTH))
    states = means[rng.integers(30, size=frames)] + rng.normal(0, 1, (frames, WIDTH))
    states = states.astype(np.float32)
    return Sample(states[50:], states[:50], 7)


# -- training ------------------------------------------------------------------------


def test_the_same_sample_gives_the_same_bytes_and_nothing_else_moves(tmp_path: Path) -> None:
    torch.manual_seed(5)
    random.seed(5)
    expected = torch.rand(1), random.random(), torch.get_num_threads()
    contents = []
    for name in ("one", "two"):
        torch.manual_seed(5)
        random.seed(5)
        train_quantizer(sample(), SETTINGS).save(tmp_path / name)
        contents.append((tmp_path / name).read_bytes())
        assert (torch.rand(1), random.random(), torch.get_num_threads()) == expected
    assert contents[0] == contents[1]
    other = replace(SETTINGS, codec={**OPTIONS, "seed": 1})
    assert (
        train_quantizer(sample(), other).codebooks.sha256 != Codebooks.load(tmp_path / "one").sha256
    )


def test_training_helps_and_the_loss_is_measured_on_other_frames() -> None:
    few = train_quantizer(sample(), SETTINGS)
    many = train_quantizer(sample(), replace(SETTINGS, codec={**OPTIONS, "steps": 300}))
    lost = [quantizer.codebooks.facts["variance_lost"] for quantizer in (few, many)]
    assert lost[1] < 0.1 < lost[0], "30 clusters, and twice 256 entries"
    states = sample().held_out
    decoded = many.codebooks.decode(many.encode(states))
    spread = np.square((states - many.codebooks.mean) / many.codebooks.std).sum()
    error = np.square((decoded - states) / many.codebooks.std).sum() / spread
    assert error == pytest.approx(lost[1], rel=1e-4)


def test_a_dimension_that_never_moves() -> None:
    still = sample()
    still.training[:, 2] = still.held_out[:, 2] = 3.0
    quantizer = train_quantizer(still, SETTINGS)
    decoded = quantizer.codebooks.decode(quantizer.encode(still.held_out))
    np.testing.assert_allclose(decoded[:, 2], 3.0, atol=1e-3)


def test_encoding_is_of_the_utterance_alone(tmp_path: Path) -> None:
    train_quantizer(sample(), SETTINGS).save(tmp_path / "q")
    states = sample(900).training  # more than is encoded together
    fresh, used = Quantizer.load(tmp_path / "q"), Quantizer.load(tmp_path / "q")
    used.encode(states[::-1].copy())
    assert np.array_equal(fresh.encode(states), used.encode(states))


# -- a dump --------------------------------------------------------------------------


class Place:
    """A recipe directory with a tiny teacher of mvq targets and two prepared sets."""

    def __init__(self, root: Path) -> None:
        self.root = root
        save_speech_model(root / "model")
        self.teacher = root / "t.yaml"
        self.write_teacher()
        lengths = {f"a{i}": 4000 + 977 * i for i in range(5)}
        self.train = write_data_dir(root / "dump/train", lengths)
        self.dev = write_data_dir(root / "dump/dev", {"b0": 9000, "b1": 5000}, seed=1)
        self.quantizer = root / "dump/codebooks/t.safetensors"

    def write_teacher(self, layers: str = "[2]", **options: int) -> None:
        codec = ", ".join(f"{key}: {value}" for key, value in {**OPTIONS, **options}.items())
        self.teacher.write_text(
            f"kind: speech\nmodel: {self.root / 'model'}\nlayers: {layers}\ncodec: {{{codec}}}\n"
        )

    def dump(self, *words: object) -> int:
        parser = argparse.ArgumentParser()
        dump.add_arguments(parser)
        return dump.run(parser.parse_args(["--teacher", str(self.teacher), *map(str, words)]))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def test_codes_of_every_set_mean_the_same(place: Place, capsys) -> None:
    place.dump(place.train)
    assert "codes lose" in capsys.readouterr().out
    trained = place.quantizer.read_bytes()
    place.dump(place.dev)  # later, alone
    assert "codes lose" not in capsys.readouterr().out, "the first dump's codebooks are used"
    assert place.quantizer.read_bytes() == trained
    targets = [place.train / "targets/t", place.dev / "targets/t"]
    reader = TargetReader(targets)
    assert reader["b0"].shape == (27, 16) and reader.stored("b0").dtype == np.uint8
    assert {Manifest.load(path).codec["sha256"] for path in targets} == {
        Codebooks.load(path / CODEBOOKS).sha256 for path in targets
    }
    manifest = Manifest.load(targets[0])
    frames = np.concatenate([reader[f"a{i}"] for i in range(5)]).astype(np.float64)
    np.testing.assert_allclose(manifest.mean, frames.mean(axis=0), rtol=1e-9, atol=1e-12)
    assert all(check_targets(path, reread=True) == [] for path in targets)


def test_the_targets_can_be_read_without_the_quantizer(place: Place) -> None:
    place.dump(place.train)
    place.quantizer.unlink()
    (place.train / "targets/t").rename(place.root / "moved")
    assert TargetReader(place.root / "moved")["a0"].shape[1] == 16


def test_a_finished_dump_is_skipped(place: Place, capsys, monkeypatch) -> None:
    place.dump(place.train, place.dev)
    files = {path: path.stat().st_mtime_ns for path in place.root.rglob("*") if path.is_file()}
    files = {path: time for path, time in files.items() if not path.name.startswith(".")}
    monkeypatch.setattr("distill_asr.dump.codebooks.draw_sample", None)
    place.dump(place.train, place.dev)
    assert capsys.readouterr().out.count("skipped") == 2
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_a_kill_after_training_costs_the_training_at_most(place: Place, monkeypatch) -> None:
    place.dump(place.train)
    whole = {path.name: path.read_bytes() for path in (place.train / "targets/t").iterdir()}
    trained = place.quantizer.read_bytes()
    for path in (place.train / "targets/t").iterdir():
        path.unlink()
    place.dump(place.train)  # with the quantizer there
    found = {path.name: path.read_bytes() for path in (place.train / "targets/t").iterdir()}
    assert found == whole
    place.quantizer.unlink()
    place.dump(place.train, "--overwrite")  # and without
    assert place.quantizer.read_bytes() == trained
    found = {path.name: path.read_bytes() for path in (place.train / "targets/t").iterdir()}
    assert found == whole


def test_codebooks_of_another_teacher_are_in_the_way(place: Place) -> None:
    place.dump(place.train)
    place.write_teacher(layers="[1]")
    with pytest.raises(UserError) as caught:
        place.dump(place.dev)
    (problem,) = caught.value.problems
    assert f"{place.quantizer}: these codebooks belong to another teacher" in problem
    assert "layers (1,) instead of (2,)" in problem and "--overwrite" in problem
    place.dump(place.dev, "--overwrite")
    with pytest.raises(UserError, match="not the same teacher"):
        TargetReader([place.train / "targets/t", place.dev / "targets/t"])


def test_other_options_are_another_teacher(place: Place) -> None:
    place.dump(place.train)
    place.write_teacher(steps=9)
    with pytest.raises(UserError, match=r"codebooks belong to another teacher.*'steps': 9"):
        place.dump(place.train)


def test_damaged_codebooks_are_named(place: Place) -> None:
    place.dump(place.train)
    place.quantizer.write_bytes(b"nothing")
    with pytest.raises(UserError, match=r"t.safetensors: cannot be read"):
        place.dump(place.dev)


def test_one_utterance_is_too_little(place: Place) -> None:
    short = write_data_dir(place.root / "dump/short", {"c": 5000})
    with pytest.raises(UserError, match="1 utterance is not enough to train codebooks"):
        place.dump(short)


def test_sets_that_lie_apart_share_codebooks(place: Place) -> None:
    apart = write_data_dir(place.root / "elsewhere/unlab", {"c0": 5000, "c1": 6000}, seed=2)
    place.dump(place.train)
    place.dump(place.train, apart)
    copy = place.root / "elsewhere/codebooks/t.safetensors"
    assert copy.read_bytes() == place.quantizer.read_bytes()
    len(TargetReader([place.train / "targets/t", apart / "targets/t"]))


def test_two_dumps_do_not_train_at_the_same_time(place: Place) -> None:
    with (
        locked(place.quantizer.with_suffix(""), "testing"),
        pytest.raises(UserError, match="already writing there"),
    ):
        place.dump(place.train)


def test_codecs_without_codebooks_need_nothing(tmp_path: Path) -> None:
    plain = target_settings()
    assert prepare_codec(plain, [tmp_path / "t"], None, [], None) is plain
    assert trained_codec(plain, [tmp_path / "t"]) is plain


def test_where_the_quantizer_lies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    expected = tmp_path / "dump/codebooks/h.safetensors"
    assert quantizer_path("dump/train/targets/h") == expected
    (tmp_path / "dump/train").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "dump/train")
    assert quantizer_path("targets/h") == expected
    assert complete_codec(OPTIONS) == OPTIONS
