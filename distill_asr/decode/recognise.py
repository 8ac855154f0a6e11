"""A data directory through a student: hypotheses of every utterance."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import nn

from distill_asr.data.datadir import DataDir
from distill_asr.decode import searches
from distill_asr.decode.greedy import search_all
from distill_asr.decode.options import DecodeOptions
from distill_asr.decode.search import Hypothesis
from distill_asr.decode.speech import read_speech
from distill_asr.decode.streaming import set_chunk_size
from distill_asr.experiments.config import ModelConfig
from distill_asr.io.progress import Bar


def recognise(
    data: DataDir, student: nn.Module, config: ModelConfig, options: DecodeOptions
) -> Iterator[tuple[str, list[Hypothesis]]]:
    """Hypotheses of every utterance, the best first; short utterances come before long ones.

    So those that are searched together are of similar length.

    Parameters
    ----------
    data : prepared, of the student's rate.
    student : in evaluation mode, on ``options.device``.
    config : the student's.
    options : how to search.

    Raises
    ------
    UserError : audio that cannot be read, no such search, or no chunks to change the size of.
    """
    if options.chunk_size is not None:
        set_chunk_size(student, options.chunk_size)
    search = searches.build_search(student, config, options)
    lengths = data.num_samples or {}
    names = sorted(data.wav, key=lambda utt: (lengths.get(utt, 0), utt))
    speech = (
        (utt, torch.from_numpy(read_speech(utt, data.wav[utt], config.rate)).to(options.device))
        for utt in Bar(names, desc=f"decode {data.path}", unit="utt")
    )
    yield from search_all(search, speech)
