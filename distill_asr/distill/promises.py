"""What a matcher, a loss or a head declares and gives, held against its contract.

A user's own class is checked by the same few rules as a built-in one, so that a mistake in it has
a name before PyTorch's broadcasting hides it.

Legend: D student width, E teacher width, N pairs.
"""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from distill_asr.distill.contracts import CODES, CONTRACTS, READABLE, Loss, Matcher
from distill_asr.distill.states import Pairs, States
from distill_asr.errors import UserError

CALLS: dict[str, tuple[str, ...]] = {
    "loss": ("student", "teacher"),
    "match": ("student", "teacher", "context"),
    "head": ("states",),
}
INDICES = ("utterance", "tokens", "alternatives")


class NotAsked(list[Any]):
    """Stands in a ``Context`` for texts or tokens that the matcher did not ask for."""

    def _refuse(self, *_: object) -> None:
        raise ValueError(
            "Context.texts and Context.tokens are for matchers that declare `reads_text = True`"
        )

    __iter__ = __len__ = __getitem__ = __contains__ = _refuse  # type: ignore[assignment]


def declaration_problems(kind: str, part: nn.Module) -> list[str]:
    """What is wrong with a class before it has seen a batch.

    Parameters
    ----------
    kind : ``loss`` or ``match``.
    part : an instance.
    """
    if not hasattr(part, "_modules"):  # what PyTorch's constructor makes
        return ["__init__ has to call super().__init__() first"]
    problems = forward_problems(kind, type(part), needs_tokens(part))
    if isinstance(part, Loss) and part.reads not in READABLE:
        problems.append(f"reads is {part.reads!r}; expected one of {', '.join(READABLE)}")
    if isinstance(part, Matcher):
        takes = part.takes
        if not isinstance(takes, tuple) or not takes or not set(takes) <= set(READABLE):
            problems.append(f"takes is {takes!r}; expected a tuple of {', '.join(READABLE)}")
    return problems


def needs_tokens(part: nn.Module) -> bool:
    """Whether ``forward`` is given ``tokens=`` too."""
    return isinstance(part, Loss) and part.needs_tokens


def forward_problems(kind: str, part: type[nn.Module], tokens: bool = False) -> list[str]:
    """Why the machinery cannot call ``forward``; empty where it can.

    Parameters
    ----------
    kind : ``loss``, ``match`` or ``head``.
    part : the class.
    tokens : it is given ``tokens=`` too.
    """
    named = {"tokens": None} if tokens else {}
    call = f"forward({', '.join([*CALLS[kind], *(f'{name}=' for name in named)])})"
    if part.forward in (CONTRACTS[kind].forward, nn.Module.forward):
        return [f"has no forward; it is called as {call}"]
    try:
        inspect.signature(part.forward).bind(part, *CALLS[kind], **named)
    except TypeError as error:
        return [f"forward is called as {call}: {error}"]
    return []


def failure(part: type, error: Exception) -> str:
    """An exception in a class of the user's own, with the line of its file.

    Parameters
    ----------
    part : the class.
    error : with its traceback, of which the last line in the class's file counts.
    """
    file = inspect.getsourcefile(part)
    lines = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == file]
    where = f"{file}:{lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {error}"


