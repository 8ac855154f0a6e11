"""The verb targets: info, verify, compare."""

from collections.abc import Callable
from pathlib import Path

import kaldiio
import numpy as np
import pytest
import soundfile

from distill_asr import cli
from distill_asr.testing.codebooks import write_codebooks
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.targets import write_targets


def run(capsys: pytest.CaptureFixture, *words: object, code: int = 0) -> tuple[str, list[str]]:
    """What the verb prints, and the problems it reports."""
    capsys.readouterr()
    assert cli.main(["targets", *map(str, words)]) == code
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return out, err.splitlines()[1:]


def mvq_beside(directory: Path, name: str = "m") -> Path:
    """Targets of the same states, as codes of other targets."""
    other = directory.parent / name
    codec = write_codebooks(other, width=3)
    write_targets(directory.parents[1], name, codec=codec)
    return other


# -- info ----------------------------------------------------------------------------


def test_info_of_vectors_and_codes(make_targets: Callable, capsys) -> None:
    directory, _, manifest = make_targets(codec={"name": "fp16"})
    out, _ = run(capsys, "info", directory, mvq_beside(directory))
    plain, codes = out.split("\n\n")
    rows = dict(line.split(maxsplit=1) for line in plain.splitlines()[1:])
    assert plain.splitlines()[0] == str(directory)
    assert rows["teacher"] == "some/model (speech), weights ffffffffffff"
    assert (rows["layers"], rows["codec"], rows["width"]) == ("2, float32", "fp16", "3")
    assert (rows["step"], rows["utterances"], rows["frames"]) == ("20 ms", "5", "35, 0.00 h")
    arks = sum(shard.bytes for shard in manifest.shards)
    assert f"in 3 ark(s), {arks / 35:.1f} bytes a frame" in rows["disk"]
    assert "mvq, 4 codebooks of 256 entries for width 3" in codes
    assert "lose 50.0 % of the variance" in codes


def test_info_names_what_is_not_there(make_targets: Callable, capsys) -> None:
    directory, _, _ = make_targets()
    (directory / "manifest.json").unlink()
    _, problems = run(capsys, "info", directory, directory.parent / "none", code=1)
    assert len(problems) == 2 and all("never dumped or the dump is unfin" in p for p in problems)


# -- verify --------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["fp32", "fp16", "mvq"])
def test_good_targets(make_targets: Callable, capsys, codec: str) -> None:
    directory, _, _ = make_targets(codec={"name": "fp32" if codec == "mvq" else codec})
    directory = mvq_beside(directory) if codec == "mvq" else directory
    out, problems = run(capsys, "verify", directory)
    assert out == f"{directory}: good\n" and problems == []


def test_relative_paths(make_targets: Callable, capsys, monkeypatch: pytest.MonkeyPatch) -> None:
    directory, _, _ = make_targets()
    monkeypatch.chdir(directory)
    assert run(capsys, "verify", ".")[0] == ".: good\n"


