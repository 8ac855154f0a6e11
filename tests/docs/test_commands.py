"""Every command of the Markdown is one that exists, with options that exist."""

from __future__ import annotations

import argparse
import importlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pages
import pytest
import yaml
from pages import PAGES, ROOT, Block, Command

from distill_asr import cli
from distill_asr.testing.fixtures import tiny_speech_teacher

COMMANDS = [command for page in PAGES for command in pages.commands(page)]
BASES = {  # what pages extend, seen from a recipe's conf/
    "cif.yaml": "../../../mini_homophones/asr1/conf/train_cif.yaml",
    "plain.yaml": "../../../commonvoice/asr1/conf/plain.yaml",
}
VERBS = [c for c in COMMANDS if "distill-asr" in c.words]


@pytest.mark.parametrize("command", VERBS, ids=str)
def test_verbs_take_their_options(command: Command) -> None:
    words = command.words[command.words.index("distill-asr") + 1 :]
    words = words[: words.index("|")] if "|" in words else words
    verb, *rest = words
    assert verb in cli.VERBS, command
    parser = argparse.ArgumentParser(prog=f"distill-asr {verb}")
    importlib.import_module(cli.VERBS[verb][0]).add_arguments(parser)
    if "..." not in rest:
        parser.parse_args(rest)  # ends with a usage message where the page is wrong


def test_make_has_its_targets() -> None:
    known = set(re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    asked = {word for c in COMMANDS if c.words[:1] == ["make"] for word in c.words[1:]}
    asked |= {word for page in PAGES for word in re.findall(r"`make ([\w-]+)", pages.prose(page))}
    assert {"mini", "test"} <= asked <= known


def test_scripts_are_there() -> None:
    dead = []
    for command in COMMANDS:
        for word in command.words[:2]:
            if re.fullmatch(r"[\w./-]+\.(py|sh)", word):
                folder = ROOT / command.page
                if word == "./run.sh" and not command.page.startswith("egs/"):
                    continue  # that of the reader's own recipe
                if not (folder.parent / word).exists() and not (ROOT / word).exists():
                    dead.append(str(command))
    assert not dead


def test_recipes_take_their_options() -> None:
    stages = [(ROOT / "egs/common" / name).read_text() for name in ("distill.sh", "languages.sh")]
    known = {option for text in stages for option in re.findall(r"^(\w+)=", text, re.MULTILINE)}
    unknown = []
    for command in COMMANDS:
        if re.fullmatch(r"\./run\w*\.sh", command.words[0]):
            options = [word[2:] for word in command.words if re.fullmatch(r"--\w+", word)]
            unknown += [f"{command}: --{option}" for option in options if option not in known]
    assert not unknown


@pytest.mark.parametrize("page", PAGES)
def test_yaml_blocks_can_be_read(page: str) -> None:
    for block in pages.blocks(page):
        if block.language == "yaml":
            assert isinstance(yaml.safe_load(block.text), (dict, list)), block


def _distilling() -> Iterator[object]:
    for page in sorted({*PAGES} - {"CONTRIBUTING.md"}):  # has a test of its own
        for block in pages.blocks(page):
            if block.language == "yaml" and re.search(r"^distill:", block.text, re.MULTILINE):
                yield pytest.param(block, id=f"{page}:{block.line}")


@pytest.mark.parametrize("block", _distilling())
def test_blocks_of_distillers_are_valid(
    block: Block, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a file of the recipe that has what the block extends."""
    text = block.text
    base = re.search(r"^extends: (\S+)", text, re.MULTILINE)
    name = base[1] if base else "student/transducer_1m.yaml"
    for part in ("conf", "egs/mini_homophones/asr1/conf", "egs/commonvoice/asr1/conf"):
        shutil.copytree(ROOT / part, tmp_path / part)
    page = tmp_path / "egs/mine/asr1/conf/page.yaml"
    shutil.copytree(ROOT / "egs/mini/asr1/conf", page.parent)
    if name in BASES:
        (page.parent / name).write_text(f"extends: {BASES[name]}\n", encoding="utf-8")
    if base is None:
        text = f"extends: {name}\n{text}"
    if name == "plain.yaml":  # its pretrained model is made by the recipe
        text += f"\nencoder_conf: {{model: {tiny_speech_teacher(tmp_path / 'model')}}}\n"
    for name, content in pages.files(block.page):
        if "distill:" not in content:
            file = page.parents[1] / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content, encoding="utf-8")
    page.write_text(text, encoding="utf-8")
    monkeypatch.chdir(page.parents[1])
    assert cli.main(["validate", str(page)]) == 0
