"""The verb dump: resume, staleness, refusals."""

import argparse
import errno
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill_asr.data.datadir import DataDir
from distill_asr.dump import command as dump
from distill_asr.errors import UserError
from distill_asr.io.locks import locked
from distill_asr.targets import Manifest, TargetReader
from distill_asr.targets.verify import check_targets
from distill_asr.teachers import TeacherConfig, load_teacher
from distill_asr.testing.data_dirs import write_data_dir

pytest.importorskip("transformers")
from distill_asr.testing.speech_models import save_speech_model

LENGTHS = {f"utt{i}": 1600 + 1111 * (i * 5 % 7) for i in range(7)}
ROOT = Path(__file__).parents[2]


class Place:
    """A recipe directory with a tiny teacher and one prepared set."""

    def __init__(self, root: Path) -> None:
        self.root = root
        save_speech_model(root / "model")
        self.teacher = root / "hubert.yaml"
        self.write_teacher()
        self.data = write_data_dir(root / "dump/train", LENGTHS)
        self.targets = self.data / "targets/hubert"

    def write_teacher(self, layers: str = "[2]", codec: str = "fp32") -> None:
        self.teacher.write_text(
            f"kind: speech\nmodel: {self.root / 'model'}\nlayers: {layers}\n"
            f"codec: {{name: {codec}}}\nbatch_seconds: 0.5\n"
        )

    def arguments(self, *more: object) -> list[str]:
        plain = ["--teacher", self.teacher, "--shard-utts", "2", self.data]
        return [str(a) for a in (*plain, *more)]

    def dump(self, *more: object) -> int:
        parser = argparse.ArgumentParser()
        dump.add_arguments(parser)
        return dump.run(parser.parse_args(self.arguments(*more)))

    def problems(self, *more: object) -> list[str]:
        with pytest.raises(UserError) as caught:
            self.dump(*more)
        return caught.value.problems


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


def content(directory: Path) -> dict[str, bytes]:
    """Every file of a tree, hidden ones too."""
    files = [path for path in directory.rglob("*") if path.is_file()]
    return {str(path.relative_to(directory)): path.read_bytes() for path in files}


def change_a_sample(path: Path) -> None:
    samples, rate = soundfile.read(path, dtype="int16")
    samples[7] += 1
    soundfile.write(path, samples, rate, subtype="PCM_16")


def test_targets_are_the_teachers_states(place: Place) -> None:
    assert place.dump() == 0
    targets = TargetReader(place.targets)
    teacher = load_teacher(TeacherConfig.read(place.teacher))
    assert sorted(targets) == sorted(LENGTHS)
    for utterance in LENGTHS:
        audio, _ = soundfile.read(place.data / f"wav/{utterance}.wav", dtype="float32")
        (alone,) = teacher.states([audio])
        np.testing.assert_allclose(targets[utterance], alone, atol=2e-5)
    manifest = Manifest.load(place.targets)
    frames = np.concatenate([targets[u] for u in LENGTHS]).astype(np.float64)
    np.testing.assert_allclose(manifest.mean, frames.mean(axis=0), rtol=1e-12, atol=1e-14)
    assert (manifest.name, manifest.step_ms, manifest.width) == ("hubert", 20.0, 16)
    assert [s.utterances for s in manifest.shards] == [2, 2, 2, 1]
    assert check_targets(place.targets, DataDir.read(place.data), reread=True) == []
    files = {
        "manifest.json",
        "targets.scp",
        "checksums.sha256",
        *(f"targets.000{n}.ark" for n in range(4)),
    }
    assert set(content(place.targets)) == files


