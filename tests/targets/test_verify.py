"""Are targets whole, and of this data and this teacher?"""

import shutil
from collections.abc import Callable
from pathlib import Path

import soundfile

from distill_asr.data.datadir import DataDir
from distill_asr.targets.verify import check_targets
from distill_asr.testing.data_dirs import write_data_dir
from distill_asr.testing.targets import target_settings


def check(directory: Path, **options: object) -> list[str]:
    return check_targets(directory, DataDir.read(directory.parent.parent), **options)


def test_good_targets_have_no_problem(make_targets: Callable) -> None:
    directory, _, _ = make_targets()
    assert check(directory, settings=target_settings(), reread=True) == []
    assert check(directory, settings=target_settings(weights_sha256="")) == []  # not known yet


def test_moved_audio_is_the_same_audio(make_targets: Callable, tmp_path: Path) -> None:
    directory, _, _ = make_targets()
    data = directory.parent.parent
    shutil.move(data / "wav", tmp_path / "elsewhere")
    scp = data / "wav.scp"
    scp.write_text(scp.read_text().replace(str(data / "wav"), str(tmp_path / "elsewhere")))
    assert check(directory) == []


def test_no_targets(tmp_path: Path) -> None:
    (problem,) = check_targets(tmp_path / "t")
    assert "never dumped" in problem


def test_damaged_and_missing_files(make_targets: Callable) -> None:
    directory, _, _ = make_targets()
    first, second, third = (directory / f"targets.{n:04d}.ark" for n in range(3))
    content = bytearray(first.read_bytes())
    content[-1] ^= 1
    first.write_bytes(content)
    second.write_bytes(second.read_bytes()[:-1])
    third.unlink()
    for reread in (False, True):
        sizes, gone, damaged = check(directory, reread=reread)
        assert str(second) in sizes and str(third) in gone and f"{first}: damaged" in damaged


def test_index_that_lost_a_line(make_targets: Callable) -> None:
    directory, _, _ = make_targets()
    scp = directory / "targets.scp"
    scp.write_text("".join(scp.read_text().splitlines(keepends=True)[1:]))
    (problem,) = check(directory)
    assert f"{scp}: damaged or changed by hand" in problem
    (directory / "checksums.sha256").unlink()
    problems = check(directory)
    assert "1 utterances in targets.0000.ark, the manifest has 2" in problems[0]
    assert "no targets for 1 utterance(s) (a)" in problems[1]


def test_missing_and_extra_utterances_are_counted_and_named(
    make_targets: Callable, lengths: dict[str, int]
) -> None:
    directory, _, _ = make_targets()
    new = {f"n{i}": 500 for i in range(7)}
    write_data_dir(directory.parent.parent, {u: lengths[u] for u in "abc"} | new)
    missing, extra = check(directory)
    assert "no targets for 7 utterance(s) (n0, n1, n2, n3, n4, ...)" in missing
    assert "targets for 2 utterance(s) (d, é) not in" in extra
    assert check(directory, allow_extra=True) == [missing]


def test_audio_of_another_length(make_targets: Callable, lengths: dict[str, int]) -> None:
    directory, _, _ = make_targets()
    write_data_dir(directory.parent.parent, lengths | {"a": 501})
    (problem,) = check(directory)
    assert "stale: audio lengths" in problem


def test_audio_of_the_same_length(make_targets: Callable) -> None:
    directory, _, _ = make_targets()
    path = directory.parent.parent / "wav/a.wav"
    samples, rate = soundfile.read(path, dtype="int16")
    samples[7] += 1
    soundfile.write(path, samples, rate, subtype="PCM_16")
    (problem,) = check(directory)
    assert "stale: the audio of" in problem


def test_another_teacher(make_targets: Callable) -> None:
    directory, _, _ = make_targets()
    other = target_settings(weights_sha256="0" * 64, layers=(3, 4), combine="mean")
    (problem,) = check(directory, settings=other)
    assert "stale: the teacher now has" in problem and "--overwrite" in problem
    for word in ("weights_sha256", "layers (3, 4) instead of (2,)", "combine 'mean'"):
        assert word in problem


def test_data_dir_without_lengths(make_targets: Callable) -> None:
    directory, _, _ = make_targets()
    (directory.parent.parent / "utt2num_samples").unlink()
    (problem,) = check(directory)
    assert "utt2num_samples" in problem
