"""Build the documentation as a site: python tools/build_docs.py [OUT]

The pages lie where readers of the repository look for them (README.md, docs/, egs/*/asr1/, bench/).
This collects them, and the files that they link to, in the same layout and lets MkDocs render them
in strict mode: a dead link or a page that stands in no menu is an error. It needs no network.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LINK = re.compile(r"\]\(([^)\s#]+)(#[^)\s]*)?\)")
CODE = re.compile(r"^```.*?^```|^    .*?$|`[^`\n]+`", re.MULTILINE | re.DOTALL)


def tracked_pages() -> list[Path]:
    """Markdown files of the repository, relative to its root."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    pages = [Path(line) for line in listed.stdout.splitlines()]
    return [page for page in pages if page.parts[0] != "tests" and (ROOT / page).exists()]


def linked_files(page: Path) -> set[Path]:
    """Files of the repository, other than pages, that a page links to."""
    text = CODE.sub("", (ROOT / page).read_text(encoding="utf-8"))
    found = set()
    for target, _ in LINK.findall(text):
        path = (ROOT / page).parent / target
        if ":" not in target and path.is_file() and path.suffix != ".md":
            found.add(path.resolve().relative_to(ROOT))
    return found


def collect(folder: Path) -> None:
    """Copy the pages and what they link to; README.md becomes the front page."""
    pages = tracked_pages()
    for path in sorted({*pages, *(file for page in pages for file in linked_files(page))}):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / path, target)


def build(out: Path) -> int:
    """Render into ``out``; the exit code of MkDocs."""
    with tempfile.TemporaryDirectory() as temporary:
        source = Path(temporary) / "source"
        collect(source)
        config = Path(temporary) / "mkdocs.yml"
        text = (ROOT / "docs/mkdocs.yml").read_text(encoding="utf-8")
        config.write_text(f"docs_dir: {source}\nsite_dir: {out.resolve()}\n{text}", "utf-8")
        command = [sys.executable, "-m", "mkdocs", "build", "--strict", "-f", str(config)]
        quiet = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}  # an announcement of the theme
        return subprocess.run(command, check=False, env=quiet).returncode


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("out", nargs="?", type=Path, default=ROOT / "site", help="folder to write")
    sys.exit(build(parser.parse_args().out))
