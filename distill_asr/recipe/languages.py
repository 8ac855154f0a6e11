"""The same systems in many languages: a folder each, and the system chosen on dev."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from distill_asr.errors import UserError
from distill_asr.io.tables import read_utf8
from distill_asr.recipe.plan import Grid

ALL = "all"  # choose one system for all languages


def in_folders(grid: Grid, folders: list[Path]) -> list[Grid]:
    """The grid once in each folder; a folder is named after its language."""
    return [replace(grid, folder=folder) for folder in folders]


def with_chosen(grid: Grid, path: Path) -> Grid:
    """Also the system that ``distill-asr report --choose`` wrote down for the grid's folder.

    Parameters
    ----------
    grid : its folder is named after its language.
    path : the file of choices.

    Raises
    ------
    UserError : the file is missing or has no line for it.
    """
    choice = read_choice(path)
    language = grid.folder.name
    name = choice.get(language, choice.get(ALL))
    if name is None:
        raise UserError(f"{path}: no line for {language}; expected `{language} SYSTEM`")
    known = {system.name for system in grid.chosen}
    more = [one for one in grid.systems.chosen(name) if one.name not in known]
    return replace(grid, chosen=[*grid.chosen, *more])


def read_choice(path: Path) -> dict[str, str]:
    """System by language, or by ``all``.

    Raises
    ------
    UserError : the file cannot be read, or a line is no ``LANGUAGE SYSTEM``.
    """
    lines = read_utf8(path, f"`distill-asr report --choose {path}` writes it").splitlines()
    rows = [line.split() for line in lines if line.strip()]
    wrong = [" ".join(row) for row in rows if len(row) != 2]
    if wrong:
        raise UserError([f"{path}: {line!r}: expected `LANGUAGE SYSTEM`" for line in wrong])
    return dict(rows)
