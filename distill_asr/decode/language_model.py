"""ESPnet's language models in our searches (shallow fusion).

Legend: K hypotheses, V vocabulary.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from distill_asr.errors import UserError
from distill_asr.espnet.plugin import LMTask
from distill_asr.experiments.config import read_values
from distill_asr.experiments.layout import Experiment
from distill_asr.experiments.student import fit, read_weights

_KINDS = ("seq_rnn", "transformer")  # of ESPnet's key ``lm``; others need a hub
_NEEDED = ("token_list",)  # keys of a language model


@dataclass(frozen=True)
class LanguageModel:
    """A language model with the factor of its log-probabilities.

    ``lm`` is ESPnet's (``AbsLM``), in evaluation mode, with the student's token list.
    """

    lm: nn.Module
    weight: float

    def score(self, tokens: Tensor, states: list[Any] | None) -> tuple[Tensor, list[Any]]:
        """Weighted log-probabilities [K, V] of the token after each hypothesis, and new states.

        Parameters
        ----------
        tokens : [K, 1 + u], with the start token.
        states : of the hypotheses, as the last call gave them; None where it is the first one.
        """
        states = [None] * len(tokens) if states is None else states
        scores, states = self.lm.batch_score(tokens, states, None)
        return self.weight * scores.float(), states


class PrefixScorer:
    """A language model as ESPnet's transducer search asks it.

    That search asks for the same prefixes in every frame, so their scores are kept. It also asks
    for an attribute ``rnn_type``, by which it keeps Transformers out; its default algorithm gives
    the whole prefix, with which they work as well.
    """

    rnn_type = None

    def __init__(self, lm: nn.Module) -> None:
        self.lm = lm
        self.forget()

    def forget(self) -> None:
        """Begin another utterance."""
        self._known: dict[tuple[int, ...], tuple[list[float], Any]] = {}

    def score(self, prefix: Tensor, state: Any, _encoded: None) -> tuple[list[float], Any]:
        """Log-probabilities [V] of the token after ``prefix`` [1 + u], and the state with it."""
        key = tuple(prefix.tolist())
        if key not in self._known:
            scores, new = self.lm.score(prefix, state, None)
            self._known[key] = scores.float().tolist(), new
        return self._known[key]


def load_language_model(
    directory: str | Path, checkpoint: str, tokens: Sequence[str], device: str = "cpu"
) -> nn.Module:
    """An ``AbsLM`` from what a training of ESPnet's language models left, in evaluation mode.

    Parameters
    ----------
    directory : with ``config.yaml`` and the weights.
    checkpoint : name of the weights there.
    tokens : the student's; the language model must have the same ones, in the same order.
    device : of torch.

    Raises
    ------
    UserError : files are missing or damaged, another kind of model, or other tokens.
    """
    where = Experiment(Path(directory)).config
    config = read_values(where, _NEEDED)
    weights = read_weights(directory, checkpoint)
    if config.get("lm") not in _KINDS:
        raise UserError(
            f"{where}: lm: {config.get('lm')}; expected {' or '.join(_KINDS)}, the output of "
            "ESPnet's language model training"
        )
    _check_tokens(where, config.get("token_list"), tokens)
    try:
        model = LMTask.build_model(argparse.Namespace(**config))
    except (RuntimeError, TypeError, AttributeError) as error:  # what ESPnet and torch raise
        raise UserError(
            f"{where}: no language model that this ESPnet can build ({error}); train it again with "
            "this ESPnet"
        ) from error
    fit(model, weights, Path(directory) / checkpoint)
    return model.lm.to(device).eval()


def _check_tokens(where: Path, found: Any, tokens: Sequence[str]) -> None:
    if not isinstance(found, list):
        raise UserError(f"{where}: token_list: expected the list itself, found {found!r}")
    for number, (here, wanted) in enumerate(itertools.zip_longest(found, tokens)):
        if here != wanted:
            lacks = "nothing (the list ends)"
            raise UserError(
                f"{where}: token_list: entry {number} is {lacks if here is None else repr(here)}, "
                f"the student's is {lacks if wanted is None else repr(wanted)} ({len(found)} and "
                f"{len(tokens)} entries); train the language model with the student's token list"
            )
