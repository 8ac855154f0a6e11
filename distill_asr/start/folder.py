"""A recipe folder on disk: written whole, and written again without losing what was edited."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic

_RECORD = ".init.json"  # checksums of the files as they were written
AUDIO = "audio"  # what was embedded in a source
_SCRIPTS = (".sh",)


@dataclass(frozen=True)
class Written:
    """The files by name, grouped by what was done with them."""

    new: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()  # edited by the user, and not what would be written now
    removed: tuple[str, ...] = ()


@dataclass(frozen=True)
class RecipeFolder:
    """The folder of a recipe, which may not exist yet."""

    path: Path

    @property
    def draft(self) -> Path:
        """Where it is made, until it is complete."""
        return self.path.with_name(f".{self.path.name}.init.tmp")

    @property
    def is_new(self) -> bool:
        """Whether nothing is there."""
        return not self.path.exists() or (self.path.is_dir() and not any(self.path.iterdir()))

    @property
    def embedded(self) -> Path:
        """Where embedded audio goes now."""
        return (self.draft if self.is_new else self.path) / AUDIO

    def require_ours(self) -> None:
        """Raise UserError where something lies there that ``init`` has not written."""
        if not self.is_new and not (self.path.is_dir() and (self.path / _RECORD).is_file()):
            raise UserError(
                f"{self.path}: exists and was not written by `distill-asr init`; choose another "
                "directory"
            )

    def begin(self) -> None:
        """Remove what a killed ``init`` left."""
        shutil.rmtree(self.draft, ignore_errors=True)

    def write(
        self, files: Mapping[str, str], force: bool, check: Callable[[Path], None]
    ) -> Written:
        """Write all; a new folder is checked before it gets its name.

        Parameters
        ----------
        files : content by path below the folder.
        force : also what the user has edited.
        check : raises UserError where the recipe is not right.
        """
        if self.is_new:
            for name, text in files.items():
                _write(self.draft / name, text)
            self._write_record(self.draft, files)
            check(self.draft)
            if self.path.is_dir():
                self.path.rmdir()
            os.replace(self.draft, self.path)
            return Written(new=tuple(files))
        written = self._update(files, force)
        check(self.path)
        return written

    def _update(self, files: Mapping[str, str], force: bool) -> Written:
        before = self._read_record()
        new: list[str] = []
        changed: list[str] = []
        kept: list[str] = []
        removed: list[str] = []
        for name, text in files.items():
            found = _checksum_of(self.path / name)
            wanted = _checksum(text)
            if found == wanted:
                continue
            edited = found is not None and found != before.get(name)
            if edited and not force:
                kept.append(name)
                continue
            _write(self.path / name, text)
            (new if found is None else changed).append(name)
        for name in sorted(before.keys() - files.keys()):
            found = _checksum_of(self.path / name)
            if found == before[name] or (force and found is not None):
                (self.path / name).unlink()
                removed.append(name)
            elif found is not None:
                kept.append(name)
        self._write_record(self.path, files)
        return Written(tuple(new), tuple(changed), tuple(kept), tuple(removed))

    def _read_record(self) -> dict[str, str]:
        path = self.path / _RECORD
        try:
            found = json.loads(path.read_text(encoding="utf-8"))["files"]
            inside = {name: value for name, value in found.items() if _is_inside(name)}
            return {name: str(value) for name, value in inside.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise UserError(
                f"{path}: damaged ({error}), so your edits cannot be detected; write to "
                "another directory"
            ) from error

    def _write_record(self, folder: Path, files: Mapping[str, str]) -> None:
        record = {"files": {name: _checksum(text) for name, text in sorted(files.items())}}
        write_text_atomic(folder / _RECORD, json.dumps(record, indent=1) + "\n")


def _write(path: Path, text: str) -> None:
    write_text_atomic(path, text)
    if path.suffix in _SCRIPTS:
        path.chmod(path.stat().st_mode | 0o111)


def _is_inside(name: str) -> bool:
    """Whether a name of a record stays in the folder."""
    return not Path(name).is_absolute() and ".." not in Path(name).parts


def _checksum(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def _checksum_of(path: Path) -> str | None:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return None