@contextmanager
def blamed(where: str, mistakes: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Let an exception of a matcher, a head or a loss name the block.

    Parameters
    ----------
    where : begins each message.
    mistakes : exceptions that explain to a user what is wrong; they need no traceback.

    Raises
    ------
    UserError : for one of ``mistakes``.
    RuntimeError : for any other, which stays its cause and keeps its traceback.
    """
    try:
        yield
    except (UserError, torch.OutOfMemoryError):
        raise
    except mistakes as error:
        raise UserError(f"{where}: {error}") from error
    except Exception as error:
        raise RuntimeError(f"{where} failed: {type(error).__name__}: {error}") from error


def check_pairs(
    where: str, pairs: object, student: States, matcher: Matcher, loss: Loss, width: int | None
) -> Pairs:
    """The output of a matcher, checked: pairs of one length and of the promised widths.

    Looks at shapes and types alone, which costs a device nothing.

    Parameters
    ----------
    where : begins each message.
    pairs : what its ``forward`` gave.
    student : the tap that it was given, values [B, T, D].
    matcher : its class attributes say what to expect.
    loss : the block's; one that needs tokens wants them in the pairs.
    width : the result of ``paired_width``; None if unknown.

    Raises
    ------
    UserError : everything that is wrong.
    """
    if not isinstance(pairs, Pairs):
        raise UserError(f"{where}: forward gave {type(pairs).__name__}; expected Pairs")
    held = {name: value for name, value in vars(pairs).items() if isinstance(value, Tensor)}
    count = pairs.student.size(0) if pairs.student.dim() else -1
    ranks = {name: 2 if name in ("student", "teacher") else 1 for name in held}
    if any(one.dim() != ranks[name] or one.size(0) != count for name, one in held.items()):
        shapes = ", ".join(f"{name} {list(one.shape)}" for name, one in held.items())
        raise UserError(
            f"{where}: pairs do not agree: {shapes}; expected student [N, D], teacher [N, E] and "
            "[N] of all else, with one N"
        )
    problems = [
        f"{name} is of type {_type(held[name])}; expected whole numbers (int64)"
        for name in INDICES
        if name in held and (held[name].is_floating_point() or held[name].dtype == torch.bool)
    ]
    wide = pairs.student.size(1)
    own = matcher.reads_lattice or matcher.reads_hypotheses
    if not own and wide != student.values.size(2):
        problems.append(
            f"student states are {wide} wide; those of the tap {student.values.size(2)}"
        )
    if width is not None and pairs.teacher.size(1) != width:
        problems.append(
            f"the teacher's side is {pairs.teacher.size(1)} wide, and paired_width gives {width}; "
            "override paired_width"
        )
    if loss.needs_tokens and pairs.tokens is None:
        problems.append("pairs have no tokens, which the loss compares; give Pairs its tokens")
    if loss.reads == CODES and pairs.teacher.is_floating_point():
        problems.append(
            f"the teacher's side is of type {_type(pairs.teacher)}, and the loss reads codes; "
            "codes cannot be averaged; pair them one by one"
        )
    if problems:
        raise UserError([f"{where}: {problem}" for problem in problems])
    return pairs


def check_values(where: str, pairs: Pairs, batch: int) -> None:
    """Look at the numbers in pairs, which a device has to be waited for: once is enough.

    Parameters
    ----------
    where : begins each message.
    pairs : at least one.
    batch : utterances in it.

    Raises
    ------
    UserError : an utterance that the batch does not have, or a weight below 0 or infinite.
    """
    problems = []
    low, high = (int(end) for end in pairs.utterance.aminmax())
    if low < 0 or high >= batch:
        problems.append(f"utterance goes from {low} to {high}; the batch has 0 to {batch - 1}")
    weight = pairs.weight
    if weight is not None and not bool(((weight >= 0) & weight.isfinite()).all()):
        problems.append("weight has numbers below 0, or infinite; expected 0 or more")
    if problems:
        raise UserError([f"{where}: {problem}" for problem in problems])


def check_losses(where: str, losses: object, count: int) -> Tensor:
    """The output of a loss, checked: one number for each pair.

    Parameters
    ----------
    where : begins the message.
    losses : what its ``forward`` gave.
    count : N.

    Raises
    ------
    UserError : it is not.
    """
    if not isinstance(losses, Tensor):
        raise UserError(f"{where}: forward gave {type(losses).__name__}; expected a tensor [N]")
    if losses.shape != (count,) or not losses.is_floating_point():
        raise UserError(
            f"{where}: forward gave {list(losses.shape)} of type {_type(losses)}; expected one "
            f"number a pair, [{count}] of float32, without a mean over pairs"
        )
    return losses


def _type(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")
