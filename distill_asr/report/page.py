"""Everything together: one HTML file that needs no network and no server."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from distill_asr import __version__
from distill_asr.errors import UserError
from distill_asr.experiments.layout import Experiment
from distill_asr.report import changes, provenance
from distill_asr.report.audio import Sound, audio_files, sounds
from distill_asr.report.costs import stage_costs
from distill_asr.report.curves import Curves, read_curves
from distill_asr.report.experiments import Study
from distill_asr.report.utterances import SetView, most_changed, read_sets
from distill_asr.scoring.bootstrap import Reduction
from distill_asr.scoring.systems import (
    Comparison,
    SystemRun,
    compare_systems,
    count_all,
    missing_lines,
    noise_floors,
)
from distill_asr.scoring.table import SystemResult, percent, table_notes
from distill_asr.train.progress import duration

Paint = Callable[[Path, Sequence[tuple[str, str]]], Mapping[str, Any]]
NEEDS = "the page needs Jinja2 and Plotly: pip install distill_asr[report]"


@dataclass(frozen=True)
class Options:
    """How the page is made; see ``audio.sounds``.

    Parameters
    ----------
    pictures : utterances of each set whose CTC and CIF are shown.
    paint : ``pictures.paint``, which needs ESPnet; None leaves pictures out.
    """

    title: str
    audio: str | None = None
    audio_mb: float = 50.0
    pictures: int = 0
    paint: Paint | None = None


def write_page(study: Study, options: Options, out: Path) -> str:
    """The page's HTML; nothing is written yet.

    Parameters
    ----------
    study : experiments, and what to compare of them if their words are there.
    options : of the page.
    out : where it will lie; linked audio is relative to its folder.

    Raises
    ------
    UserError : Jinja2 or Plotly is not installed; texts or audio are missing or unfit.
    """
    plotly = _plotly()
    notes = [*study.notes]
    curves = {one.directory.resolve().name: read_curves(one.log) for one in study.experiments}
    context: dict[str, Any] = {"results": [], "sets": [], "references": []}
    data: dict[str, Any] = {
        "curves": {name: one.terms for name, one in curves.items()}, "sets": []
    }  # fmt: skip
    sets: list[SetView] = []
    folder = study.experiments[0].directory.resolve().parent.parent
    if study.comparison is not None:
        wanted = study.comparison
        counted = count_all(wanted)
        results, floors = compare_systems(wanted, counted), noise_floors(wanted, counted)
        sets = read_sets(wanted, counted, notes)
        players = sounds(wanted.dump, sets, out, options.audio, options.audio_mb, notes)
        context |= _table(wanted, results, floors)
        notes += [*table_notes(results, floors), *missing_lines(wanted, counted)]
        data |= {"baseline": wanted.baseline, "systems": wanted.systems, "seeds": wanted.seeds}
        painted = _pictures(wanted, sets, options)
        data["sets"] = [
            _set_data(one, wanted, players[one.name]) | {"pictures": painted[one.name]}
            for one in sets
        ]
        folder = wanted.dump.resolve().parent
    context |= _provenance(study.experiments, curves, sets, folder)
    context["costs"] = stage_costs(study.experiments[0].directory.resolve().parent)
    return _rendered({**context, "title": options.title, "notes": notes, "data": data}, plotly)


def _plotly() -> str:
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise UserError(NEEDS) from error
    return get_plotlyjs()


def _rendered(context: Mapping[str, Any], plotly: str) -> str:
    try:
        from jinja2 import Environment, PackageLoader, StrictUndefined
    except ImportError as error:
        raise UserError(NEEDS) from error
    environment = Environment(
        loader=PackageLoader("distill_asr.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.policies["json.dumps_kwargs"] = {"ensure_ascii": False, "separators": (",", ":")}
    environment.filters |= {"percent": percent, "duration": duration, "seconds": _seconds}
    made = {
        "version": __version__,
        "command": shlex.join(["distill-asr", *sys.argv[1:]]),
        "python": sys.version.split()[0],
        "time": time.strftime("%Y-%m-%d %H:%M"),
    }
    return environment.get_template("page.html").render(**context, made=made, plotly=plotly)


def _seconds(value: float | None) -> str:
    return "–" if value is None else duration(value)


def _table(
    wanted: Comparison, results: Sequence[SystemResult], floors: Mapping[str, float]
) -> dict[str, Any]:
    cells = {(one.system, one.test_set): one for one in results}

    def gain(one: Reduction | None, floor: float) -> dict[str, Any] | None:
        return None if one is None else {**asdict(one), "claim": one.claims(floor)}

    rows = []
    for system in wanted.systems:
        groups = []
        for name in wanted.sets:
            result = cells[system, name]
            gains = [
                gain(result.reductions.get(other), floors.get(name, 0.0))
                for other in wanted.references()
            ]
            groups.append({"result": result, "gains": gains})
        rows.append({"system": system, "groups": groups})
    return {"results": rows, "sets": wanted.sets, "references": wanted.references()}


def _set_data(one: SetView, wanted: Comparison, players: Sequence[Sound | None]) -> dict[str, Any]:
    """Data of a test set for the page's script; columns, as rows would repeat every name."""
    levels = one.snr
    measured = "signal-to-noise ratio (utt2snr)"
    if not any(level is not None for level in levels):
        levels = [None if player is None else player.contrast for player in players]
        measured = "loud over quiet frames (low: noisy)"
    noise = changes.by_noise(one, levels)
    confused = {
        system: [[asdict(pair) for pair in kind]
                 for kind in changes.confusions(one, wanted.baseline, system)]
        for system in wanted.systems if system != wanted.baseline
    }  # fmt: skip
    speakers = changes.by_speaker(one)
    groups = {"length": asdict(changes.by_length(one)) | {"axis": f"{one.unit} of the reference"}}
    if speakers:
        groups["speaker"] = asdict(speakers) | {"axis": "speaker"}
    if noise:
        groups["noise"] = asdict(noise) | {"axis": measured}
    return {
        "name": one.name,
        "unit": one.unit,
        "ids": one.utterances,
        "references": one.references,
        "speakers": one.speakers,
        "seconds": one.seconds,
        "audio": [None if player is None else player.source for player in players],
        "runs": {_key(run): found for run, found in one.runs.items()},
        "timing": {_key(run): found for run, found in one.timing.items()},
        "confusions": confused,
        "groups": groups,
    }


