"""The one exception for mistakes a user can mend."""

from collections.abc import Iterable


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
