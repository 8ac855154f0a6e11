"""The complete interface of a matcher, a loss and a head, with defaults.

Built-in classes and a user's own, named by a dotted path, derive from these and are treated alike:
what a class declares here is all that the config check and the training look at.

Legend: B batch, T student frames, S teacher positions, D student width, E teacher width, N pairs,
V vocabulary, C codebooks.
"""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn

from distill_asr.distill.states import Context, Pairs, States, TapShape

# what a loss reads of the targets; posteriors are over the student's own tokens
VECTORS, CODES, POSTERIORS = "vectors", "codes", "posteriors"
READABLE = (VECTORS, CODES, POSTERIORS)


class Matcher(nn.Module):
    """Pairs student states with teacher positions; it is independent of the loss.

    ``forward(student, teacher, context) -> Pairs`` is all that a subclass must write. Its
    constructor takes ``match_conf`` and raises ValueError for what it does not like; it is called
    by the config check too, so it loads nothing. What may depend on arguments is set on the
    instance in the constructor, after ``super().__init__()``.

    Attributes
    ----------
    takes : kinds of targets that it can pair: ``vectors``, ``codes`` (int64, which cannot be
        averaged), ``posteriors`` (log-probabilities over the student's tokens).
    only_tap : the one tap that it works on; None for any.
    reads_lattice : it asks ``Context.lattice`` for logits, which the tap ``logits`` needs.
    reads_text : it asks for ``Context.texts``, what a text teacher read, and ``Context.tokens``;
        without it both raise ValueError when read.
    reads_hypotheses : it asks ``Context.read`` for a text teacher's states of other sentences, and
        pairs them with those of the transcript: both sides are as wide as the teacher, without a
        head. The teacher has to run in the training step.
    has_tokens : its pairs carry ``Pairs.tokens``, for losses that compare them.
    columns : numbers in front of the posteriors of a target; 3 of a lattice path.
    default_head : name of the head for blocks that do not name one.

    A matcher with parameters of its own makes them in ``fit``; they are trained, saved with the
    checkpoint and dropped at export like those of heads and losses.
    """

    takes: tuple[str, ...] = (VECTORS, CODES)
    only_tap: str | None = None
    reads_lattice: bool = False
    reads_text: bool = False
    reads_hypotheses: bool = False
    has_tokens: bool = False
    columns: int = 0
    default_head: str = "linear"

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair student states with teacher positions.

        Parameters
        ----------
        student : the tap, values [B, T, D].
        teacher : values [B, S, E], or codes int64 [B, S, C]; utterances of length 0 give no pairs.
        context : what else the batch offers; what the class does not ask for may not be read.

        Returns
        -------
        Pairs of the whole batch, student [N, D] and teacher [N, ``paired_width``].

        Raises
        ------
        ValueError : they do not fit together; names the utterances.
        """
        raise NotImplementedError

    def paired_width(
        self, teacher_width: int, student_step_ms: float | None, teacher_step_ms: float | None
    ) -> int:
        """Width of ``Pairs.teacher``: vectors' dimensions, or codes a pair; the teacher's own.

        Parameters
        ----------
        teacher_width : E, or C where the loss reads codes.
        student_step_ms, teacher_step_ms : duration of a step; None on token level.

        Raises
        ------
        ValueError : this matcher cannot pair these rates.
        """
        return teacher_width

    def fit(self, student: TapShape, teacher: TapShape) -> None:
        """Learn the shapes that will come, before the optimizer is made; nothing by default.

        Parameters
        ----------
        student : width D and step of the tap, ms.
        teacher : width E of a state and the teacher's step, ms; None on token level.
        """

    def check(self) -> None:
        """Look for the files that it will need; nothing by default.

        Raises
        ------
        UserError : what is missing, and the way out.
        """

    def survey(self, texts: Mapping[str, str]) -> str | None:
        """Describe, once for the log, how it splits what the teacher read; nothing by default.

        Parameters
        ----------
        texts : by utterance; only for matchers with ``reads_text``.
        """
        return None


class Loss(nn.Module):
    """Compares matched pairs; it is independent of padding, lengths and batches.

    ``forward(student, teacher) -> [N]`` is all that a subclass must write, in float32. The
    constructor takes ``loss_conf`` and raises ValueError for what it does not like; its
    parameters, if it has any, are trained with the student.

    Attributes
    ----------
    reads : what it reads of the targets: ``vectors``, ``codes`` or ``posteriors``.
    needs_tokens : it is also given ``tokens=``, int64 [N], the student's token of each pair.
    """

    reads: str = VECTORS
    needs_tokens: bool = False

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Compare the two sides of each pair.

        Parameters
        ----------
        student : what the head gave, float32 [N, ``input_width``].
        teacher : the other side: vectors [N, E], codes int64 [N, C], log-posteriors [N, V].

        Returns
        -------
        A loss for each pair, float32 [N].
        """
        raise NotImplementedError

    def input_width(self, paired_width: int, classes: int) -> int:
        """Width that the head has to give: that of the paired targets by default.

        Parameters
        ----------
        paired_width : dimensions of a paired vector, or its number of codes.
        classes : values that a code can take; 0 where the targets are not codes.
        """
        return paired_width


class Head(nn.Module):
    """Brings a tap's width to what the loss wants; dropped at export.

    ``forward(states [N, input_size]) -> [N, output_size]``. The constructor gets both widths first
    and then ``head_conf``; it raises ValueError where it cannot serve them.

    Attributes
    ----------
    changes : whether it changes what it gets. Posteriors take only a head that does not.
    """

    changes: bool = True


CONTRACTS: dict[str, type[nn.Module]] = {"loss": Loss, "match": Matcher, "head": Head}
