"""A small recipe, run once undisturbed; the state after each of its commands is kept.

All commands run in one directory with relative paths, and a trial restores a state there: so what
they write may hold paths and is still compared byte for byte.
"""

from __future__ import annotations

import fnmatch
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
import torch
import yaml

from distill_asr.experiments.layout import DONE
from distill_asr.io.records import DamagedRecordError, read_record
from distill_asr.testing.fixtures import tiny_config
from distill_asr.testing.torture.processes import Limits, Outcome, Running, Start

_LONGEST = 900.0  # seconds that a command may take, where many others run

_SYSTEM = "exp/taught_seed1"


@dataclass(frozen=True)
class Step:
    """One command of the recipe.

    Parameters
    ----------
    commands : ways to say it that give the same files.
    reads, makes : patterns of the files that it depends on, and that later commands read.
    """

    name: str
    commands: tuple[tuple[str, ...], ...]
    reads: tuple[str, ...]
    makes: tuple[str, ...]


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_TRAINED = ("valid.loss.ave.pth", "config.yaml", "done.json", "stats/*.npz")
_SETS = ("dump/train/*", "dump/dev/*", "dump/tokens.txt")
_DUMP = "dump --teacher conf/moments.yaml --shard-utts 3 dump/train dump/dev"
_TRAIN = "--train dump/train --valid dump/dev --output"
_SCORED = "--exp exp --dump dump --out"

STEPS = (
    Step(
        "prepare",
        (_words("prepare src/train dump/train --tokens char --token-list dump/tokens.txt"),),
        ("src/train/*", "dump/train/*", "dump/tokens.txt"),
        ("dump/train/*", "dump/tokens.txt"),
    ),
    Step("prepare dev", (_words("prepare src/dev dump/dev"),), ("src/dev/*",), ("dump/dev/*",)),
    Step(
        "dump",
        tuple(_words(_DUMP + more) for more in ("", " --nj 2", " --cluster conf/local.yaml")),
        ("conf/moments.yaml", "dump/train/*", "dump/dev/*"),
        ("dump/*/targets/*",),
    ),
    Step(
        "train 1",
        (_words(f"train --config conf/stage1.yaml {_TRAIN} exp/stage1"),),
        ("conf/stage1.yaml", *_SETS, "exp/stage1/*"),
        tuple(f"exp/stage1/{name}" for name in (*_TRAINED, "?epoch.pth")),
    ),
    Step(
        "train 2",
        (_words(f"train --config conf/stage2.yaml {_TRAIN} {_SYSTEM} --init exp/stage1"),),
        ("conf/stage2.yaml", *_SETS, "exp/stage1/*", f"{_SYSTEM}/*"),
        tuple(f"{_SYSTEM}/{name}" for name in (*_TRAINED, "?epoch.pth")),
    ),
    Step(
        "decode",
        (_words(f"decode --exp {_SYSTEM} --data dump/dev --method greedy"),),
        ("dump/dev/*", f"{_SYSTEM}/*"),
        (f"{_SYSTEM}/decode/dev/*",),
    ),
    Step(
        "decode beam",
        (_words(f"decode --exp {_SYSTEM} --data dump/dev --beam-size 2 --output exp/beam"),),
        ("dump/dev/*", f"{_SYSTEM}/*", "exp/beam/*"),
        ("exp/beam/*",),
    ),
    Step(
        "pseudo-label",
        (_words(f"pseudo-label --exp {_SYSTEM} --data dump/train --output dump/train_pl"),),
        ("dump/train/*", f"{_SYSTEM}/*", "dump/train_pl/*"),
        ("dump/train_pl/*",),
    ),
    Step(
        "score",
        (_words(f"score --systems plain,taught --seeds 1 --sets dev {_SCORED} exp/RESULTS.md"),),
        ("dump/dev/text", "exp/*_seed1/decode/*", "exp/RESULTS.*"),
        ("exp/RESULTS.*",),
    ),
    Step(
        "report",
        (
            _words(
                "report --languages en --baseline plain --candidates taught --seeds 1 "
                f"--test-set dev {_SCORED} exp/REPORT.md"
            ),
        ),
        ("dump/*/text", "dump/*/utt2num_samples", "exp/*_seed1/decode/*", "exp/REPORT.*"),
        ("exp/REPORT.md", "exp/REPORT.json"),
    ),
)
# of no consequence: logs, locks, what is measured anew
_IGNORED = (
    "*.log",
    "*.lock",
    "*.png",
    "*/tensorboard/*",
    "*cache*",
    "*/RUNNING*",
    "*.tmp",
    "*.identity",
)
# files that users write: another content is another input
SOURCES = ("src/*", "conf/*", "exp/plain_seed1/*")


