"""Codebooks that nobody trained, for targets made without a teacher."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.targets.codebooks import CODEBOOKS, ENTRIES, Codebooks, write_bytes
from distill_asr.targets.codecs import SHA256, MVQCodec, complete_codec
from distill_asr.targets.quantizer import Quantizer, quantizer_path


def random_codebooks(width: int, count: int = 4, seed: int = 0) -> Codebooks:
    """Codebooks that share the dimensions out among them, so that the best codes are found.

    Parameters
    ----------
    width : dimensions of the states, E.
    count : codebooks.
    seed : same seed, same codebooks.
    """
    rng = np.random.default_rng(seed)
    theirs = np.arange(width) % count == np.arange(count)[:, None]
    centers = rng.normal(0, 1, (count, ENTRIES, width)) * theirs[:, None]
    facts = {"settings": {}, "frames": 0, "utterances": 0, "variance_lost": 0.5}
    mean, std = np.full(width, 5.0), np.full(width, 2.0)  # of the states of ``write_targets``
    return Codebooks.of(centers.astype(np.float32), mean, std, facts)


def write_codebooks(targets: Path, width: int, count: int = 4, seed: int = 0) -> dict[str, Any]:
    """Write random codebooks as a dump would have; give the codec for ``write_targets``.

    Parameters
    ----------
    targets : dump/<set>/targets/<name>, which may not exist yet.
    width : dimensions of the states, E.
    count : codebooks.
    seed : see ``random_codebooks``.
    """
    codebooks = random_codebooks(width, count, seed)
    centers = codebooks.centers().reshape(-1, width)
    logits = {
        "to_logits.weight": centers,
        "to_logits.bias": -np.square(centers).sum(1) / 2,  # the nearest entry
        "logits_scale": np.zeros((), np.float32),
    }
    Quantizer(codebooks, logits).save(quantizer_path(targets))
    write_bytes(targets / CODEBOOKS, codebooks.to_bytes())
    codec = complete_codec({"name": MVQCodec.name, "codebooks": count})
    return {**codec, SHA256: codebooks.sha256}
