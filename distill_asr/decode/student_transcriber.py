"""Pseudo-labels by a student of this package, through the searches of ``distill-asr decode``."""

from __future__ import annotations

import math
from collections.abc import Iterator

from distill_asr.data.datadir import DataDir
from distill_asr.data.normalise import TranscriptRule
from distill_asr.decode.labels import Label
from distill_asr.decode.recognise import recognise
from distill_asr.decode.record import SearchSetup
from distill_asr.decode.search import Hypothesis
from distill_asr.decode.text import TokenText
from distill_asr.decode.transcribers import Transcriber, of_transcripts
from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.student import load_student


class StudentTranscriber(Transcriber):
    """A checkpoint of an experiment, with the search asked for.

    Parameters
    ----------
    rule : for the words, where they are to be written otherwise than the student does.
    """

    def __init__(self, recogniser: SearchSetup, rule: TranscriptRule | None = None) -> None:
        self.recogniser = recogniser
        self.rule = rule
        self.rate = ModelConfig.read(recogniser.experiment.directory).rate
        self.decided_by = recogniser.decided_by | of_transcripts(rule)

    def labels(self, data: DataDir) -> Iterator[tuple[str, Label]]:
        """A label for each utterance; short ones first."""
        source, options = self.recogniser, self.recogniser.options
        student, config = load_student(
            source.experiment.directory, source.checkpoint, options.device
        )
        if config.model == "transducer":  # whose beam would not give its best path
            options = options.with_timestamps()
        to_words = TokenText(config)
        for utt, (best, *_) in recognise(data, student, config, options):
            words = to_words(best.tokens)
            yield utt, Label(self.rule(words) if self.rule else words, confidence(best))


def confidence(best: Hypothesis) -> float:
    """Log-probability per token of the hypothesis' path; -inf for a hypothesis without a path."""
    if not best.tokens:
        return -math.inf
    return (best.score if best.path_score is None else best.path_score) / len(best.tokens)
