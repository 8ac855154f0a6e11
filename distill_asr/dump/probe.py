"""A CTC probe for each layer of a teacher: how well a linear layer recognises units from it.

The frozen states of one layer, standardised, go through one matrix into a CTC over characters (or
other units). Its error rate on held-out utterances measures how well the layer represents the
spoken words. A student may learn best from another layer, but this one is a good first choice.

Legend: S positions, E width of one layer, V units with the blank.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from distill_asr.errors import UserError, named
from distill_asr.io.files import write_text_atomic
from distill_asr.io.progress import Bar
from distill_asr.scoring.picture import new_figure, write_figure
from distill_asr.scoring.table import markdown_rows
from distill_asr.scoring.wer import count_edits, read_text, total
from distill_asr.targets.manifest import pooled_statistics, require_same_teacher
from distill_asr.targets.reader import TargetReader
from distill_asr.targets.verify import check_targets

_UNITS = ("characters", "words")  # words: what blanks part, such as phones
PROBE_RECORD, PROBE_TABLE, PICTURE = "probe.json", "probe.md", "probe.png"
_WAY_OUT = "dump this teacher with several `layers` and `combine: stack`"


@dataclass(frozen=True)
class ProbeOptions:
    """How a probe is trained.

    Parameters
    ----------
    epochs : over the training utterances, with a cosine from ``rate`` down to 0.
    rate : of Adam.
    batch : utterances.
    seed : of weights and order; the same for every layer.
    units : ``characters``, a blank between words being one, or ``words``.
    text : table of the data dir.
    """

    epochs: int = 100
    rate: float = 0.005
    batch: int = 8
    seed: int = 0
    units: str = "characters"
    text: str = "text"

    def problems(self) -> list[str]:
        """Everything wrong with the values, by the verb's options."""
        counts = {"--epochs": self.epochs, "--batch-size": self.batch}
        problems = [f"{o} {v}: expected at least 1" for o, v in counts.items() if v < 1]
        if not 0 < self.rate < 1:
            problems.append(f"--learning-rate {self.rate}: expected between 0 and 1")
        return problems


@dataclass(frozen=True)
class ProbeSet:
    """Targets of one set with the transcripts."""

    reader: TargetReader
    texts: Mapping[str, str]

    @classmethod
    def read(cls, directory: Path, text: str) -> ProbeSet:
        """Read dumped targets, and the transcripts of the data dir they lie in.

        Parameters
        ----------
        directory : <data dir>/targets/<teacher>.
        text : file of the data dir with the transcripts.

        Raises
        ------
        UserError : no targets of layers that can be told apart, damaged ones, or no transcripts.
        """
        if problems := check_targets(directory):
            raise UserError(problems)
        reader = TargetReader(directory)
        manifest = reader.manifests[0]
        if manifest.step_ms is None or not manifest.layers:
            raise UserError(f"{directory}: these are not the layers of a speech model; {_WAY_OUT}")
        if len(manifest.layers) > 1 and manifest.combine != "stack":
            raise UserError(
                f"{directory}: holds the {manifest.combine} of layers {list(manifest.layers)}; "
                f"{_WAY_OUT}"
            )
        texts = read_text(directory.absolute().parents[1] / text)
        if absent := set(reader) - {utt for utt, words in texts.items() if words}:
            raise UserError(
                f"{directory}: no words in {text} for {named(absent)}; add their lines, or give "
                "another file with --text"
            )
        return cls(reader, {utt: texts[utt] for utt in sorted(reader)})

    def states(self, place: int, mean: np.ndarray, std: np.ndarray) -> list[Tensor]:
        """Standardised states [S, E] of one layer, of every utterance in order.

        Parameters
        ----------
        place : of the layer among those dumped, from 0.
        mean, std : of the targets, [layers * E].
        """
        width = self.reader.width // len(self.reader.manifests[0].layers)
        columns = slice(place * width, (place + 1) * width)
        return [
            torch.from_numpy(((self.reader[utt] - mean) / std)[:, columns].astype(np.float32))
            for utt in self.texts
        ]


@dataclass(frozen=True)
class LayerResult:
    """Error rates of a layer's probe, 0.1 for 10 %."""

    layer: int
    dev: float
    train: float


