"""Shrink matching: student frames between CTC blanks become units, the text is stretched to them.

Legend: B batch, T student frames, D student width, U student units, S teacher positions,
E teacher width, V vocabulary, N pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor

from distill_asr.distill.contracts import VECTORS, Matcher
from distill_asr.distill.states import Context, Pairs, States

UNITS = ("runs", "frames", "all")
INTERPOLATE = ("nearest", "linear")
SPECIAL_TOKENS = ("keep", "drop")
MIN_UNITS = 2  # fewer than these, and the frames are taken as they are


class ShrinkMatcher(Matcher):
    """Pair units of speech with a text teacher's positions, in order (arXiv 2206.12638).

    The best CTC path over the tap's frames is cut into runs of equal tokens; runs of blank and of
    the unknown token are dropped, every other one becomes the mean of its frames. The teacher's
    positions are then resampled to the number of units. An utterance with fewer than two units,
    as all have early in training, keeps its frames. The path carries no gradient.

    Everything runs batched on the device. The number of pairs is the one thing that the host
    learns, once a batch.

    Parameters
    ----------
    units : ``runs``; ``frames`` drops blank and unknown frames but averages nothing (the
        published ``filter_out_pad``); ``all`` keeps every frame and needs no CTC.
    interpolate : ``nearest``, position ``floor(i * S / U)`` for unit i, or ``linear``, end points
        on end points.
    special_tokens : ``keep``, as published, or ``drop`` the teacher's first and last position,
        which are not words: ``<s>`` and ``</s>``, ``[CLS]`` and ``[SEP]``.
    blank, unk : ids of both tokens; ESPnet's token lists start with them.
    """

    takes = (VECTORS,)
    default_head = "projection"

    def __init__(
        self,
        units: str = "runs",
        interpolate: str = "nearest",
        special_tokens: str = "keep",
        blank: int = 0,
        unk: int = 1,
    ) -> None:
        super().__init__()
        given = {"units": units, "interpolate": interpolate, "special_tokens": special_tokens}
        allowed = (UNITS, INTERPOLATE, SPECIAL_TOKENS)
        for (name, value), known in zip(given.items(), allowed, strict=True):
            if value not in known:
                raise ValueError(f"{name} must be one of {known}, not {value!r}")
        self.units = units
        self.interpolate = interpolate
        self.special_tokens = special_tokens
        self.dropped = (blank, unk)

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair ``[B, T, D]`` with ``[B, S, E]``.

        Utterances without teacher positions or without frames give no pairs.

        Raises
        ------
        ValueError : the student has no CTC output, or one of another frame rate than the tap; or
            codes are to be interpolated linearly.
        """
        if self.interpolate == "linear" and not teacher.values.is_floating_point():
            raise ValueError("match: shrink, interpolate: linear cannot mix codes; use nearest")
        values, counts = student.values, student.lengths
        if self.units != "all":
            path = ctc_path(student, context, f"match: shrink with units: {self.units}")
            values, counts = shrink(
                values, counts, path, self.dropped, average=self.units == "runs"
            )
        first, positions = 0, teacher.lengths
        if self.special_tokens == "drop":
            first, positions = 1, (teacher.lengths - 2).clamp(min=0)
        counts = counts * (positions > 0)
        steps = torch.arange(values.size(1), device=values.device)
        batch, unit = torch.nonzero(steps < counts.unsqueeze(1), as_tuple=True)
        stretched = _resampled(
            teacher.values, batch, unit, counts[batch], positions[batch], first, self.interpolate
        )
        return Pairs(values[batch, unit], stretched, batch)


def ctc_path(student: States, context: Context, what: str) -> Tensor:
    """Best CTC token of each frame of a tap, [B, T], without a gradient.

    Parameters
    ----------
    student : the tap.
    context : holds the CTC output as the tap ``ctc``.
    what : needs it; begins the messages.

    Raises
    ------
    ValueError : the student has no CTC output, or one of another frame rate than the tap.
    """
    return ctc_logits(student, context, what).argmax(dim=-1)