def damage(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def test_every_problem_of_all_targets(make_targets: Callable, capsys) -> None:
    one, _, _ = make_targets("train")
    two, _, _ = make_targets("dev", {"x": 3200, "y": 4800})
    damage(one / "targets.0001.ark")
    path = two.parents[1] / "wav/x.wav"
    samples, rate = soundfile.read(path, dtype="int16")
    samples[7] += 1
    soundfile.write(path, samples, rate, subtype="PCM_16")
    out, problems = run(capsys, "verify", one, two, code=1)
    assert out.count("1 problem(s)") == 2
    assert f"{one / 'targets.0001.ark'}: damaged" in problems[0]
    assert f"{two}: stale: the audio of" in problems[1]


def test_codes_without_their_codebooks(make_targets: Callable, capsys) -> None:
    directory = mvq_beside(make_targets()[0])
    damage(directory / "codebooks.safetensors")
    _, (problem,) = run(capsys, "verify", directory, code=1)
    assert "codebooks.safetensors: not the codebooks of" in problem
    (directory / "codebooks.safetensors").unlink()
    _, (problem,) = run(capsys, "verify", directory, code=1)
    assert "codebooks.safetensors: missing" in problem


def rewrite(directory: Path, states: dict[str, np.ndarray]) -> None:
    """Put other states into the first ark, checksum and all, as a faulty teacher would have."""
    import dataclasses

    from distill_asr.io.checksum import file_sha256
    from distill_asr.targets.manifest import Manifest

    manifest = Manifest.load(directory)
    shard, path = manifest.shards[0], directory / "targets.0000.ark"
    old = dict(kaldiio.load_ark(str(path)))
    kaldiio.save_ark(str(path), {u: states.get(u, old[u]) for u in old})
    shard = dataclasses.replace(shard, bytes=path.stat().st_size, sha256=file_sha256(path))
    shards = [shard, *manifest.shards[1:]]
    (directory / "manifest.json").write_text(dataclasses.replace(manifest, shards=shards).to_text())
    (directory / "checksums.sha256").unlink()


def test_states_that_are_not_finite_or_too_long(make_targets: Callable, capsys) -> None:
    directory, states, _ = make_targets()
    broken = states["a"].copy()
    broken[1, 1] = np.nan
    rewrite(directory, {"a": broken})
    _, (problem,) = run(capsys, "verify", directory, code=1)
    assert "utterance a: states that are not finite" in problem


def test_states_of_a_wrong_length(make_targets: Callable, capsys) -> None:
    directory, states, _ = make_targets()
    first = (directory / "targets.scp").read_text().splitlines()
    last = next(u for u in ("a", "b") if f"{u} targets.0000.ark" in "\n".join(first))
    longer = np.concatenate([states[last]] * 3)
    rewrite(directory, {last: longer})
    _, problems = run(capsys, "verify", directory, code=1)
    assert any(f"utterance {last}: " in p and "positions of 20 ms for audio of" in p
               for p in problems)  # fmt: skip


def test_another_data_dir(make_targets: Callable, capsys) -> None:
    directory, _, _ = make_targets("train")
    other = make_targets("dev", {"x": 3200})[0].parents[1]
    _, problems = run(capsys, "verify", directory, "--data", other, code=1)
    assert any("no targets for 1 utterance(s) (x)" in problem for problem in problems)
    _, (problem,) = run(capsys, "verify", directory, directory, "--data", other, code=1)
    assert problem.startswith("--data: names one data dir")


def test_against_the_teacher_itself(make_targets: Callable, capsys, tmp_path: Path) -> None:
    save_speech_model(tmp_path / "model")
    yaml = tmp_path / "t.yaml"
    yaml.write_text(f"kind: speech\nmodel: {tmp_path / 'model'}\nlayers: [2]\n")
    directory, _, _ = make_targets()
    _, problems = run(capsys, "verify", directory, "--teacher", yaml, code=1)
    assert "stale: the teacher now has weights_sha256" in problems[-1]


# -- compare -------------------------------------------------------------------------


def test_compare_with_itself(make_targets: Callable, capsys) -> None:
    directory, _, _ = make_targets()
    out, _ = run(capsys, "compare", directory, directory)
    assert "5 utterances in both, none in one only" in out
    assert "relative error: median 0, 95 % below 0, largest 0" in out
    assert "cosine: mean 1.0000, smallest 1.0000" in out


def test_compare_with_half_precision(make_targets: Callable, capsys) -> None:
    directory, states, manifest = make_targets()
    write_targets(directory.parents[1], "half", codec={"name": "fp16"})
    out, _ = run(capsys, "compare", directory, directory.parent / "half")
    worst = {}
    for utterance, values in states.items():
        difference = (values.astype(np.float16).astype(float) - values) / manifest.std
        whole = (values - manifest.mean) / manifest.std
        worst[utterance] = np.linalg.norm(difference) / np.linalg.norm(whole)
    assert f"largest {max(worst.values()):.4g}" in out
    assert f"worst: {max(worst, key=worst.get)} " in out


def test_compare_names_ids_and_lengths_that_differ(make_targets: Callable, capsys) -> None:
    one, _, _ = make_targets("train", {"a": 1600, "b": 3200, "c": 3200})
    two, _, _ = make_targets("dev", {"b": 3200, "c": 6400, "d": 1600})
    out, _ = run(capsys, "compare", one, two)
    assert "2 utterances in both\n  only in A: 1 utterance(s) (a)\n  only in B: 1 utt" in out
    assert "of different length, not compared: 1 utterance(s) (c)" in out


def test_what_cannot_be_compared(make_targets: Callable, capsys) -> None:
    one, _, _ = make_targets("train", {"a": 1600})
    two, _, _ = make_targets("dev", {"b": 1600}, width=4, step_ms=40.0)
    _, problems = run(capsys, "compare", one, two, code=1)
    assert [problem.split(": ")[1] for problem in problems] == [
        "width 4, but " + str(one) + " has 3; nothing to compare",
        "step 40.0, but " + str(one) + " has 20.0; nothing to compare",
        "no utterance in common with " + str(one) + "; compare targets of one set",
    ]