class Scene:
    """The recipe in ``<root>/scene``, its states in ``<root>/states``.

    Parameters
    ----------
    root : a folder.
    start : starts a command, ``start_warm`` or ``start_real``.
    """

    def __init__(self, root: Path, start: Start) -> None:
        self.directory = root / "scene"
        self._states = root / "states"
        self._start = start
        self.seconds: dict[str, float] = {}
        self.said = ""  # by the commands of a trial, to stderr

    def build(self) -> Iterator[tuple[str, Outcome]]:
        """Run every command undisturbed; give how each ended.

        Raises
        ------
        RuntimeError : one failed.
        """
        shutil.rmtree(self._states, ignore_errors=True)
        shutil.rmtree(self.directory, ignore_errors=True)
        write_sources(self.directory)
        self._keep(0)
        for number, step in enumerate(STEPS, 1):
            outcome = self.run(step.commands[0])
            if outcome.code or outcome.fault:
                raise RuntimeError(f"{step.name}, undisturbed: {outcome.stderr}")
            self.seconds[step.name] = outcome.seconds
            self._keep(number)
            yield step.name, outcome

    def restore(self, number: int) -> None:
        """Bring back the state after the first ``number`` commands."""
        self.said = ""
        self.directory.mkdir(exist_ok=True)  # it may be a mount point
        self.directory.chmod(0o755)
        for path in self.directory.iterdir():
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        shutil.copytree(
            self._states / str(number), self.directory, symlinks=True, dirs_exist_ok=True
        )

    def start(self, command: tuple[str, ...], limits: Limits = Limits()) -> Running:  # noqa: B008
        """Start a command in the scene.

        Parameters
        ----------
        command : a verb and its arguments, see ``Step.commands``.
        limits : its conditions; none by default.
        """
        return self._start(command, self.directory, limits)

    def run(self, command: tuple[str, ...], limits: Limits = Limits()) -> Outcome:  # noqa: B008
        """Run a command to its end; one that hangs is killed.

        Parameters
        ----------
        command : a verb and its arguments.
        limits : its conditions; none by default.
        """
        return self.finish(self.start(command, limits))

    def finish(self, running: Running) -> Outcome:
        """Wait for a command; one that hangs is killed, and gets exit code -9."""
        if running.wait(_LONGEST) is None:
            running.kill()
            running.wait(_LONGEST)
        self.said += f"[{running.outcome.code}] {running.outcome.stderr}\n"
        return running.outcome

    def files(self, number: int, patterns: tuple[str, ...]) -> list[str]:
        """Files of a state that match, but for those of no consequence.

        Parameters
        ----------
        number : of the state: commands that have run.
        patterns : see ``matches``.

        Returns
        -------
        Paths relative to the scene, sorted.
        """
        return _listed(self._states / str(number), patterns)

    def size(self, number: int) -> int:
        """Bytes of the files that command ``number`` makes."""
        paths = self.files(number, STEPS[number - 1].makes)
        return sum((self._states / str(number) / path).stat().st_size for path in paths)

    def differences(self, number: int, spared: str | None = None) -> list[str]:
        """Files of a command that are not as in the undisturbed run, and litter.

        Parameters
        ----------
        number : of the command, counted from 1.
        spared : a file that may differ; inputs may then differ too.
        """
        step, whole = STEPS[number - 1], self._states / str(number)
        names = {*_listed(whole, step.makes), *_listed(self.directory, step.makes)}
        found = [
            name
            for name in sorted(names)
            if name != spared
            and not _same(whole / name, self.directory / name, same_inputs=spared is None)
        ]
        litter = [str(path) for path in self.directory.rglob(".*.tmp")]
        return found + [f"litter {path}" for path in litter]

    def _keep(self, number: int) -> None:
        shutil.copytree(self.directory, self._states / str(number), symlinks=True)


