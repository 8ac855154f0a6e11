"""The model card of an export: README.md, from the experiment's directory."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from torch import nn

from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.export.sherpa import wenet_chunks
from distill_asr.experiments.layout import Experiment
from distill_asr.scoring.bootstrap import LEVEL, RESAMPLES, SEED

_NAMES = {
    "cif_ar": "CIF recogniser of whole utterances, autoregressive",
    "cif_nar": "CIF recogniser of whole utterances",
    "ctc": "CTC recogniser of whole utterances",
    "transducer": "transducer of whole utterances",
    "streaming_ctc": "streaming CTC recogniser",
    "streaming_transducer": "streaming transducer",
}
_UNKNOWN = "not given"


@dataclass(frozen=True)
class Stage:
    """One of the trainings that made a student.

    Parameters
    ----------
    name : of its experiment.
    sets : names of its training sets; empty where its directory is not here.
    teachers : a line each.
    """

    name: str
    sets: list[str]
    teachers: list[str]


@dataclass(frozen=True)
class Card:
    """The content of the card.

    Parameters
    ----------
    stages : its training, then the one that it began from, and so on.
    scores : a row each: set, utterances, WER, its interval; in percent.
    differing : test recordings whose words differ, by smaller form.
    factors : real-time factor on the test recordings, by runtime and form.
    """

    name: str
    facts: Mapping[str, Any]
    encoder: str
    parameters: int
    tokens: int
    stages: list[Stage]
    scores: list[tuple[str, int, float, tuple[float, float]]]
    expected: Mapping[str, str]
    ran: list[str]
    differing: Mapping[str, int]
    factors: Mapping[str, float]
    licences: list[str]

    @classmethod
    def of(
        cls,
        experiment: Path,
        student: nn.Module,
        config: ModelConfig,
        facts: Mapping[str, Any],
        tried: Mapping[str, Any],
        licences: list[str],
    ) -> Card:
        """The card of an experiment; facts that its directory lacks stay empty.

        Parameters
        ----------
        experiment : its directory.
        student : the model that was exported.
        config : its training config.
        facts : what ``export.json`` says of the student and its form.
        licences : of teachers and data, one a line.
        tried : ``expected``, ``ran``, ``differing`` and ``factors``.
        """
        return cls(
            name=experiment.resolve().name,
            facts=facts,
            encoder=config.encoder,
            parameters=sum(parameter.numel() for parameter in student.parameters()),
            tokens=len(config.token_list),
            stages=list(_stages(experiment)),
            scores=list(_scores(experiment / "decode")),
            licences=licences,
            **tried,
        )


def _yaml(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    return content if isinstance(content, dict) else {}


def _stages(experiment: Path) -> Iterator[Stage]:
    """The training, and those it began from as far as their directories are here."""
    waiting, seen = [experiment], set[Path]()
    while waiting:
        directory = waiting.pop(0)
        if (place := directory.resolve()) in seen:
            continue
        seen.add(place)
        files = Experiment(directory)
        record, teachers = _yaml(files.record), _yaml(files.config).get("distill") or {}
        sets = [Path(one).name for one in record.get("train") or []]
        yield Stage(place.name, sets, list(_teachers(teachers)))
        entries = (record.get("config") or {}).get("init_param") or []
        before = dict.fromkeys(Path(entry.partition(":")[0]).parent for entry in entries)
        # the record's paths begin where the training ran, which need not be here
        waiting += [one if one.is_dir() else directory.parent / one.name for one in before]


def _teachers(blocks: Mapping[str, Any]) -> Iterator[str]:
    for name, block in blocks.items():
        if isinstance(block, dict) and "teacher" in block:
            how = ", ".join(f"{key} {block[key]}" for key in ("tap", "match", "loss", "weight")
                            if key in block)  # fmt: skip
            yield f"{block['teacher']} ({name}: {how})"


def _scores(directory: Path) -> Iterator[tuple[str, int, float, tuple[float, float]]]:
    """Rates of the sets that ``distill-asr score`` has counted."""
    for path in sorted(directory.glob("*/score.json")):
        utterances = json.loads(path.read_text(encoding="utf-8"))["utterances"]
        counts = np.array([row["words"] for row in utterances.values()], dtype=np.float64)
        errors, words = counts[:, 1:].sum(1), counts[:, [0, 1, 3]].sum(1)  # without insertions
        yield path.parent.name, len(counts), *_interval(errors, words)


def _interval(errors: np.ndarray, words: np.ndarray) -> tuple[float, tuple[float, float]]:
    """Error rate in percent and its bootstrap interval over utterances."""
    rng, rates = np.random.default_rng(SEED), []
    for _ in range(RESAMPLES // 10):
        drawn = rng.integers(len(errors), size=len(errors))
        rates.append(errors[drawn].sum() / max(1.0, words[drawn].sum()))
    low, high = np.quantile(rates, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return 100 * errors.sum() / max(1.0, words.sum()), (100 * low, 100 * high)


def write_card(directory: Path, card: Card) -> None:
    """Write ``directory/README.md``, with the sizes in MB of the models that lie there."""
    sections = [_what(card), _training(card), _rates(card), _sizes(directory, card), _speed(card),
                _use(card)]  # fmt: skip
    text = "\n\n".join("\n".join(section) for section in sections)
    (directory / "README.md").write_text(f"{text}\n", encoding="utf-8")


def _what(card: Card) -> list[str]:
    facts = card.facts
    lines = [
        f"# {card.name}",
        "",
        f"A {_NAMES[facts['kind']]}: encoder {card.encoder}, "
        f"{card.parameters / 1e6:.1f} million parameters, {card.tokens} tokens; "
        f"{_input(facts)} at {facts['sample_rate']} Hz, normalised in the graph.",
    ]
    if facts["stream"]:
        stream = facts["stream"]
        lines.append(
            f"Chunks of {10 * stream['decode_chunk_len']} ms, {stream['left_context']} encoder "
            "frames of left context."
        )
    return [*lines, "", f"Made by `{facts['command']}` of distill_asr "
            f"{facts['versions']['distill_asr']}; `export.json` has the rest."]  # fmt: skip


def _input(facts: Mapping[str, Any]) -> str:
    bins = facts["feature_dim"]
    return "the waveform" if bins is None else f"{bins} log-mel bins"


def _training(card: Card) -> list[str]:
    last, *before = card.stages
    lines = [f"* data: {', '.join(last.sets) or _UNKNOWN}"]
    lines += [f"* teacher: {one}" for one in last.teachers]
    for stage in before:
        lines.append(f"* began from `{stage.name}`, data: {', '.join(stage.sets) or _UNKNOWN}")
        lines += [f"* teacher of `{stage.name}`: {one}" for one in stage.teachers]
    licences = "; ".join(card.licences) or _UNKNOWN
    return ["## Training", "", *lines, f"* licences of data and teachers: {licences}"]


def _rates(card: Card) -> list[str]:
    head = ["## Error rates", ""]
    if not card.scores:
        return [
            *head,
            "Not scored: `distill-asr decode` and `score` before the export put them here.",
        ]
    return [
        *head,
        "| set | utterances | WER, % | 95 % interval |",
        "|---|---|---|---|",
        *[
            f"| {name} | {count} | {rate:.2f} | {low:.2f} to {high:.2f} |"
            for name, count, rate, (low, high) in card.scores
        ],
        "",
        "Of the student in PyTorch, by the search it was decoded with. Bootstrap over utterances.",
    ]


def _sizes(directory: Path, card: Card) -> list[str]:
    lines = ["## Files", "", "| file | MB |", "|---|---|"]
    lines += [f"| {path.name} | {path.stat().st_size / 1e6:.2f} |"
              for path in sorted(directory.glob("*.onnx"))]  # fmt: skip
    checked = (
        f"{len(card.expected)} recordings of `test_wavs` give the words of `test_wavs/words.txt`"
    )
    lines += ["", f"{checked} in PyTorch and {' and '.join(card.ran)}."]
    lines += [
        f"With the {form} models {count} of them differ." for form, count in card.differing.items()
    ]
    return lines


def _speed(card: Card) -> list[str]:
    return [
        "## Speed",
        "",
        "| runtime | real-time factor |",
        "|---|---|",
        *[f"| {name} | {factor:.4f} |" for name, factor in card.factors.items()],
        "",
        "Processor time for a second of audio, by the recordings of `test_wavs` on the machine of "
        "the export.",
    ]


def _use(card: Card) -> list[str]:
    lines = ["## Use", "", "    pip install numpy onnxruntime soundfile",
             "    python recognise.py test_wavs/*.wav"]  # fmt: skip
    if not card.facts["sherpa"]:
        return lines
    models = " ".join(f"--{name}={name}.onnx" for name in card.facts["models"])
    width = card.facts["feature_dim"]
    features = "" if width is None else f" --feat-dim={width}"
    if card.facts["kind"] == "ctc":
        family = "omnilingual-asr" if width is None else "zipformer-ctc"
        models = f"--{family}-model=model.onnx"
    if card.facts["kind"] == "streaming_ctc":
        sizes = wenet_chunks(card.facts["stream"])
        models = " ".join(["--wenet-ctc-model=model.onnx", *(
            f"--wenet-ctc-{key.replace('_', '-')}={value}" for key, value in sizes.items()
        )])  # fmt: skip
    program = "sherpa-onnx" if card.facts["stream"] else "sherpa-onnx-offline"
    lines += ["", "With sherpa-onnx (one token a frame at most, as in the words above):", "",
              "    pip install sherpa-onnx sherpa-onnx-bin",
              f"    {program} --tokens=tokens.txt {models}{features} test_wavs/0.wav"]  # fmt: skip
    if card.facts["stream"]:
        seconds = card.facts["tail_samples"] / card.facts["sample_rate"]
        lines += ["", f"A stream needs {seconds:.2f} s of silence after the audio, so that its end "
                  "fills a chunk."]  # fmt: skip
    return lines
