"""The kinds of sources that come with the package, and finding the one that fits."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from distill_asr.errors import UserError, import_failure, nearest
from distill_asr.start.contract import Reader

# in this order: a Kaldi directory may lie beside tables, Common Voice's tables have their reader
READERS = {
    "kaldi": "distill_asr.start.readers.kaldi.KaldiReader",
    "commonvoice": "distill_asr.start.readers.common_voice.CommonVoiceReader",
    "lhotse": "distill_asr.start.readers.lhotse.LhotseReader",
    "huggingface": "distill_asr.start.readers.hugging_face.HuggingFaceReader",
    "table": "distill_asr.start.readers.table.TableReader",
    "audio": "distill_asr.start.readers.audio_folder.AudioFolderReader",
}


def find_reader(name: str) -> Reader:
    """The reader of a short name, or of the dotted path of a user's own.

    Raises
    ------
    UserError : it does not exist, or is not a ``Reader``.
    """
    module, _, attribute = READERS.get(name, name).rpartition(".")
    if not module:
        raise UserError(f"--kind {name}: unknown{nearest(name, READERS)}")
    try:
        found = getattr(import_module(module), attribute)
    except Exception as error:  # the import of a user's own file may raise anything
        raise UserError(f"--kind {name}: cannot be imported {import_failure(error)}") from error
    if not (isinstance(found, type) and issubclass(found, Reader)):
        raise UserError(f"--kind {name}: expected a subclass of {Reader.__module__}.Reader")
    return found()


def reader_for(path: Path, kind: str | None) -> Reader:
    """The reader of a source: the kind given, or the first that recognises its content.

    Parameters
    ----------
    path : a file or a folder.
    kind : name or dotted path of a reader; None to look.

    Raises
    ------
    UserError : the source does not exist, or no reader recognises it.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file or folder; correct the path")
    if kind is not None:
        return find_reader(kind)
    for name in READERS:
        if (reader := find_reader(name)).recognises(path):
            return reader
    if path.is_dir() and not any(path.iterdir()):
        raise UserError(f"{path}: the folder is empty; give one with audio")
    kinds = "; ".join(find_reader(name).summary for name in READERS)
    raise UserError(f"{path}: holds nothing that can be read; expected one of: {kinds}")