def write_sources(root: Path) -> None:
    """What a user has before the first command: data dirs, configs, a decoded baseline."""
    rng = np.random.default_rng(0)
    for name, utterances in (("train", 9), ("dev", 4)):
        _write_set(root, name, utterances, rng)
    block = {"teacher": "moments", "tap": "encoder", "loss": "l1"}
    common = {"max_epoch": 3, "num_workers": 1, "normalize": "global_mvn", "batch_size": 3}
    # at a rate where its words do not depend on the draw of its dropout: 0.02 may give none
    student = tiny_config(
        "cif", "dump/tokens.txt", {"states": block}, **common, optim_conf={"lr": 0.005}
    )
    kind = "distill_asr.testing.torture.teacher.MomentsTeacher"
    configs = {
        "moments": {"kind": kind, "conf": {"pause": 0.05}, "batch_seconds": 0.4},
        "local": {"kind": "local", "workers": 2},
        "stage1": tiny_config("encoder_only", None, {"states": block}, **common),
        "stage2": student,
    }
    (root / "conf").mkdir()
    for name, content in configs.items():
        (root / "conf" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    baseline = root / "exp/plain_seed1/decode/dev"
    baseline.mkdir(parents=True)
    (baseline / "text").write_text((root / "src/dev/text").read_text().replace("aa", "ab"))


def _write_set(root: Path, name: str, utterances: int, rng: np.random.Generator) -> None:
    """A data dir of tones in noise, of which every other utterance must be converted."""
    folder = root / "src" / name
    (folder / "wav").mkdir(parents=True)
    rows = []
    for number in range(utterances):
        key, rate = f"spk{number % 2}-{name}-{number:02d}", (16000, 8000)[number % 2]
        tone = np.sin(np.arange(int(rate * rng.uniform(0.6, 1.2))) * rng.uniform(0.05, 0.5))
        path = folder / "wav" / f"{key}.wav"
        soundfile.write(path, 0.2 * tone + rng.normal(0, 0.02, len(tone)), rate)
        words = " ".join("".join(rng.choice(list("aaab"), 2)) for _ in range(2))
        rows.append((key, path.relative_to(root), words, key[:4]))
    for column, table in enumerate(("wav.scp", "text", "utt2spk"), 1):
        lines = [f"{row[0]} {row[column]}\n" for row in sorted(rows)]
        (folder / table).write_text("".join(lines))


def _listed(root: Path, patterns: tuple[str, ...]) -> list[str]:
    names = [str(path.relative_to(root)) for path in root.rglob("*") if path.is_file()]
    return sorted(name for name in names if matches(name, patterns) and not matches(name, _IGNORED))


def matches(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a path matches one of the patterns.

    Parameters
    ----------
    name : path relative to the scene.
    patterns : of the shell; their ``*`` also takes slashes.
    """
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _same(whole: Path, found: Path, same_inputs: bool) -> bool:
    if not whole.is_file() or not found.is_file():
        return False
    if whole.read_bytes() == found.read_bytes():
        return True
    if whole.name == DONE:
        return _same_training(whole, found, same_inputs)
    return whole.suffix in (".pth", ".npz") and _same_numbers(whole, found)


def _same_training(whole: Path, found: Path, same_inputs: bool) -> bool:
    """Records that vouch for the same names; the archives' checksums hold their time stamps.

    The fingerprint is also that of files which are there and are not read, as a validation set's
    manifest is where a student is judged by its recognition loss.
    """
    try:
        a, b = (read_record(path) for path in (whole, found))
    except DamagedRecordError:
        return False
    same = a["fingerprint"] == b["fingerprint"] or not same_inputs
    return same and a["files"].keys() == b["files"].keys()


def _same_numbers(whole: Path, found: Path) -> bool:
    """Bit-equal arrays; archives of the same arrays differ in their time stamps."""
    try:
        if whole.suffix == ".npz":
            with np.load(whole) as a, np.load(found) as b:
                return a.files == b.files and all(np.array_equal(a[k], b[k]) for k in a.files)
        a, b = (torch.load(path, weights_only=True) for path in (whole, found))
    except Exception:  # damaged: whatever they say, it is not the same
        return False
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
