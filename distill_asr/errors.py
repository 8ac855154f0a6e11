"""Mistakes that a user can mend: the one exception, the report of many, and hints for messages."""

import difflib
from collections.abc import Iterable

LINES_PER_KIND = 20  # of a report; the rest is counted
NAMED = 5  # how many utterances a message names


class UserError(Exception):
    """All mistakes found in one go; printed without a traceback, exit code 1.

    Parameters
    ----------
    problems : one message, or several. Each names the file, the key or utterance, what was
        found, what was expected, and the way out.
    """

    def __init__(self, problems: str | Iterable[str]) -> None:
        self.problems = [problems] if isinstance(problems, str) else list(problems)
        super().__init__("\n".join(self.problems))


class Problems:
    """Mistakes found so far, grouped by kind."""

    def __init__(self) -> None:
        self._by_kind: dict[str, list[str]] = {}

    def add(self, kind: str, message: str) -> None:
        """Add a message to those of its kind."""
        self._by_kind.setdefault(kind, []).append(message)

    def __len__(self) -> int:
        return sum(map(len, self._by_kind.values()))

    def messages(self) -> list[str]:
        """At most ``LINES_PER_KIND`` lines a kind, then a count."""
        lines = []
        for kind, messages in self._by_kind.items():
            lines += [f"{kind}: {message}" for message in messages[:LINES_PER_KIND]]
            if len(messages) > LINES_PER_KIND:
                lines.append(f"{kind}: ... and {len(messages) - LINES_PER_KIND} more")
        return lines

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


def named(utterances: Iterable[str]) -> str:
    """Count utterances and name the first few."""
    names = sorted(utterances)
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)} utterance(s) ({', '.join(names[:NAMED])}{more})"
