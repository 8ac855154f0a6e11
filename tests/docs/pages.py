"""The Markdown of the repository: its commands, code blocks and links."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MADE = {"data", "dump", "exp", "downloads", "langs", ".venv"}
PAGES = sorted(
    str(path.relative_to(ROOT))
    for pattern in (
        "*.md",
        "docs/*.md",
        "bench/*.md",
        "conf/**/*.md",
        "egs/**/*.md",
        "tests/**/*.md",
    )
    for path in ROOT.glob(pattern)
    if not MADE & set(path.relative_to(ROOT).parts)
)
PROGRAMS = (
    "distill-asr", "make", "./run.sh", "./run_hkd.sh", "bash", "python", "pip", ".venv/bin/",
    "local/", "hf", "ls", "printf", "cut", "arecord", "cd", "git", "pytest", "ruff",
)  # fmt: skip
VARIABLE = re.compile(r"^[A-Z_]+=\S*$")  # before a command


@dataclass(frozen=True)
class Block:
    """A block of code: its language, empty where none is given, and its text."""

    page: str
    line: int
    language: str
    text: str


@dataclass(frozen=True)
class Command:
    """A command as a page gives it."""

    page: str
    line: int
    text: str

    @property
    def words(self) -> list[str]:
        """What the shell makes of it; without variables set before it."""
        words = shlex.split(self.text, comments=True)
        while words and VARIABLE.match(words[0]):
            words = words[1:]
        return words

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def read(page: str) -> str:
    """The text of a page."""
    return (ROOT / page).read_text(encoding="utf-8")


def blocks(page: str) -> Iterator[Block]:
    """Fenced blocks and indented ones."""
    fence, start, lines = None, 0, []
    for number, line in enumerate([*read(page).splitlines(), ""], 1):
        if line.startswith("```") and fence is None:
            fence, start, lines = line[3:].strip(), number, []
        elif line.startswith("```"):
            yield Block(page, start, fence, "\n".join(lines))
            fence, lines = None, []
        elif fence is not None:
            lines.append(line)
        elif line.startswith("    "):
            start = start if lines else number - 1
            lines.append(line[4:])
        elif lines:
            yield Block(page, start, "", "\n".join(lines))
            lines = []


def commands(page: str) -> Iterator[Command]:
    """Lines of unlabelled blocks that begin with a program, continued ones joined."""
    for block in blocks(page):
        if block.language not in ("", "sh", "bash"):
            continue
        text = ""
        for number, line in enumerate(block.text.splitlines(), block.line + 1):
            text += line
            if text.endswith("\\"):
                text = text[:-1]
                continue
            first = next((word for word in text.split() if not VARIABLE.match(word)), "")
            if first.startswith(tuple(p for p in PROGRAMS if p.endswith("/"))) or first in PROGRAMS:
                yield Command(page, number, text.strip())
            text = ""


def files(page: str) -> Iterator[tuple[str, str]]:
    """YAML blocks that begin with the name of a file: ``# conf/teacher/recogniser.yaml``."""
    for block in blocks(page):
        named = re.match(r"# (conf/[\w./]+\.yaml)\b", block.text)
        if block.language == "yaml" and named:
            yield named[1], block.text


def prose(page: str) -> str:
    """A page without its blocks of code."""
    text = re.sub(r"^```.*?^```", "", read(page), flags=re.MULTILINE | re.DOTALL)
    return re.sub(r"^    .*$", "", text, flags=re.MULTILINE)


def sentences(page: str) -> Iterator[str]:
    """Sentences of paragraphs, list items and table cells; code in a line counts as one word."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", re.sub(r"`[^`]*`", "CODE", prose(page)))
    text = re.sub(r"^ *(?:[-*]|\d+\.) |^#+ .*$|^\|", "\n\n", text, flags=re.MULTILINE)
    for paragraph in re.split(r"\n\s*\n| \| |\|$", text, flags=re.MULTILINE):
        yield from re.split(r"(?<=[.!?:;])\s+(?=[A-Z*(\[])", " ".join(paragraph.split()))


def anchors(page: str) -> set[str]:
    """What its headings are called in links."""
    headings = re.findall(r"^#+ (.+)$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", h.lower()).strip().replace(" ", "-") for h in headings}
