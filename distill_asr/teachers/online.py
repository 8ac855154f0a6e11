"""A teacher in the training step instead of on disk, for augmentation or small storage.

Legend: B batch, N samples, S teacher positions, E teacher width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_asr.errors import UserError
from distill_asr.io.audio import BadAudioError, read_audio
from distill_asr.io.progress import Bar
from distill_asr.targets.statistics import Statistics
from distill_asr.teachers.batching import batches_of_audio
from distill_asr.teachers.config import TeacherConfig
from distill_asr.teachers.load import load_teacher

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from distill_asr.data.datadir import DataDir
    from distill_asr.teachers.contract import Teacher

OF_TEXT = ("text", "random")  # kinds of teachers
SUFFIX = ".yaml"  # a block's `teacher:` that ends so names a file, and the teacher runs online


class OnlineTeacher:
    """A frozen teacher's targets for a batch, the same numbers as a dump in float32.

    Not a module: the student's state dict, parameters, device and mode exclude it. The model
    is loaded at the first batch, in the process and on the device that need it, and stays behind
    when the student is pickled or copied.

    Parameters
    ----------
    config : of a teacher that reads audio.
    """

    def __init__(self, config: TeacherConfig) -> None:
        self.config = config
        self._loaded: dict[torch.device, Teacher] = {}

    def __call__(self, speech: Tensor, lengths: Tensor, counts: Tensor) -> tuple[Tensor, Tensor]:
        """States float32 [B, S, E] and their lengths [B], without a gradient.

        Parameters
        ----------
        speech : [B, N], as the student gets it, padded.
        lengths : [B], samples.
        counts : [B] bool; other utterances are not listened to, and have length 0.
        """
        import torch

        heard = speech.detach().float().cpu().numpy()
        sizes = {str(i): int(lengths[i]) for i in counts.nonzero().flatten().tolist()}
        # loading draws from the random state, and some models do in eval; a dump would not have
        with torch.random.fork_rng([]), torch.autocast(speech.device.type, enabled=False):
            teacher = self.on(speech.device)
            states: list[np.ndarray] = [np.zeros((0, teacher.width), np.float32)] * len(speech)
            for batch in batches_of_audio(
                sizes, sizes, self.config.on(str(speech.device)).batch_seconds
            ):
                waveforms = [heard[int(i), : sizes[i]] for i in batch]
                for i, row in zip(batch, teacher.states(waveforms), strict=True):
                    states[int(i)] = row
        given = torch.nn.utils.rnn.pad_sequence(list(map(torch.from_numpy, states)), True)
        counted = torch.tensor([len(row) for row in states])
        return given.to(speech.device), counted.to(speech.device)

    def on(self, device: torch.device) -> Teacher:
        """The teacher on a device, loaded if it is not yet.

        Raises
        ------
        UserError : it cannot be loaded, or reads something else than audio.
        """
        if device not in self._loaded:
            teacher = load_teacher(self.config, str(device))
            if teacher.reads != "audio":
                raise UserError(
                    f"{self.config.path}: online: a teacher that reads {teacher.reads} cannot run "
                    "in the training step; dump it with `distill-asr dump` and give its name"
                )
            self._loaded[device] = teacher
        return self._loaded[device]

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "_loaded": {}}


def sample_statistics(
    teacher: Teacher, sets: Sequence[DataDir], batch_seconds: float, count: int, seed: int
) -> Statistics:
    """Measure the states of ``count`` random utterances; of all where there are fewer.

    Parameters
    ----------
    teacher : reads audio.
    sets : prepared, of 16 kHz.
    batch_seconds : most audio that goes through at a time, padding included.
    count : how many utterances.
    seed : decides which.

    Raises
    ------
    UserError : audio that cannot be read.
    """
    audio = {u: path for data in sets for u, path in data.wav.items()}
    lengths = {u: samples for data in sets for u, samples in data.num_samples.items()}
    chosen = np.random.default_rng(seed).permutation(sorted(audio))[:count].tolist()
    parts: dict[str, Statistics] = {}
    with Bar(desc="statistics of the online teacher", total=len(chosen), unit="utt") as bar:
        for batch in batches_of_audio(lengths, chosen, batch_seconds):
            try:
                waveforms = [read_audio(audio[utterance])[0] for utterance in batch]
            except BadAudioError as bad:
                raise UserError(f"one of {', '.join(batch)}: {bad.kind}: {bad.detail}") from bad
            states = teacher.states(waveforms)
            parts.update({u: Statistics.of(s) for u, s in zip(batch, states, strict=True)})
            bar.update(len(batch))
    return Statistics.pool(parts[utterance] for utterance in sorted(parts))


def is_online(teacher: object) -> bool:
    """Whether a block's ``teacher:`` is the file of a teacher, not the name of its targets."""
    return isinstance(teacher, str) and teacher.endswith(SUFFIX)


def read_online(path: str) -> TeacherConfig:
    """Read the file of an online teacher.

    Raises
    ------
    UserError : all mistakes of the file, or a teacher not meant to be online.
    """
    config = TeacherConfig.read(path)
    if not config.online:
        raise UserError(
            f"{path}: no `online: true`; write it, or dump this teacher and give the targets' name"
        )
    return config


def reads_audio(config: TeacherConfig) -> bool:
    """Whether a teacher is one of audio; one of text reads hypotheses in the step."""
    return config.kind not in OF_TEXT


def to_mapping(config: TeacherConfig) -> dict[str, Any]:
    """A config in plain YAML types, for the record of an experiment."""
    return {**asdict(config), "layers": list(config.layers)}


def from_mapping(content: Mapping[str, Any]) -> TeacherConfig:
    """What ``to_mapping`` gave."""
    return TeacherConfig(**{**content, "layers": tuple(content["layers"])})
