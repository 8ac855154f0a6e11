"""tools/build_docs.py: one site of the repository's pages, without a network."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A repository of three pages."""
    files = {
        "tools/build_docs.py": (ROOT / "tools/build_docs.py").read_text(encoding="utf-8"),
        "docs/mkdocs.yml": "site_name: it\nuse_directory_urls: false\n"
        "validation: {omitted_files: warn, anchors: warn}\n"
        "nav: [README.md, docs/a.md, egs/x/asr1/README.md]\n",
        "README.md": "# It\n\n[a](docs/a.md), [x](egs/x/asr1/README.md), [file](conf/a.yaml)\n",
        "docs/a.md": "# A\n\n## Part one\n\n[back](../README.md)\n",
        "egs/x/asr1/README.md": "# X\n\n[a](../../../docs/a.md#part-one)\n",
        "conf/a.yaml": "model: ctc\n",
    }
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    subprocess.run(["git", "init", "--quiet", str(tmp_path)], check=True)
    return tmp_path


def build(repository: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "tools/build_docs.py", "site"]
    return subprocess.run(command, cwd=repository, capture_output=True, text=True, check=False)


def test_pages_keep_their_places_and_links_lead_somewhere(repository: Path) -> None:
    done = build(repository)
    assert done.returncode == 0, done.stderr
    site = repository / "site"
    assert (site / "egs/x/asr1").is_dir() and (site / "conf/a.yaml").exists()
    for page in site.rglob("*.html"):
        for target in re.findall(r'href="([^"#:]+)(?:#[^"]*)?"', page.read_text(encoding="utf-8")):
            if page.name != "404.html":  # its links are absolute
                assert (page.parent / target).exists(), (page, target)


@pytest.mark.parametrize(
    "page, wrong",
    [("docs/a.md", "[no](nowhere.md)"), ("docs/a.md", "[no](../README.md#nowhere)")],
)
def test_a_dead_link_is_an_error(repository: Path, page: str, wrong: str) -> None:
    with (repository / page).open("a", encoding="utf-8") as file:
        file.write(wrong)
    done = build(repository)
    assert done.returncode != 0 and "nowhere" in done.stdout + done.stderr


def test_a_page_that_stands_in_no_menu_is_an_error(repository: Path) -> None:
    shutil.copyfile(repository / "docs/a.md", repository / "docs/b.md")
    done = build(repository)
    assert done.returncode != 0 and "b.md" in done.stdout + done.stderr
