"""The quantizer of codec ``mvq``, which turns states into codes; `dump.codebooks` trains it.

It lies once for all data dirs of a teacher, at ``dump/codebooks/<name>.safetensors`` beside
``dump/<set>``, so that the codes of every set mean the same. What decodes them is also copied
beside the targets, which therefore can be moved and read without it.

Legend: S positions, E width, N frames, C codebooks, K entries of a codebook.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_asr.errors import UserError
from distill_asr.targets.codebooks import (
    ENTRIES,
    Codebooks,
    pack,
    unpack,
    write_bytes,
)

if TYPE_CHECKING:
    from distill_asr.targets.codebook_search import SweepQuantizer

TOGETHER = 256  # frames
SWEEPS = 6  # of the search; further ones change almost nothing
LOGITS = ("to_logits.weight", "to_logits.bias", "logits_scale")


class Quantizer:
    """Turns states into codes.

    Parameters
    ----------
    codebooks : what turns the codes back.
    logits : the first guess at the codes, by the names of the library's parameters.
    """

    def __init__(self, codebooks: Codebooks, logits: dict[str, np.ndarray]) -> None:
        self.codebooks = codebooks
        self.logits = logits
        self._device = "cpu"
        self._model: SweepQuantizer | None = None

    def to(self, device: str) -> Quantizer:
        """Search on this device from now on."""
        self._model, self._device = None, device
        return self

    def encode(self, states: np.ndarray) -> np.ndarray:
        """Give codes uint8 [S, C] of states float32 [S, E]."""
        import torch

        if self._model is None:
            self._model = self._built()
        frames = torch.from_numpy((states - self.codebooks.mean) / self.codebooks.std)
        with torch.inference_mode():
            parts = [
                self._model.encode(part.to(self._device), SWEEPS) for part in frames.split(TOGETHER)
            ]
        return torch.cat(parts).cpu().numpy()

    def save(self, path: Path) -> None:
        """Write the quantizer, atomically."""
        write_bytes(path, pack({**self.codebooks.arrays(), **self.logits}, self.codebooks.facts))

    @classmethod
    def load(cls, path: Path) -> Quantizer:
        """Read a quantizer; UserError where it is missing or damaged."""
        arrays, _ = unpack(path)
        return cls(Codebooks.load(path), {name: arrays[name] for name in LOGITS})

    def _built(self) -> SweepQuantizer:
        import torch

        search = search_library()
        centers = self.codebooks.centers()
        with torch.random.fork_rng([]):  # born random, and overwritten
            model = search.SweepQuantizer(self.codebooks.width, ENTRIES, len(centers))
        parameters = {"centers": centers, "centers_scale": np.zeros((), np.float32), **self.logits}
        state = {name: torch.from_numpy(value) for name, value in parameters.items()}
        model.load_state_dict({**model.state_dict(), **state})
        return model.to(self._device).requires_grad_(False)


def quantizer_path(targets: str | Path) -> Path:
    """dump/<set>/targets/<name> -> dump/codebooks/<name>.safetensors."""
    absolute = Path(os.path.abspath(targets))  # the data dir may be given as `.`
    return absolute.parents[2] / "codebooks" / f"{absolute.name}.safetensors"


def describe_codebooks(codebooks: Codebooks) -> str:
    """One line about codebooks."""
    facts, count = codebooks.facts, len(codebooks.entries)
    return (
        f"{count} codebooks of {ENTRIES} entries for width {codebooks.width}, trained on "
        f"{facts['frames']} frames of {facts['utterances']} utterances; codes lose "
        f"{100 * facts['variance_lost']:.1f} % of the variance"
    )


def search_library() -> Any:
    """The search of codes on top of the multi_quantization package, which only dumping needs.

    Raises
    ------
    UserError : the package is not installed.
    """
    try:
        from distill_asr.targets import codebook_search
    except ImportError as error:
        raise UserError(
            f"codec mvq: needs the multi_quantization package ({error}); install it with "
            '`pip install "distill_asr[mvq]"`'
        ) from error
    return codebook_search
