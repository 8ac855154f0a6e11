"""The record of a prepared directory: its settings, and what vouches for its tables and audio."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from distill_asr.data.conversions import JOURNAL, read_journal
from distill_asr.data.normalise import TranscriptRule
from distill_asr.errors import UserError, named
from distill_asr.io.identity import CACHE, audio_identity
from distill_asr.io.records import DamagedRecordError, altered, read_record, vouched

RECORD = "prepare.json"
LABELS = "pseudo_label.json"  # the same, of a directory of pseudo-labels
FILTERED = "filtered"  # `id seconds reason` of each utterance left out
ORIGINAL = "text_original"  # transcripts as they came, where text differs
AUDIO = "wav"  # directory of the audio that was converted
CONFIDENCE = "confidence"  # `id confidence` of each pseudo-label
LABEL_TABLE = "labels.tsv"  # of all utterances, those dropped too
TABLES = ("wav.scp", "text", "utt2spk", "spk2utt", "utt2num_samples", FILTERED, ORIGINAL)
_WAY_OUT = (
    "run the same `distill-asr prepare` again; if the change is wanted, make it in the directory "
    "that was prepared"
)
_WAYS_OUT = {RECORD: _WAY_OUT, LABELS: "run the same `distill-asr pseudo-label` again"}


def transcript_rule(folder: Path) -> TranscriptRule | None:
    """What ``prepare`` did to the transcripts of a directory; None where it left them as they are.

    Raises
    ------
    UserError : its record is damaged.
    """
    path = folder / RECORD
    try:
        rule = read_record(path)["settings"].get("transcripts")
        return None if rule is None else TranscriptRule(**rule)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (DamagedRecordError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(
            f"{path}: damaged; run the same `distill-asr prepare` again, which writes it anew"
        ) from error


def has_language_tags(folder: Path) -> bool:
    """Whether ``prepare --language-tag`` put a tag in front of each transcript of a directory.

    Raises
    ------
    UserError : its record is damaged.
    """
    rule = transcript_rule(folder)
    return rule is not None and rule.tag


def read_filtered(folder: Path) -> list[str]:
    """Utterances that a preparation left out."""
    try:
        lines = (folder / FILTERED).read_text(encoding="utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [line.split()[0] for line in lines if line.strip()]


def vouched_files(folder: Path) -> dict[str, str]:
    """SHA-256 of the tables, and of the journal, which has that of each converted file."""
    present = {name: path for name, path in _files(folder).items() if path.exists()}
    return vouched(present, folder / CACHE)


def altered_tables(folder: Path) -> list[str]:
    """List the tables that changed since a command wrote them; nothing without a record."""
    return [
        problem
        for record, way_out in _WAYS_OUT.items()
        for problem in altered(folder / record, _files(folder), way_out, folder / CACHE)
    ]


def prepared_audio_identity(
    paths: Mapping[str, str], cache: Path | None, *, quiet: bool = False
) -> dict[str, str]:
    """``audio_identity`` of utterances, whose converted files are as ``prepare`` wrote them.

    Parameters
    ----------
    paths : audio file of each utterance.
    cache : file that keeps what was computed; None for none.
    quiet : without a bar.

    Raises
    ------
    UserError : names the utterances whose files are missing, cannot be read, or were changed.
    """
    found = audio_identity(paths, cache, quiet=quiet)
    journals: dict[str, dict[str, str]] = {}
    other = []
    for utterance, path in paths.items():
        folder, name = os.path.split(path)
        if folder not in journals:
            read = read_journal(Path(folder))
            journals[folder] = {key: one.sha256 for key, one in read.items()}
        written = journals[folder].get(name.removesuffix(".wav"))
        if written is not None and written != found[utterance]:
            other.append(utterance)
    if other:
        raise UserError(
            f"{Path(paths[other[0]]).parent}: changed or damaged since it was written: the audio "
            f"of {named(other)}, such as {paths[other[0]]}: its SHA-256 is not the one in "
            f"{JOURNAL}; {_WAY_OUT}"
        )
    return found


def _files(folder: Path) -> dict[str, Path]:
    names = (*TABLES, CONFIDENCE, LABEL_TABLE, f"{AUDIO}/{JOURNAL}")
    return {name: folder / name for name in names}
