"""A text teacher in the training step, for sentences that are known only then.

Hypotheses change with the student, so that their states cannot be dumped. A teacher of
``combine: mean_of_piece`` or ``kind: random`` is a table by piece, and costs next to nothing; a
language model's states of a hypothesis depend on all of its words, and cost a call of the model.

Legend: M sentences, S teacher positions, E teacher width.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch

from distill_asr.distill.states import States
from distill_asr.errors import UserError, named
from distill_asr.io.progress import Bar
from distill_asr.targets.statistics import Statistics
from distill_asr.teachers.batching import grouped
from distill_asr.teachers.config import TeacherConfig
from distill_asr.teachers.load import load_teacher

if TYPE_CHECKING:
    from distill_asr.teachers.contract import Teacher

_KEPT = 2000  # sentences whose states are kept; most hypotheses come again


class OnlineReader:
    """A frozen text teacher's states of sentences in the student's tokens.

    Not a module, as ``OnlineTeacher``; it is loaded at the first batch and stays behind in copies.

    Parameters
    ----------
    config : of a teacher that reads text.
    words : token ids -> the sentence that the teacher reads.
    """

    def __init__(self, config: TeacherConfig, words: Callable[[list[int]], str]) -> None:
        self.config = config
        self.words = words
        self._loaded: dict[torch.device, _Loaded] = {}

    def __call__(self, sentences: Sequence[list[int]], device: torch.device) -> States:
        """States float32 [M, S, E], without a gradient.

        The length is 0 where the teacher cannot read a sentence: it has no words, too many pieces,
        or pieces without a mean.
        """
        with torch.random.fork_rng([]), torch.autocast(device.type, enabled=False):
            loaded = self._on(device)
            rows = loaded.states([self.words(one) for one in sentences])
        lengths = torch.tensor([len(row) for row in rows], dtype=torch.int64)
        if not rows:
            rows = [torch.zeros(0, loaded.teacher.width)]
        values = torch.nn.utils.rnn.pad_sequence(rows, True)[: len(sentences)]
        return States(values.to(device), lengths.to(device), None)

    def _on(self, device: torch.device) -> _Loaded:
        if device not in self._loaded:
            self._loaded[device] = _Loaded(load_reader(self.config, device), self.config)
        return self._loaded[device]

    def __getstate__(self) -> dict[str, Any]:
        return {"config": self.config, "words": self.words, "_loaded": {}}


class _Loaded:
    """A teacher on a device, and its last sentences."""

    def __init__(self, teacher: Teacher, config: TeacherConfig) -> None:
        self.teacher = teacher
        self._tokens = config.batch_tokens
        self._kept: OrderedDict[str, torch.Tensor] = OrderedDict()

    def states(self, sentences: list[str]) -> list[torch.Tensor]:
        """[S_i, E] each, on the CPU."""
        new = [one for one in dict.fromkeys(sentences) if one not in self._kept]
        nothing = torch.zeros(0, self.teacher.width)
        sizes = {one: self.teacher.size(one) for one in new if one and readable(self.teacher, one)}
        self._kept.update(dict.fromkeys(new, nothing))
        for group in grouped(sizes, self._tokens):
            for one, row in zip(group, self.teacher.states(group), strict=True):
                self._kept[one] = torch.from_numpy(row)
        given = [self._kept[one] for one in sentences]
        for one in sentences:
            self._kept.move_to_end(one)
        while len(self._kept) > _KEPT:
            self._kept.popitem(last=False)
        return given


def load_reader(config: TeacherConfig, device: torch.device) -> Teacher:
    """The teacher of a file, on a device.

    Parameters
    ----------
    config : of a teacher that reads text.
    device : it computes there.

    Raises
    ------
    UserError : it cannot be loaded, or reads something else than text.
    """
    teacher = load_teacher(config, str(device))
    if teacher.reads != "text":
        raise UserError(
            f"{config.path}: reads {teacher.reads}; hypotheses need a teacher that reads text"
        )
    return teacher


def readable(teacher: Teacher, sentence: str) -> bool:
    """Whether a teacher has states of a sentence."""
    size = teacher.size(sentence)
    return 0 < size <= (teacher.max_size or size) and teacher.objection(sentence) is None


def transcript_problems(teacher: Teacher, transcripts: dict[str, str], where: str) -> list[str]:
    """Transcripts that a teacher cannot read, in one message.

    Parameters
    ----------
    teacher : reads text.
    transcripts : by utterance.
    where : begins the message.
    """
    bad = [utt for utt, text in transcripts.items() if not readable(teacher, text)]
    if not bad:
        return []
    reason = teacher.objection(transcripts[bad[0]])
    limit = f"it reads 1 to {teacher.max_size} pieces" if teacher.max_size else "it needs a piece"
    return [
        f"{where}: the teacher cannot read {named(bad)}: {reason or limit}; drop them with "
        "`distill-asr prepare`, or take another teacher or corpus"
    ]


def text_statistics(teacher: Teacher, sentences: Sequence[str], batch_tokens: int) -> Statistics:
    """Mean and deviation of a teacher's states of sentences.

    Parameters
    ----------
    teacher : reads text.
    sentences : one that occurs several times counts once.
    batch_tokens : most pieces that go through at a time, padding included.
    """
    sizes = {one: teacher.size(one) for one in sorted(set(sentences))}
    parts = {}
    with Bar(desc="statistics of the online teacher", total=len(sizes), unit="sentence") as bar:
        for group in grouped(sizes, batch_tokens):
            states = teacher.states(group)
            parts.update({s: Statistics.of(row) for s, row in zip(group, states, strict=True)})
            bar.update(len(group))
    return Statistics.pool(parts[one] for one in sorted(parts))
