"""Which layer writes down what was said: a planted one is found, noise is not."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.dump.probe import PICTURE, PROBE_RECORD, PROBE_TABLE, Probe, ProbeOptions, ProbeSet
from distill_asr.dump.source import AudioSource
from distill_asr.targets.writer import TargetWriter
from distill_asr.testing.fixtures import make_prepared_dir, write_targets
from distill_asr.testing.targets import target_settings

WIDTH = 12
LETTERS = " abcd"


def planted(path: Path, seed: int) -> Path:
    """Targets of layers 1, 5 and 9: noise, what was said, what was said under noise."""
    data = DataDir.read(make_prepared_dir(path, utterances=12, seconds=(0.4, 0.8), seed=seed))
    source, rng = AudioSource(data), np.random.default_rng(seed)
    codes = np.random.default_rng(0).normal(0, 1, (len(LETTERS) + 1, WIDTH))
    states = []
    for utt, words in data.text.items():
        path_of = [0] + [n for letter in words for n in (LETTERS.index(letter) + 1,) * 2 + (0,)]
        said = codes[path_of]
        noise = rng.normal(0, 1, said.shape)
        layers = [noise, said + 0.05 * noise, said + 1.5 * noise[::-1]]
        states.append((utt, np.concatenate(layers, axis=1).astype(np.float32)))
    settings = target_settings(layers=(1, 5, 9), combine="stack")
    writer = TargetWriter(path / "targets" / "t", settings)
    writer.write_shard(0, source.sha256(list(data.wav)), states)
    writer.finish(1, "t", "some/model", 20.0, source.fingerprint(), None)
    return path / "targets" / "t"


@pytest.fixture(scope="module")
def sets(tmp_path_factory) -> tuple[Path, Path]:
    root = tmp_path_factory.mktemp("sets")
    return planted(root / "train", 1), planted(root / "dev", 2)


def probe(sets: tuple[Path, Path], output: Path, *more: object) -> int:
    words = ["targets", "probe", sets[0], "--dev", sets[1], "--output", output, *more]
    return cli.main([str(word) for word in words])


def test_the_layer_that_says_it_is_found(sets, tmp_path: Path, capsys) -> None:
    assert probe(sets, tmp_path / "out", "--epochs", 40, "--learning-rate", 0.03) == 0
    said = capsys.readouterr().out
    assert said == (tmp_path / "out" / PROBE_TABLE).read_text()
    rows = [[cell.strip(" *") for cell in row.split("|")[1:-1]] for row in said.splitlines()[2:]]
    rates = {int(layer): float(dev) for layer, dev, _ in rows}
    assert rates[5] < 10 and rates[5] < rates[9] < rates[1] and rates[1] > 60
    assert "**5**" in said and (tmp_path / "out" / PICTURE).read_bytes().startswith(b"\x89PNG")


def test_a_killed_probe_keeps_its_layers(sets, tmp_path: Path, monkeypatch) -> None:
    whole, output = tmp_path / "whole", tmp_path / "out"
    assert probe(sets, whole, "--epochs", 2) == 0
    layer, asked = Probe.layer, []

    def killed(self: Probe, number: int) -> object:
        asked.append(number)
        if asked == [1, 5]:
            raise KeyboardInterrupt
        return layer(self, number)

    monkeypatch.setattr(Probe, "layer", killed)
    assert probe(sets, output, "--epochs", 2) == 130
    assert probe(sets, output, "--epochs", 2) == 0
    assert asked == [1, 5, 5, 9]
    assert (output / PROBE_RECORD).read_bytes() == (whole / PROBE_RECORD).read_bytes()
    assert probe(sets, output, "--epochs", 2) == 0 and len(asked) == 4


def test_what_cannot_be_learnt_from_is_said(sets, tmp_path: Path, capsys) -> None:
    """Transcripts with more letters than there are positions; a changed byte of the targets."""
    root = shutil.copytree(sets[0].parents[1], tmp_path / "train")
    copied = root / "targets" / "t", sets[1]
    lines = (root / "text").read_text().splitlines()
    (root / "text").write_text("\n".join([lines[0] + " abcd" * 40, *lines[1:]]) + "\n")
    assert probe(copied, tmp_path / "out", "--epochs", 1) == 0
    said = capsys.readouterr().err
    assert f"1 utterance(s) ({lines[0].split()[0]}) with more characters than positions" in said
    (ark,) = copied[0].glob("*.ark")
    content = bytearray(ark.read_bytes())
    content[len(content) // 2] ^= 1
    ark.write_bytes(content)
    assert probe(copied, tmp_path / "other", "--epochs", 1) == 1
    assert f"{ark}: " in capsys.readouterr().err and not (tmp_path / "other").exists()


def test_units_that_blanks_part(sets) -> None:
    train, dev = (ProbeSet.read(one, "text") for one in sets)
    by_words = Probe(train, dev, ProbeOptions(epochs=1, units="words"))
    assert all(len(unit) == 2 for unit in by_words.units)
    assert Probe(train, dev, ProbeOptions(epochs=1)).units == list(LETTERS)


def test_mistakes(sets, tmp_path: Path, capsys) -> None:
    def said(train: Path, dev: Path, *more: object) -> str:
        capsys.readouterr()
        assert probe((train, dev), tmp_path / "out", *more) == 1
        assert not (tmp_path / "out").exists()
        return capsys.readouterr().err

    other = make_prepared_dir(tmp_path / "other", utterances=2)
    for name, options in (
        ("mean", {"layers": (1, 2), "combine": "mean"}),
        ("tokens", {"layers": ()}),
        ("stack", {"layers": (1, 2), "combine": "stack", "width": 4}),
    ):
        write_targets(other, name, **options)
    mean, tokens, stack = (other / "targets" / name for name in ("mean", "tokens", "stack"))
    assert f"{mean}: holds the mean of layers [1, 2]; dump this teacher" in said(mean, sets[1])
    assert "these are not the layers of a speech model" in said(tokens, sets[1])
    assert "not the same teacher as" in said(stack, sets[1])
    assert "2 problems" in said(*sets, "--epochs", 0, "--learning-rate", 2)
    assert "missing, so these targets were never dumped" in said(other / "targets/none", sets[1])
    first, *rest = (other / "text").read_text().splitlines(keepends=True)
    (other / "text").write_text("".join(rest))
    lacking = f"1 utterance(s) ({first.split()[0]}); add their lines, or give another file"
    assert f"{stack}: no words in text for {lacking}" in said(stack, sets[1])
    (other / "text").unlink()
    assert "text" in said(stack, sets[1])
