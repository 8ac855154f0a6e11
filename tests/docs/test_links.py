"""What the Markdown points at is there: pages, headings, files, tests, names, figures."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pages
import pytest
from pages import PAGES, ROOT

EVERYWHERE = ("distill_asr/", "egs/", "docs/", "tests/", "tools/", "bench/")  # from the root


each_page = pytest.mark.parametrize("page", PAGES)


@each_page
def test_links(page: str) -> None:
    dead = []
    for target in re.findall(r"\]\(([^)\s]+)\)", pages.prose(page)):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (ROOT / page).parent / name if name else ROOT / page
        if not path.exists():
            dead.append(target)
        elif anchor and anchor not in pages.anchors(str(path.resolve().relative_to(ROOT))):
            dead.append(target)
    assert not dead


@each_page
def test_teachers_of_commands_are_there(page: str) -> None:
    """In the repository, or in a block of the page."""
    own = {name for name, _ in pages.files(page)}
    code = "\n".join(block.text for block in pages.blocks(page))
    named = set(re.findall(r"\bconf/teacher/\w+\.yaml", code)) - own
    assert not [name for name in named if not _in_a_recipe(page, name)]


@each_page
def test_paths(page: str) -> None:
    dead = []
    for quoted in re.findall(r"`([^`\n]+)`", pages.prose(page)):
        for word in quoted.split():
            word = word.split("::")[0].rstrip(",;:")
            if re.search(r"[<>{}$=]", word):
                continue  # a placeholder, or an option's value
            if (
                word.startswith(EVERYWHERE)
                and word not in NEW
                and not list(ROOT.glob(word.rstrip("/")))
            ):
                dead.append(word)
            if word.startswith("conf/") and not _in_a_recipe(page, word.rstrip("/")):
                dead.append(word)
    assert not dead


NEW = {"egs/mine/asr1/run.sh"}  # what a page tells the reader to write


def _in_a_recipe(page: str, word: str) -> bool:
    """Beside the page of a recipe, or at the root; for other pages in any recipe."""
    folders = [ROOT, (ROOT / page).parent]
    if not page.startswith("egs/"):
        folders += ROOT.glob("egs/*/asr1")
    return any(list(folder.glob(word)) for folder in folders)


@each_page
def test_modules_and_names(page: str) -> None:
    """``from distill_asr.a import b`` of Python blocks, and dotted paths in prose."""
    missing = []
    for block in pages.blocks(page):
        if block.language != "python":
            continue
        for node in ast.walk(ast.parse(block.text)):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("distill_asr"):
                missing += [f"{node.module}.{a.name}" for a in node.names
                            if not _defined(f"{node.module}.{a.name}")]  # fmt: skip
    for name in re.findall(r"`(distill_asr(?:\.\w+)+)", pages.prose(page)):
        if not _defined(name):
            missing.append(name)
    assert not missing


def _defined(name: str) -> bool:
    """Whether a dotted path leads to a module or to a name in one; nothing is imported."""
    path = ROOT / name.replace(".", "/")
    if path.is_dir() or path.with_suffix(".py").exists():
        return True
    module, _, last = name.rpartition(".")
    folder = ROOT / module.replace(".", "/")
    source = folder / "__init__.py" if folder.is_dir() else folder.with_suffix(".py")
    if not source.exists():
        return module.count(".") > 1 and _defined(module)  # an attribute of a class
    return bool(re.search(rf"\b{last}\b", source.read_text(encoding="utf-8")))


FIGURE = re.compile(r"(?<![\w./])\d+\.\d+(?![\w.]*\d)")


def test_figures_of_the_readme_stand_where_it_links_to() -> None:
    """A measured figure is measured once: another page has it, the README rounds it at most."""
    text = pages.prose("README.md")
    text = re.sub(r"## Installing.*", "", text, flags=re.DOTALL)
    text = re.sub(r"(torch|Python|Apache|wav2vec|w2v-BERT|Qwen)[- ]?\d[\d.]*", "", text)
    linked = re.findall(r"\]\(([^)\s#]+\.md)", text)
    known = [float(number) for page in linked for number in FIGURE.findall(pages.read(page))]
    unknown = []
    for figure in FIGURE.findall(text):
        decimals = len(figure.partition(".")[2])
        if not any(abs(float(figure) - one) <= 0.5001 * 10**-decimals for one in known):
            unknown.append(figure)
    assert not unknown


def test_the_table_of_the_readme_is_that_of_its_recipe() -> None:
    """Its columns are some of those of the recipe's first table."""
    readme = _first_table("README.md")
    results = _first_table("egs/human/asr1/RESULTS.md")
    assert len(readme) > 2
    for system, cells in readme.items():
        assert cells.items() <= results[system].items()


def _first_table(page: str) -> dict[str, dict[str, str]]:
    """Cells by row and column."""
    table = re.search(r"(?:^\|.*\n)+", pages.read(page), re.MULTILINE)
    assert table
    header, _, *rows = [
        [cell.strip() for cell in line.strip("|").split("|")] for line in table[0].splitlines()
    ]
    return {row[0]: dict(zip(header[1:], row[1:], strict=True)) for row in rows}


def test_no_page_is_left_out() -> None:
    assert {"README.md", "CONTRIBUTING.md", "docs/config.md"} <= set(PAGES)
    assert all(Path(ROOT / page).exists() for page in PAGES)
