"""Names of the corpora that come with the package, and finding one by its name."""

from __future__ import annotations

from importlib import import_module

from distill_asr.corpora.contract import Corpus
from distill_asr.errors import UserError, import_failure, nearest

# imported by name alone: a corpus that is not asked for costs nothing
CORPORA = {
    "mini": "distill_asr.corpora.mini.Mini",
    "mini_homophones": "distill_asr.corpora.homophones.Homophones",
    "mini_multilingual": "distill_asr.corpora.multilingual.Multilingual",
    "fsdd": "distill_asr.corpora.fsdd.Fsdd",
    "human": "distill_asr.corpora.human.builder.Human",
    "librispeech_100": "distill_asr.corpora.librispeech.LibriSpeech",
    "aishell": "distill_asr.corpora.aishell.Aishell",
    "commonvoice": "distill_asr.corpora.commonvoice.CommonVoice",
}
_WAY_OUT = "`distill-asr corpus --list` shows them; your own is named by its dotted path"


def find_corpus(name: str) -> type[Corpus]:
    """The class behind a short name, or behind the dotted path of a user's own.

    Raises
    ------
    UserError : it does not exist, or is not a ``Corpus``.
    """
    path = CORPORA.get(name, name)
    module, _, attribute = path.rpartition(".")
    if not module:
        raise UserError(f"corpus {name!r} is unknown{nearest(name, CORPORA)}; {_WAY_OUT}")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # the import of a user's own file may raise anything
        reason = import_failure(error)
        raise UserError(f"corpus {name}: cannot be imported {reason}; {_WAY_OUT}") from error
    if not (isinstance(found, type) and issubclass(found, Corpus)):
        raise UserError(f"corpus {name}: expected a subclass of {Corpus.__module__}.Corpus")
    return found
