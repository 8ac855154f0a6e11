"""The search that suits a student and the options."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from distill_asr.decode.cif_search import CifSearch
from distill_asr.decode.greedy import TransducerGreedySearch
from distill_asr.decode.language_model import LanguageModel, load_language_model
from distill_asr.decode.options import DecodeOptions
from distill_asr.decode.search import (
    AttentionSearch,
    CTCGreedySearch,
    Hypothesis,
    TransducerSearch,
)
from distill_asr.errors import UserError
from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.export.espnet_model import write_model
from distill_asr.experiments.layout import Experiment

_Search = Callable[[Tensor], list[Hypothesis]]


def build_search(student: nn.Module, config: ModelConfig, options: DecodeOptions) -> _Search:
    """Choose and build it.

    Parameters
    ----------
    student : in evaluation mode.
    config : the student's.
    options : how to search.

    Raises
    ------
    UserError : the student has no output layer, or has no such search.
    """
    model = config.model
    alone = model == "ctc" and student.decoder is None  # the best path is all it has to find
    if model == "ctc" and (options.method == "greedy" or (alone and options.fusion is None)):
        return CTCGreedySearch(student)
    if model not in ("cif", "ctc", "transducer"):
        raise UserError(
            f"{config.file}: model {model!r} has no output layer and cannot be decoded; train "
            "stage 2 with `--init` and decode that experiment"
        )
    if options.beam > student.vocab_size:
        raise UserError(
            f"--beam-size {options.beam}: expected at most the student's {student.vocab_size} "
            "tokens"
        )
    language_model = _language_model(config, options)
    if model == "cif":
        return CifSearch(student, options.beam, options.nbest, language_model)
    if model == "ctc":
        ctc_weight = 1.0 if alone else options.ctc_weight
        return _attention_search(student, config, replace(options, ctc_weight=ctc_weight))
    if options.method == "greedy":
        return TransducerGreedySearch(student, batch_size=options.batch_size)
    return TransducerSearch(
        student, options.beam, options.nbest, language_model, options.timestamps
    )


def _language_model(config: ModelConfig, options: DecodeOptions) -> LanguageModel | None:
    fusion = options.fusion
    if fusion is None:
        return None
    lm = load_language_model(fusion.directory, fusion.checkpoint, config.token_list, options.device)
    return LanguageModel(lm, fusion.weight)


def _attention_search(
    student: nn.Module, config: ModelConfig, options: DecodeOptions
) -> AttentionSearch:
    for option, given in (
        ("--chunk-size", options.chunk_size is not None),
        ("--timestamps", options.timestamps),
    ):
        if given:
            raise UserError(
                f"{option} is not supported by ESPnet's search over prefixes of CTC; "
                "use --method greedy"
            )
    fusion: dict[str, str | float] = {}
    if options.fusion is not None:
        language_model = Experiment(options.fusion.directory)
        fusion = {
            "lm_train_config": str(language_model.config),
            "lm_file": str(options.fusion.directory / options.fusion.checkpoint),
            "lm_weight": options.fusion.weight,
        }
    # ESPnet's inference reads files, at its start and with the first words
    folder = tempfile.TemporaryDirectory(prefix="distill_asr-")
    config_file, model_file = write_model(config, student.state_dict(), Path(folder.name))
    return AttentionSearch(
        str(config_file),
        str(model_file),
        options.beam,
        options.nbest,
        options.ctc_weight,
        options.device,
        fusion,
        folder,
    )