def _pictures(
    wanted: Comparison, sets: Sequence[SetView], options: Options
) -> dict[str, dict[int, dict[str, Any]]]:
    """By set, place of the utterance in it, and system; of the first seed."""
    painted: dict[str, dict[int, dict[str, Any]]] = {one.name: {} for one in sets}
    if options.paint is None:
        return painted
    audio: dict[str, list[tuple[str, str]]] = {}
    for one in sets:
        chosen = most_changed(one, wanted.baseline, wanted.systems[-1], options.pictures)
        audio[one.name] = audio_files(wanted.dump, one, chosen)
    every = [pair for pairs in audio.values() for pair in pairs]
    for system in wanted.systems:
        found = options.paint(wanted.exp / f"{system}_seed{wanted.seeds[0]}", every)
        for one in sets:
            for utterance, _ in audio[one.name] if found else ():
                of_utterance = painted[one.name].setdefault(one.utterances.index(utterance), {})
                of_utterance[system] = asdict(found[utterance])
    return painted


def _key(run: SystemRun) -> str:
    return f"{run.system} {run.seed}"


def _provenance(
    experiments: Sequence[Experiment],
    curves: Mapping[str, Curves],
    sets: Sequence[SetView],
    folder: Path,
) -> dict[str, Any]:
    return {
        "trainings": [
            provenance.training(one, curves[one.directory.resolve().name]) for one in experiments
        ],
        "decodings": [made for one in experiments for made in provenance.decodings(one, sets)],
        "teachers": provenance.teachers(experiments, folder),
    }
