"""Mistakes that a user can mend: the one exception, the report of many, and hints for messages."""

import difflib
import errno
import os
from collections.abc import Iterable, Sequence

LINES_PER_KIND = 20  # of a report; the rest is counted
NAMED = 5  # how many utterances, or other items, a message names


class UserError(Exception):
    """All mistakes found in one go; printed without a traceback, exit code 1.

    Parameters
    ----------
    problems : one message, or several. Each names the file, the key or utterance, what was
        found, what was expected, and the way out.
    advice : one line for all of them, printed last.
    """

    def __init__(self, problems: str | Iterable[str], advice: str | None = None) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        self.advice = [] if advice is None else [advice]
        super().__init__("\n".join([*self.problems, *self.advice]))


class Problems:
    """Mistakes found so far, grouped by kind."""

    def __init__(self) -> None:
        self._by_kind: dict[str, list[str]] = {}

    def add(self, kind: str, message: str) -> None:
        """Add a message to those of its kind."""
        self._by_kind.setdefault(kind, []).append(message)

    def __len__(self) -> int:
        return sum(map(len, self._by_kind.values()))

    def of(self, kinds: Iterable[str]) -> list[str]:
        """Messages of some kinds."""
        return [message for kind in kinds for message in self._by_kind.get(kind, ())]

    def messages(self) -> list[str]:
        """At most ``LINES_PER_KIND`` lines a kind, then a count."""
        lines = []
        for kind, messages in self._by_kind.items():
            lines += [f"{kind}: {message}" for message in messages[:LINES_PER_KIND]]
            if len(messages) > LINES_PER_KIND:
                lines.append(f"{kind}: ... and {len(messages) - LINES_PER_KIND} more")
        return lines

    def all_messages(self) -> list[str]:
        """Every line of every kind."""
        return [f"{kind}: {one}" for kind, found in self._by_kind.items() for one in found]

    def raise_if_any(self) -> None:
        """Raise a UserError with all of them, if there are any."""
        if len(self):
            raise UserError(self.messages())


def nearest(name: object, allowed: Iterable[str]) -> str:
    """``, did you mean 'x'?`` or what is allowed, to end an error message with."""
    allowed = sorted(map(str, allowed))
    close = difflib.get_close_matches(str(name), allowed, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    return f"; allowed: {', '.join(allowed)}" if 0 < len(allowed) <= 30 else ""


def import_failure(error: Exception) -> str:
    """Why a user's own file could not be imported, to stand in brackets, and where it is sought."""
    reason = f"({type(error).__name__}: {error})"
    if isinstance(error, ModuleNotFoundError):
        reason += "; its folder has to be on the Python path: PYTHONPATH=FOLDER distill-asr ..."
    return reason


def named(utterances: Iterable[str]) -> str:
    """Count utterances and name the first few."""
    names = sorted(utterances)
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)} utterance(s) ({', '.join(names[:NAMED])}{more})"


def few(items: Sequence[str], separator: str = ", ", most: int = NAMED) -> str:
    """Join the first few items, and count the others."""
    more = f"{separator}and {len(items) - most} more" if len(items) > most else ""
    return separator.join(items[:most]) + more


_WAYS_OUT = {
    errno.ENOSPC: "make room, and run the same command again",
    errno.EDQUOT: "make room, and run the same command again",
    errno.EFBIG: "raise the limit on file sizes, and run the same command again",
    errno.EROFS: "choose a directory that can be written",
    errno.EACCES: "correct the permissions, or choose another place",
    errno.EPERM: "correct the permissions, or choose another place",
    errno.ENAMETOOLONG: "choose a shorter name, or shorter utterance ids",
    errno.ENOENT: "correct the path, or bring the file back",
    errno.EEXIST: "a file lies where a directory is needed; remove it, or choose another path",
    errno.ENOTDIR: "a file lies where a directory is needed; remove it, or choose another path",
    errno.EISDIR: "a directory lies where a file is needed; remove it, or choose another path",
    errno.EMFILE: "raise the limit on open files (`ulimit -n`)",
}


def os_error_message(error: OSError) -> str:
    """Path, reason and way out of a failure to read or write, in one line."""
    reason = error.strerror or str(error)
    path = error.filename if error.filename is not None else error.filename2
    where = f"{os.fsdecode(path)}: " if isinstance(path, (str, bytes)) else ""
    way_out = _WAYS_OUT.get(error.errno or 0)
    return f"{where}{reason}" + (f"; {way_out}" if way_out else "")
