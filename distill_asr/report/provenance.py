"""Where the figures come from: commands, seeds, versions, sizes, times, teachers."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distill_asr.decode.record import read_seconds
from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.io.yaml import load_yaml
from distill_asr.report.curves import Curves
from distill_asr.report.utterances import SetView
from distill_asr.scoring.decoded import DECODED
from distill_asr.targets.manifest import Manifest

_SHORT = 12  # characters of a fingerprint


@dataclass(frozen=True)
class _Training:
    """One experiment; None where its directory lacks the fact."""

    name: str
    finished: bool
    seed: int | None
    epochs: int
    seconds: float
    parameters: float | None
    megabytes: float | None
    torch: str | None
    command: str | None
    fingerprint: str | None
    blocks: list[str]


@dataclass(frozen=True)
class _Decoding:
    """One decoding; ``rtf``: seconds of computing a second of audio, None where not recorded."""

    name: str
    test_set: str
    method: str
    seconds: float | None
    rtf: float | None


@dataclass(frozen=True)
class _Teacher:
    """Targets that a training read."""

    name: str
    data: str
    model: str
    weights: str
    layers: str
    codec: str


def training(one: Experiment, curves: Curves) -> _Training:
    """The facts of an experiment's directory about its training.

    Parameters
    ----------
    one : the experiment.
    curves : read from its log.
    """
    config = _record(one).get("config", {})
    done = _json(one.done)
    blocks = config.get("distill") if isinstance(config.get("distill"), dict) else {}
    return _Training(
        name=one.directory.resolve().name,
        finished=one.done.is_file(),
        seed=config.get("seed"),
        epochs=max(curves.seconds, default=0),
        seconds=sum(curves.seconds.values()),
        parameters=curves.parameters,
        megabytes=one.model.stat().st_size / 1e6 if one.model.is_file() else None,
        torch=curves.torch,
        command=curves.command,
        fingerprint=(done.get("fingerprint") or "")[:_SHORT] or None,
        blocks=[f"{name}: {_words(block)}" for name, block in (blocks or {}).items()],
    )


def decodings(one: Experiment, sets: Sequence[SetView]) -> Iterator[_Decoding]:
    """How the sets of the page were decoded."""
    for test_set in sets:
        record = _json(one.decoded(test_set.name) / DECODED)
        if record:
            audio = sum(filter(None, test_set.seconds))
            seconds = read_seconds(one).get(test_set.name)
            method = f"{record.get('method')}, beam {record.get('beam_size')}"
            if record.get("method") == "greedy":
                method = "greedy"
            rtf = seconds / audio if seconds is not None and audio else None
            yield _Decoding(one.directory.resolve().name, test_set.name, method, seconds, rtf)


def teachers(experiments: Sequence[Experiment], folder: Path) -> list[_Teacher]:
    """Every set of targets that the trainings read and that is still there.

    Parameters
    ----------
    experiments : of the page.
    folder : what the paths in the records are relative to, if not to the present one.
    """
    found: dict[tuple[str, str], _Teacher] = {}
    for one in experiments:
        record = _record(one)
        blocks = (record.get("config") or {}).get("distill")
        for block in blocks.values() if isinstance(blocks, dict) else ():
            for data in record.get("train", []) if isinstance(block, dict) else ():
                name = str(block.get("teacher"))
                if (name, data) not in found and (made := _teacher(name, data, folder)):
                    found[name, data] = made
    return list(found.values())


def _teacher(name: str, data: str, folder: Path) -> _Teacher | None:
    for root in (Path(), folder):
        try:
            manifest = Manifest.load(root / data / "targets" / name)
        except UserError:
            continue  # the training had them; a file removed since is not a mistake here
        layers = ", ".join(map(str, manifest.layers))
        codec = str(manifest.codec.get("name"))
        return _Teacher(name, data, manifest.model, manifest.weights_sha256[:_SHORT], layers, codec)
    return None


def _record(one: Experiment) -> Mapping[str, Any]:
    return load_yaml(one.record) if one.record.is_file() else {}


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _words(block: object) -> str:
    if not isinstance(block, dict):
        return str(block)
    return ", ".join(f"{key} {value}" for key, value in block.items())
