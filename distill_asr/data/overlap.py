"""Outputs are never inputs: what a command writes must not be what it reads, through links too."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from distill_asr.errors import Problems


def check_overlap(inputs: Iterable[Path], outputs: Iterable[Path], problems: Problems) -> None:
    """Add a problem for every output that is one of the inputs.

    An output replaces the entry of its directory, so that entry counts, not what it may point to;
    an input is every link on the way to its content.

    Parameters
    ----------
    inputs : files that are read.
    outputs : files that will be written.
    problems : gets the messages.
    """
    read = {place: path for path in inputs for place in _places(path)}
    for path in outputs:
        place = _entry(path)
        if place in read:
            problems.add(
                "output is an input",
                f"{path} would be written, and is read as {read[place]}; give another DST",
            )


def _entry(path: Path) -> str:
    """The directory entry that a path names, its last part not followed if it is a link."""
    return os.path.join(os.path.realpath(path.parent), path.name)


def _places(path: Path) -> list[str]:
    """All entries from a path to its content."""
    places = [_entry(path)]
    while os.path.islink(places[-1]) and len(places) < 40:
        places.append(_entry(Path(places[-1]).parent / os.readlink(places[-1])))
    return places
