"""Where the files of an experiment lie: the directory that a training writes.

Nothing here needs torch or ESPnet.
"""

from __future__ import annotations

from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

from distill_asr.io.locks import locked

AVERAGED = "valid.loss.ave.pth"  # model of a finished training: average of its best epochs
RESUMED = "checkpoint.pth"  # state of a training, to continue it from
CONFIG = "config.yaml"  # what ESPnet built the model from
RECORD = "train.yaml"  # what makes the training this one
DONE = "done.json"  # written last


@dataclass(frozen=True)
class Experiment:
    """The directory that a training writes, file by file; it need not exist yet."""

    directory: Path

    @property
    def config(self) -> Path:
        """The resolved config, in ESPnet's keys."""
        return self.directory / CONFIG

    @property
    def record(self) -> Path:
        """What makes the training this one: its config, data and initial weights."""
        return self.directory / RECORD

    @property
    def done(self) -> Path:
        """Written when the training is finished, with its fingerprint."""
        return self.directory / DONE

    @property
    def model(self) -> Path:
        """The averaged model."""
        return self.directory / AVERAGED

    @property
    def resumed(self) -> Path:
        """State that a killed training continues from."""
        return self.directory / RESUMED

    @property
    def inputs(self) -> Path:
        """Directory of what ESPnet reads: tables, shapes, its YAML."""
        return self.directory / "data"

    @property
    def espnet_config(self) -> Path:
        """The YAML that ESPnet reads; the first file of ``inputs``."""
        return self.inputs / "espnet.yaml"

    @property
    def espnet_command(self) -> Path:
        """ESPnet's command line, for the other processes of a training; last of ``inputs``."""
        return self.inputs / "command.json"

    @property
    def log(self) -> Path:
        """The training's log."""
        return self.directory / "train.log"

    @property
    def statistics(self) -> Path:
        """Feature statistics for ``global_mvn``."""
        return self.directory / "stats" / "train" / "feats_stats.npz"

    @property
    def decode_seconds(self) -> Path:
        """How long its decodings took."""
        return self.directory / "decode_seconds.json"

    def decoded(self, test_set: str) -> Path:
        """Directory of the words recognised in a set."""
        return self.directory / "decode" / test_set

    def lock(self, doing: str) -> AbstractContextManager[None]:
        """Hold the directory's lock, see ``io.locks.locked``."""
        return locked(self.directory, doing)