def test_second_run_skips(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    place.dump()
    before = content(place.targets)
    forbid_states(monkeypatch)
    for more in ([], ["--overwrite"], ["--shard-utts", "5"], ["--batch-seconds", "9"]):
        assert place.dump(*more) == 0
    assert content(place.targets) == before


def test_several_sets_and_a_name(place: Place) -> None:
    other = write_data_dir(place.root / "dump/unlab", {"x": 3000, "y": 9000}, seed=1)
    place.dump(other, "--name", "h2")
    targets = TargetReader([place.data / "targets/h2", other / "targets/h2"])
    assert len(targets) == len(LENGTHS) + 2


def forbid_states(monkeypatch: pytest.MonkeyPatch) -> None:
    from distill_asr.teachers.speech import SpeechTeacher

    monkeypatch.setattr(SpeechTeacher, "states", None)


# --- killed and continued -------------------------------------------------------------------

# {point} is a function called while dumping, {call} the call at which the process is killed
KILLED = """
import argparse, itertools, os, signal, sys
from distill_asr.dump import command as dump
from distill_asr.io import files
from distill_asr.targets import shards, writer
from distill_asr.teachers.speech import SpeechTeacher
calls = itertools.count(1)
def dying(real):
    def wrapped(*args, **kwargs):
        if next(calls) == {call}:
            os.kill(os.getpid(), signal.SIGKILL)
        return real(*args, **kwargs)
    return wrapped
{point} = dying({point})
parser = argparse.ArgumentParser()
dump.add_arguments(parser)
dump.run(parser.parse_args(sys.argv[1:]))
"""


@pytest.fixture
def undisturbed(place: Place) -> dict[str, bytes]:
    """What a run nobody kills leaves behind; removed again."""
    place.dump()
    files = content(place.targets)
    shutil.rmtree(place.targets)
    return files


def run_killed(place: Place, point: str, call: int) -> None:
    code = KILLED.format(point=point, call=call)
    command = [sys.executable, "-c", code, *place.arguments()]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert process.returncode == -signal.SIGKILL, process.stderr


def shards_computed_by(place: Place, monkeypatch: pytest.MonkeyPatch) -> int:
    """Run the same command again and count the shards it computes."""
    from distill_asr.targets.shards import ShardWriter

    numbers = []
    real = ShardWriter.write

    def counted(self: ShardWriter, number: int, *rest: object) -> None:
        numbers.append(number)
        real(self, number, *rest)

    monkeypatch.setattr(ShardWriter, "write", counted)
    place.dump()
    return len(numbers)


def test_killed_while_a_shard_is_computed(
    place: Place, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_killed(place, "SpeechTeacher.states", 4)
    left = content(place.targets)
    assert "manifest.json" not in left and any(name.endswith(".tmp") for name in left)
    with pytest.raises(UserError, match="unfinished"):
        TargetReader(place.targets)
    done = sum(name.endswith(".ark") for name in left)
    assert 1 <= done < 4
    assert shards_computed_by(place, monkeypatch) == 4 - done
    assert content(place.targets) == undisturbed


@pytest.mark.slow
@pytest.mark.parametrize(
    "point, call, redone",
    [
        ("SpeechTeacher.states", 1, 4),
        ("shards.ShardRecord.save", 2, 3),  # the ark is there, its record is not
        ("writer.TargetWriter.finish", 1, 0),
        ("writer.write_checksums", 1, 0),  # the index is there, the manifest is not
        ("writer.shutil.rmtree", 1, 0),  # finished but for tidying up
    ],
)
def test_killed_anywhere(
    place: Place,
    undisturbed: dict[str, bytes],
    monkeypatch: pytest.MonkeyPatch,
    point: str,
    call: int,
    redone: int,
) -> None:
    run_killed(place, point, call)
    assert content(place.targets) != undisturbed
    assert shards_computed_by(place, monkeypatch) == redone
    assert content(place.targets) == undisturbed


# --- what is in the way ---------------------------------------------------------------------


def test_targets_of_another_teacher_are_stale(place: Place) -> None:
    place.dump()
    before = content(place.targets)
    save_speech_model(place.root / "model", seed=1)
    place.write_teacher("[1]")
    (problem,) = place.problems()
    assert "stale" in problem and "weights_sha256" in problem and "layers (1,)" in problem
    assert "--overwrite" in problem and "--name" in problem
    assert content(place.targets) == before
    assert place.dump("--name", "other") == 0
    assert place.dump("--overwrite") == 0
    assert Manifest.load(place.targets).layers == (1,)


def test_targets_of_other_audio_are_stale(place: Place) -> None:
    place.dump()
    change_a_sample(place.data / "wav/utt3.wav")
    (problem,) = place.problems()
    assert "stale: the audio of" in problem and "--overwrite" in problem
    before = content(place.targets)
    assert place.dump("--overwrite") == 0
    assert content(place.targets) != before


def test_new_utterances_are_counted_and_named(place: Place) -> None:
    place.dump()
    write_data_dir(place.data, LENGTHS | {"new1": 5000, "new2": 6000})
    (problem,) = place.problems()
    assert "no targets for 2 utterance(s) (new1, new2)" in problem
    assert place.dump("--overwrite") == 0
    assert "new1" in TargetReader(place.targets)


def test_stale_sets_are_all_reported_before_anything_is_computed(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = write_data_dir(place.root / "dump/unlab", {"x": 3000})
    place.dump(other)
    place.write_teacher("[1]")
    forbid_states(monkeypatch)
    first, second = place.problems(other)
    assert str(place.targets) in first and str(other / "targets/hubert") in second


def test_damaged_targets_are_replaced_on_request(place: Place) -> None:
    place.dump()
    before = content(place.targets)
    path = place.targets / "targets.0001.ark"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    assert place.dump("--overwrite") == 0
    assert content(place.targets) == before
    path.unlink()
    assert f"{path}: missing" in place.problems()[0]


def interrupted(place: Place, monkeypatch: pytest.MonkeyPatch, shards: int) -> None:
    """Leave a dump with so many shards finished."""
    from distill_asr.targets.shards import ShardWriter

    real = ShardWriter.write

    def stopping(self: ShardWriter, number: int, *rest: object) -> None:
        if number == shards:
            raise KeyboardInterrupt
        real(self, number, *rest)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ShardWriter, "write", stopping)
        place.dump()


def test_unfinished_dump_of_another_teacher_is_not_mixed_in(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(place, monkeypatch, 2)
    place.write_teacher("[1]")
    (problem,) = place.problems()
    assert "2 shard(s) of an unfinished dump of another teacher" in problem
    assert "layers (2,) instead of (1,)" in problem and "--overwrite" in problem
    place.dump("--overwrite")
    assert Manifest.load(place.targets).layers == (1,)


def test_overwrite_killed_and_repeated_keeps_what_matches(
    place: Place, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(place, monkeypatch, 3)
    with monkeypatch.context() as patch:
        assert shards_computed_by(place, patch) == 1
    assert content(place.targets) == undisturbed
    assert place.dump("--overwrite") == 0


def test_audio_changed_in_an_unfinished_dump_redoes_its_shard(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(place, monkeypatch, 3)
    change_a_sample(place.data / "wav/utt0.wav")
    assert shards_computed_by(place, monkeypatch) == 2
    fresh = content(place.targets)
    shutil.rmtree(place.targets)
    place.dump()
    assert content(place.targets) == fresh


def test_other_shard_size_on_resume_leaves_no_strays(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupted(place, monkeypatch, 3)
    place.dump("--shard-utts", "7")
    continued = content(place.targets)
    assert [name for name in continued if name.endswith(".ark")] == ["targets.0000.ark"]
    shutil.rmtree(place.targets)
    place.dump("--shard-utts", "7")
    assert content(place.targets) == continued


def test_two_dumps_of_one_target_refuse_each_other(place: Place) -> None:
    with locked(place.targets, "testing"):
        (problem,) = place.problems()
    assert "already writing there" in problem and str(place.targets) in problem
    assert place.dump() == 0


def test_lock_of_another_process(place: Place) -> None:
    code = (
        "import sys\nfrom distill_asr.io.locks import locked\n"
        "with locked(sys.argv[1], 'testing'):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    command = [sys.executable, "-c", code, str(place.targets)]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True) as process:
        assert process.stdout.readline() == "held\n"
        assert "being written by another command" in place.problems()[0]
        process.kill()  # the lock goes with its holder
    assert place.dump() == 0


# --- what cannot be dumped ------------------------------------------------------------------


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_full_disk_keeps_finished_shards(
    place: Place, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    from distill_asr.targets import shards

    calls = []
    real = shards.kaldiio.save_ark

    def full(stream: object, *rest: object, **more: object) -> None:
        calls.append(stream)
        if len(calls) == 6:  # in the third shard
            raise OSError(number, os.strerror(number))
        real(stream, *rest, **more)

    with monkeypatch.context() as patch:
        patch.setattr(shards.kaldiio, "save_ark", full)
        (problem,) = place.problems()
    assert os.strerror(number) in problem and "targets.0002.ark" in problem
    assert "finished shards are kept" in problem
    assert not any(name.endswith(".tmp") for name in content(place.targets))
    with monkeypatch.context() as patch:
        assert shards_computed_by(place, patch) == 2
    assert content(place.targets) == undisturbed


def test_directory_that_cannot_be_written(place: Place) -> None:
    place.targets.parent.write_text("a file where a directory should be")
    (problem,) = place.problems()
    assert str(place.targets.parent) in problem and "cannot be written" in problem


def test_all_bad_audio_in_one_error_after_mending_it_continues(
    place: Place, undisturbed: dict[str, bytes]
) -> None:
    good = content(place.data / "wav")
    for utterance in ("utt4", "utt6"):
        count = LENGTHS[utterance]
        path = place.data / f"wav/{utterance}.wav"
        soundfile.write(path, np.full(count, np.nan), 16000, subtype="FLOAT")
    path = place.data / "wav/utt1.wav"
    path.write_bytes(path.read_bytes()[:-200])
    problems = place.problems()
    assert ["utt1" in problems[0], len(problems)] == [True, 1]  # its header tells, so at once
    path.write_bytes(good["utt1.wav"])
    first, second = place.problems()
    assert "utterance utt4: " in first and "NaN" in first and "utterance utt6: " in second
    assert "targets.0000.ark" in content(place.targets)  # finished before
    for utterance in ("utt4", "utt6"):
        (place.data / f"wav/{utterance}.wav").write_bytes(good[f"{utterance}.wav"])
    place.dump()
    assert content(place.targets) == undisturbed


def test_too_short_utterances_are_all_named(place: Place) -> None:
    write_data_dir(place.data, LENGTHS | {"brief": 399, "briefer": 1, "enough": 400})
    first, second = place.problems()
    assert "utterance brief: " in first and "399 samples" in first and "at least 400" in first
    assert "utterance briefer: " in second
    assert not place.targets.exists()


def test_fp16_overflow_names_the_utterance(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from distill_asr.teachers.speech import SpeechTeacher

    real = SpeechTeacher.states
    monkeypatch.setattr(SpeechTeacher, "states", lambda *a: [1e5 * s for s in real(*a)])
    place.write_teacher(codec="fp16")
    (problem,) = place.problems()
    assert "utterance utt" in problem and "65504" in problem and "name: fp32" in problem
    place.write_teacher(codec="fp32")
    assert place.dump() == 0


def test_wrong_options_are_reported_together(place: Place) -> None:
    place.teacher.write_text("kind: speech\n")
    problems = place.problems(
        place.data, "--shard-utts", "0", "--batch-seconds", "-1", "--name", "../x"
    )
    words = ["given twice", "--shard-utts", "--batch-seconds", "--name", "model: missing", "layers"]
    assert len(problems) == len(words)
    assert all(word in problem for word, problem in zip(words, problems, strict=True))