def ctc_logits(student: States, context: Context, what: str) -> Tensor:
    """Logits of the CTC output, [B, T, V], without a gradient.

    Parameters
    ----------
    student, context, what : as of ``ctc_path``.

    Raises
    ------
    ValueError : as ``ctc_path``.
    """
    if "ctc" not in context.taps:
        raise ValueError(
            f"{what} needs the student's CTC output; use model: ctc or transducer with a "
            "ctc_weight above 0"
        )
    logits = context.taps["ctc"].values.detach()
    if logits.size(1) != student.values.size(1):
        raise ValueError(
            f"{what} needs a tap at the rate of the CTC output ({logits.size(1)} frames); this "
            f"one has {student.values.size(1)}"
        )
    return logits


def shrink(
    values: Tensor, lengths: Tensor, path: Tensor, dropped: tuple[int, ...], average: bool = True
) -> tuple[Tensor, Tensor]:
    """Units of a batch, in float32; frames where an utterance has fewer than two units.

    Parameters
    ----------
    values : [B, T, D].
    lengths : [B], valid frames.
    path : [B, T], a token a frame.
    dropped : ids of the tokens whose frames do not make units.
    average : one unit a run of equal tokens; False for one a frame.

    Returns
    -------
    Units [B, T, D], zero beyond each utterance's own, and how many are valid [B].
    """
    frames = values.size(1)
    steps = torch.arange(frames, device=values.device)
    valid = steps < lengths.unsqueeze(1)
    kept = valid.clone()
    for token in dropped:
        kept &= path != token
    starts = kept.clone()
    if average:
        starts[:, 1:] &= path[:, 1:] != path[:, :-1]
    counts = starts.sum(dim=1)
    enough = counts >= MIN_UNITS
    kept = torch.where(enough.unsqueeze(1), kept, valid)
    counts = torch.where(enough, counts, lengths)
    unit = torch.where(enough.unsqueeze(1), starts.cumsum(dim=1) - 1, steps)
    # one slot more, for what is dropped; it is cut off, so nothing of padding gets through
    return means(values, torch.where(kept, unit, frames)), counts


def means(values: Tensor, unit: Tensor) -> Tensor:
    """Mean of the frames of each unit, float32 [B, T, D]; zero where the unit is missing.

    Parameters
    ----------
    values : [B, T, D].
    unit : [B, T], number of the unit that a frame belongs to; T for a frame outside of all units.
    """
    batch, frames, width = values.shape
    sums = values.new_zeros((batch, frames + 1, width), dtype=torch.float32)
    sums.scatter_add_(1, unit.unsqueeze(-1).expand_as(values), values.float())
    sizes = unit.new_zeros((batch, frames + 1))
    sizes.scatter_add_(1, unit, torch.ones_like(unit))
    return sums[:, :frames] / sizes[:, :frames].clamp(min=1).unsqueeze(-1)


def _resampled(
    values: Tensor,
    batch: Tensor,
    unit: Tensor,
    units: Tensor,
    positions: Tensor,
    first: int,
    interpolate: str,
) -> Tensor:
    """Teacher vectors [N, E] for unit ``unit`` of ``units``, from values [B, S, E].

    Products are rounded in float32 as in ``torch.nn.functional.interpolate``, by which the
    published code resamples: 41 * (2 / 82) counts as just below 1.
    """
    last = positions - 1
    if interpolate == "nearest":
        place = unit.float() * (positions.float() / units.float())
        return values[batch, first + torch.minimum(place.long(), last)]
    place = unit.float() * (last.float() / (units - 1).clamp(min=1).float())
    left = torch.minimum(place.long(), last)
    right = torch.minimum(left + 1, last)
    share = (place - left.float()).clamp(0, 1).unsqueeze(-1)
    return (1 - share) * values[batch, first + left] + share * values[batch, first + right]
