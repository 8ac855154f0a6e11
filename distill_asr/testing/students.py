"""Tiny students and batches for them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from distill_asr.models.students.base import TARGET_PREFIX, Student
from distill_asr.testing.fixtures import TOKENS, tiny_config

SAMPLES_A_MS = 16


def tiny_student(
    model: str = "ctc",
    distill: dict[str, Any] | None = None,
    teachers: dict[str, dict[str, Any]] | None = None,
    seed: int = 0,
    **changes: Any,
) -> Student:
    """Build the student of ``tiny_config`` with its distillers, random but reproducible.

    Parameters
    ----------
    model : as of ``tiny_config``.
    distill : the ``distill`` block.
    teachers : ``distill_teachers``, facts by name; width 4 at 20 ms for those not given.
    seed : same seed, same weights.
    changes : top-level keys of the config to set.
    """
    from distill_asr.espnet.task import build_untrained

    config = tiny_config(model, distill=distill, **changes)
    blocks = [b for k, b in config.get("distill", {}).items() if k != "pick"]
    facts = {block["teacher"]: {"width": 4, "step_ms": 20.0} for block in blocks}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return build_untrained({**config, "distill_teachers": facts | (teachers or {})})


def tiny_batch(
    samples: Sequence[int] = (16000, 12000),
    teachers: Mapping[str, int] | None = None,
    step_ms: float = 20.0,
    seed: int = 0,
) -> dict[str, Any]:
    """What a student's ``forward`` takes: noise, random text and random targets.

    Parameters
    ----------
    samples : of each utterance at 16 kHz; any order.
    teachers : widths by name; ``{"teacher": 4}`` where not given.
    step_ms : from one position of the targets to the next, ms.
    seed : same seed, same batch.
    """
    generator = torch.Generator().manual_seed(seed)
    lengths, size = torch.tensor(samples), len(samples)
    text_lengths = 3 + torch.arange(size) % 3
    text = torch.randint(3, len(TOKENS) - 1, (size, int(text_lengths.max())), generator=generator)
    speech = 0.1 * torch.randn(size, max(samples), generator=generator)
    batch: dict[str, Any] = {
        "utt_id": [f"utt{i}" for i in range(size)],
        "speech": _padded(speech, lengths, 0.0),
        "speech_lengths": lengths,
        "text": _padded(text, text_lengths, -1),
        "text_lengths": text_lengths,
    }
    frames = (lengths / (SAMPLES_A_MS * step_ms)).to(torch.int64)
    for name, width in (teachers or {"teacher": 4}).items():
        targets = torch.randn(size, int(frames.max()), width, generator=generator)
        batch[TARGET_PREFIX + name] = _padded(targets, frames, 0.0)
        batch[f"{TARGET_PREFIX}{name}_lengths"] = frames
    return batch


def _padded(values: Tensor, lengths: Tensor, fill: float) -> Tensor:
    padding = torch.arange(values.size(1)) >= lengths.unsqueeze(1)
    return values.masked_fill(padding.reshape(padding.shape + (1,) * (values.dim() - 2)), fill)