class Probe:
    """Linear CTC probes over the layers of one teacher.

    Raises
    ------
    UserError : the two sets' targets are of different teachers.
    """

    def __init__(self, train: ProbeSet, dev: ProbeSet, options: ProbeOptions) -> None:
        manifests = [train.reader.manifests[0], dev.reader.manifests[0]]
        require_same_teacher(dict(zip(("training", "dev"), manifests, strict=True)))
        self.train, self.dev, self.options = train, dev, options
        self.layers = manifests[0].layers
        self.mean, self.std = pooled_statistics(manifests[:1])
        self.units = sorted({unit for text in train.texts.values() for unit in self._split(text)})

    def too_long(self) -> list[str]:
        """Training utterances with more units than positions: nothing is learnt from them."""
        return [
            utt
            for utt, text in self.train.texts.items()
            if len(self._split(text)) > len(self.train.reader[utt])
        ]

    def made_from(self) -> dict[str, Any]:
        """All that the results depend on, for the record."""
        sets = [
            {"teacher": asdict(m.settings), "shards": [shard.sha256 for shard in m.shards]}
            for m in (self.train.reader.manifests[0], self.dev.reader.manifests[0])
        ]
        said = json.dumps([dict(self.train.texts), dict(self.dev.texts)])
        found = {
            "sets": sets,
            "texts": hashlib.sha256(said.encode()).hexdigest(),
            "options": asdict(self.options),
        }
        return json.loads(json.dumps(found))

    def layer(self, layer: int) -> LayerResult:
        """Train and judge the probe of one layer."""
        place = self.layers.index(layer)
        states = self.train.states(place, self.mean, self.std)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.options.seed)
            head = nn.Linear(states[0].size(1), len(self.units) + 1)  # unit 0 is the blank
            self._fit(head, states, f"layer {layer}")
        dev = self.dev.states(place, self.mean, self.std)
        return LayerResult(
            layer, self._rate(head, dev, self.dev.texts), self._rate(head, states, self.train.texts)
        )

    def _fit(self, head: nn.Linear, states: list[Tensor], what: str) -> None:
        numbers = {unit: number for number, unit in enumerate(self.units, 1)}
        targets = [
            torch.tensor([numbers[unit] for unit in self._split(text)])
            for text in self.train.texts.values()
        ]
        optimizer = torch.optim.Adam(head.parameters(), lr=self.options.rate)
        order = np.random.default_rng(self.options.seed)
        steps = self.options.epochs * -(-len(states) // self.options.batch)
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
        for _ in Bar(range(self.options.epochs), what, unit="epoch", leave=False):
            shuffled = order.permutation(len(states))
            for first in range(0, len(states), self.options.batch):
                chosen = shuffled[first : first + self.options.batch]
                loss = _ctc(head, [states[i] for i in chosen], [targets[i] for i in chosen])
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                schedule.step()

    @torch.inference_mode()
    def _rate(self, head: nn.Linear, states: list[Tensor], texts: Mapping[str, str]) -> float:
        heard = {
            utt: self._joined(head(one).argmax(dim=1).tolist())
            for utt, one in zip(texts, states, strict=True)
        }
        edits = total(count_edits(dict(texts), heard).values())
        return (edits.characters if self.options.units == "characters" else edits.words).rate

    def _split(self, text: str) -> list[str]:
        return list(text) if self.options.units == "characters" else text.split()

    def _joined(self, path: list[int]) -> str:
        between = "" if self.options.units == "characters" else " "
        said = between.join(self.units[unit - 1] for unit, _ in groupby(path) if unit)
        return " ".join(said.split())


def _ctc(head: nn.Linear, states: list[Tensor], targets: list[Tensor]) -> Tensor:
    """Mean loss; utterances with more units than positions do not count."""
    scores = head(pad_sequence(states)).log_softmax(dim=-1)  # [S, B, V]
    return nn.functional.ctc_loss(
        scores,
        torch.cat(targets),
        torch.tensor([len(one) for one in states]),
        torch.tensor([len(one) for one in targets]),
        zero_infinity=True,
    )


def probe_layers(probe: Probe, output: Path) -> list[LayerResult]:
    """Results of all layers, each written when it is ready; those of a killed run are kept.

    Parameters
    ----------
    probe : what to train on each layer.
    output : directory of the results.

    Raises
    ------
    UserError : ``output`` holds another probe.
    """
    made_from, done = probe.made_from(), _read(output, probe.made_from())
    for layer in Bar([one for one in probe.layers if one not in done], "probe", unit="layer"):
        done[layer] = probe.layer(layer)
        rows = [asdict(done[one]) for one in probe.layers if one in done]
        record = {"made_from": made_from, "layers": rows}
        write_text_atomic(output / PROBE_RECORD, json.dumps(record, indent=1) + "\n")
    return [done[layer] for layer in probe.layers]


def _read(output: Path, made_from: dict[str, Any]) -> dict[int, LayerResult]:
    try:
        record = json.loads((output / PROBE_RECORD).read_text(encoding="utf-8"))
        found, rows = record["made_from"], [LayerResult(**row) for row in record["layers"]]
    except FileNotFoundError:
        return {}
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{output / PROBE_RECORD}: damaged; remove it") from error
    if other := [key for key in made_from if found.get(key) != made_from[key]]:
        raise UserError(
            f"{output}: a probe with other {', '.join(other)}; give another --output, or remove it"
        )
    return {row.layer: row for row in rows}


def table(results: Sequence[LayerResult], units: str) -> str:
    """A markdown table, the best layer in bold; rates in percent.

    Parameters
    ----------
    results : of each layer.
    units : what the probe recognises; ``characters`` for a rate called CER.
    """
    best = min(results, key=lambda one: one.dev)
    rows = [
        [
            f"**{one.layer}**" if one is best else str(one.layer),
            f"**{100 * one.dev:.1f}**" if one is best else f"{100 * one.dev:.1f}",
            f"{100 * one.train:.1f}",
        ]
        for one in results
    ]
    kind = "CER" if units == "characters" else "error"
    return markdown_rows(["Layer", f"dev {kind} (%)", f"training {kind} (%)"], rows)


def save_picture(path: Path, results: Sequence[LayerResult], name: str) -> None:
    """Write a PNG of error rates over layers.

    Parameters
    ----------
    path : the file.
    results : of each layer.
    name : of the teacher, the title.

    Raises
    ------
    UserError : matplotlib is not installed.
    """
    figure = new_figure(max(4.0, 0.4 * len(results) + 2), 3)
    axes = figure.subplots()
    layers = [one.layer for one in results]
    for label, values, style in (
        ("dev", [100 * one.dev for one in results], "o-"),
        ("training", [100 * one.train for one in results], "x--"),
    ):
        axes.plot(layers, values, style, label=label)
    axes.set(xlabel="layer", ylabel="errors of a linear CTC probe (%)", title=name, xticks=layers)
    axes.set_ylim(bottom=0)
    axes.legend(frameon=False)
    write_figure(path, figure)
