"""The prepared directory of pseudo-labels: its tables, its record, its report."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.data.datadir import DataDir
from distill_asr.data.record import (
    CONFIDENCE,
    LABEL_TABLE,
    LABELS,
    altered_tables,
    vouched_files,
)
from distill_asr.decode.labels import UNKNOWN, Label
from distill_asr.decode.record import NOTES
from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic
from distill_asr.io.records import read_record, write_record
from distill_asr.scoring.wer import count_edits, total

COLUMNS = (
    "utterance", "kept", "dropped for", CONFIDENCE, "compression", "repeats", "characters/s",
    "disagreement", "words",
)  # fmt: skip
OF_AUDIO = {"audio", "utterances", "reference"}  # of the record: labelled again
QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)


@dataclass(frozen=True)
class Labelling:
    """Labels of a data directory, and which of them were kept.

    Parameters
    ----------
    labels : of all utterances.
    seconds : of each one's audio.
    disagreement : word error rate against another recogniser, where there is one.
    faults : why an utterance is dropped, by its words; nothing for the others.
    kept : of those without faults, the utterances that are sure enough.
    """

    data: DataDir
    labels: Mapping[str, Label]
    seconds: Mapping[str, float]
    disagreement: Mapping[str, float]
    faults: Mapping[str, list[str]]
    kept: list[str]

    def table(self) -> str:
        """A line for each utterance, with tabs between the columns."""
        kept, rows = set(self.kept), ["\t".join(COLUMNS)]
        for utt, label in self.labels.items():
            reasons = self.faults[utt] or ([] if utt in kept else [CONFIDENCE])
            apart = self.disagreement.get(utt)
            rows.append(
                "\t".join(
                    [
                        utt,
                        "no" if reasons else "yes",
                        ", ".join(reasons),
                        f"{label.confidence:.6f}",
                        f"{label.compression:.3f}" if label.words else "",
                        str(label.repeats) if label.words else "",
                        f"{label.rate(self.seconds[utt]):.2f}",
                        "" if apart is None else f"{apart:.4f}",
                        label.words,
                    ]
                )
            )
        return "".join(f"{row}\n" for row in rows)

    def report(self, reference: Mapping[str, str] | None) -> list[str]:
        """Lines of the report; how wrong the labels are where ``reference`` has the true words."""
        labels, kept = self.labels, self.kept
        hours = {utt: seconds / 3600 for utt, seconds in self.seconds.items()}
        empty = sum(not one.words for one in labels.values())
        unknown = sum(UNKNOWN in one.words for one in labels.values())
        usable = np.array([one.confidence for one in labels.values() if one.usable])
        values = ", ".join(f"{100 * q:.0f} %: {np.quantile(usable, q):.4f}" for q in QUANTILES)
        lines = [
            f"{self.data.path}: {len(labels)} utterances, {sum(hours.values()):.2f} h; "
            f"{empty} without words, {unknown} with {UNKNOWN}",
            f"kept: {len(kept)} utterances ({100 * len(kept) / len(labels):.1f} %), "
            f"{sum(hours[utt] for utt in kept):.2f} h; confidence at least "
            f"{min(labels[utt].confidence for utt in kept):.4f}",
            f"quantiles of confidence: {values}",
        ]
        if dropped := self._dropped(hours):
            lines.append(f"dropped (several reasons count each; {LABEL_TABLE} has all): {dropped}")
        if reference is not None:
            lines += self._error_rates(reference)
        return lines

    def _dropped(self, hours: Mapping[str, float]) -> str:
        found: dict[str, list[float]] = {}
        for utt in sorted(self.labels.keys() - set(self.kept)):
            for reason in self.faults[utt] or [CONFIDENCE]:
                found.setdefault(reason, []).append(hours[utt])
        ranked = sorted(found.items(), key=lambda item: (-len(item[1]), item[0]))
        return ", ".join(f"{reason} {len(lost)} ({sum(lost):.2f} h)" for reason, lost in ranked)

    def _error_rates(self, reference: Mapping[str, str]) -> list[str]:
        rates: dict[str, list[str]] = {"WER": [], "CER": []}
        for name, utterances in (("all", list(self.labels)), ("kept", self.kept)):
            said = {utt: reference[utt] for utt in utterances}
            heard = {utt: self.labels[utt].words for utt in utterances}
            edits = total(count_edits(said, heard).values())
            rates["WER"].append(f"{name} {100 * edits.words.rate:.2f} %")
            rates["CER"].append(f"{name} {100 * edits.characters.rate:.2f} %")
        return [f"{kind} of the labels: {', '.join(found)}" for kind, found in rates.items()]


def disagreements(labels: Mapping[str, Label], others: Mapping[str, Label]) -> dict[str, float]:
    """Word error rate against another recogniser's words, by utterance with words.

    The rate is 1 where the other recogniser gave no words.

    Parameters
    ----------
    labels : by utterance.
    others : of the other recogniser, for the same utterances.
    """
    said = {utt: one.words for utt, one in labels.items() if one.words}
    heard = {utt: others[utt].words for utt in said}
    return (
        {utt: edits.words.rate for utt, edits in count_edits(said, heard).items()} if said else {}
    )


def write(output: Path, labelling: Labelling, record: dict[str, Any]) -> None:
    """Write the prepared dir, whole or not at all; over older labels the record comes last.

    Parameters
    ----------
    output : the directory, locked by the caller.
    labelling : what its tables hold.
    record : the content of the record, with ``made_from`` and the report.
    """
    if output.exists():
        _write_record(output, {"made_from": {}})  # a kill from here on leaves nothing that counts
        _write_files(output, labelling)
        _write_record(output, record)
        return
    output.parent.mkdir(parents=True, exist_ok=True)
    temporary = output.parent / f".{output.name}.tmp"
    shutil.rmtree(temporary, ignore_errors=True)  # what a kill left; the lock is ours
    try:
        _write_files(temporary, labelling)
        _write_record(temporary, record)
        os.rename(temporary, output)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _write_files(folder: Path, labelling: Labelling) -> None:
    labels, kept = labelling.labels, labelling.kept
    words = {utt: labels[utt].words for utt in kept}
    replace(labelling.data.select(kept), text=words).write(folder)
    lines = "".join(f"{utt} {labels[utt].confidence:.6f}\n" for utt in kept)
    write_text_atomic(folder / CONFIDENCE, lines)
    write_text_atomic(folder / LABEL_TABLE, labelling.table())


def _write_record(folder: Path, record: dict[str, Any]) -> None:
    write_record(folder / LABELS, record | {"files": vouched_files(folder)})


def finished(output: Path, made_from: dict[str, Any]) -> list[str] | None:
    """The report of the same labelling, done before; None if there is none for this audio.

    Parameters
    ----------
    output : where it would be.
    made_from : all that decides the labels; see ``record.made_from``.

    Raises
    ------
    UserError : ``output`` is something else.
    """
    if not output.exists():
        return None
    way_out = "remove it, or give another --output"
    if not output.is_dir():
        raise UserError(f"{output}: is a file; {way_out}")
    try:
        record = read_record(output / LABELS)
        found, report = dict(record["made_from"]), record.get("report")
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{output}: exists, and holds no pseudo-labels, or a damaged {LABELS}; {way_out}"
        ) from error
    if not found:  # a killed run's
        return None
    keys = sorted((made_from.keys() | found.keys()) - NOTES)
    if "config" not in found:  # of a version that did not look at it
        keys = [key for key in keys if key != "config"]
    other = [key for key in keys if made_from.get(key) != found.get(key)]
    if set(other) <= OF_AUDIO:
        return report if not other and not altered_tables(output) else None
    raise UserError(f"{output}: made with another {', '.join(other)}; {way_out}")
