"""Edit counts of an utterance, in words and characters."""

from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import jiwer

from distill_asr.data.normalise import is_language_tag, plain_blanks
from distill_asr.errors import Problems, UserError, named
from distill_asr.io.tables import table_rows


@dataclass(frozen=True)
class Counts:
    """Hits, substitutions, insertions, deletions of one or of many utterances; they add up."""

    hits: int = 0
    substitutions: int = 0
    insertions: int = 0
    deletions: int = 0

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(
            self.hits + other.hits,
            self.substitutions + other.substitutions,
            self.insertions + other.insertions,
            self.deletions + other.deletions,
        )

    @property
    def errors(self) -> int:
        """Substitutions, insertions and deletions."""
        return self.substitutions + self.insertions + self.deletions

    @property
    def reference(self) -> int:
        """Units of the reference."""
        return self.hits + self.substitutions + self.deletions

    @property
    def rate(self) -> float:
        """Errors per unit of the reference (0.1 is 10 %)."""
        return self.errors / self.reference


@dataclass(frozen=True)
class Edits:
    """What it takes to turn a reference into its hypothesis; spaces count as characters."""

    words: Counts = Counts()
    characters: Counts = Counts()

    def __add__(self, other: "Edits") -> "Edits":
        return Edits(self.words + other.words, self.characters + other.characters)


def total(edits: Iterable[Edits]) -> Edits:
    """Sum over utterances, seeds, anything."""
    return sum(edits, Edits())


def read_text(
    path: str | PathLike, lowercase: bool = False, tagged: bool = False
) -> dict[str, str]:
    """Read a Kaldi ``text`` file: id -> text, runs of whitespace collapsed to one space.

    Parameters
    ----------
    path : the file.
    lowercase : turn the texts to lower case.
    tagged : a language tag in front is not a word; see ``has_language_tags``.

    Raises
    ------
    UserError : the file is missing or not UTF-8, an utterance occurs twice, or another thing that
        ``table_rows`` finds.
    """
    problems = Problems()
    texts: dict[str, str] = {}
    for row in table_rows(Path(path), problems):
        if row.key in texts:
            problems.add(
                "duplicate id", f"{path}:{row.line}: utterance {row.key} occurs twice; keep one"
            )
        words = plain_blanks(row.value).split()  # as `prepare` reads them
        if tagged and words and is_language_tag(words[0]):
            words = words[1:]
        text = " ".join(words)
        texts[row.key] = text.lower() if lowercase else text
    problems.raise_if_any()
    return texts


def reference_problems(reference: dict[str, str], path: str | PathLike) -> list[str]:
    """Report what makes a reference unfit to score against.

    Parameters
    ----------
    reference : text by utterance.
    path : its file, or another name for messages.
    """
    if not reference:
        return [f"{path}: has no utterance"]
    empty = [utterance for utterance, text in reference.items() if not text]
    if empty:
        return [f"{path}: the reference is empty for {named(empty)}; remove them from the test set"]
    return []


def hypothesis_problems(
    reference: dict[str, str], hypothesis: dict[str, str], path: str | PathLike
) -> list[str]:
    """List the hypotheses without a reference. An empty text is fine.

    Parameters
    ----------
    reference, hypothesis : text by utterance.
    path : file of the hypotheses, or another name for messages.
    """
    unknown = [utterance for utterance in hypothesis if utterance not in reference]
    if unknown:
        return [f"{path}: no reference for {named(unknown)}; is it another test set's?"]
    return []


def count_edits(reference: dict[str, str], hypothesis: dict[str, str]) -> dict[str, Edits]:
    """Count the edits of every utterance, in the order of the reference.

    Parameters
    ----------
    reference, hypothesis : text by utterance, words split by one space.

    Raises
    ------
    UserError : the ids differ, or a reference is empty.
    """
    problems = reference_problems(reference, "reference")
    if missing := reference.keys() - hypothesis.keys():
        problems.append(f"hypothesis: none for {named(missing)}; decode the set again")
    problems += hypothesis_problems(reference, hypothesis, "hypothesis")
    if problems:
        raise UserError(problems)
    said = list(reference.values())
    heard = [hypothesis[utterance] for utterance in reference]
    words = jiwer.process_words(said, heard).alignments
    characters = jiwer.process_characters(said, heard).alignments
    edits = (Edits(_counts(w), _counts(c)) for w, c in zip(words, characters, strict=True))
    return dict(zip(reference, edits, strict=True))


def _counts(alignment: list[jiwer.AlignmentChunk]) -> Counts:
    lengths = {"equal": 0, "substitute": 0, "insert": 0, "delete": 0}
    for chunk in alignment:
        # an insertion covers nothing of the reference, a deletion nothing of the hypothesis
        lengths[chunk.type] += max(
            chunk.ref_end_idx - chunk.ref_start_idx, chunk.hyp_end_idx - chunk.hyp_start_idx
        )
    return Counts(*lengths.values())
