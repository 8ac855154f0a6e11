"""The commands of the README and of docs run, one page after the other, on a miniature.

A page takes things for granted: data, configs, teachers, experiments of those names. ``Miniature``
makes each of them when a command first asks for it. Recipes' pages are run by the smoke recipes.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import numpy as np
import pages
import pytest
import soundfile
import yaml
from pages import Command

from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.io.yaml import load_config
from distill_asr.testing.fixtures import make_prepared_dir, tiny_config
from distill_asr.testing.language_models import save_language_model
from distill_asr.testing.sources import Recordings
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.text_models import save_text_model

RUN = [page for page in pages.PAGES if page == "README.md" or page.startswith("docs/")]
NOT_RUN = {  # beginnings of commands: why not
    "make ": "the targets are what CI runs",
    "pip ": "needs a package index",
    "hf ": "needs a network",
    "arecord": "needs a microphone; `stream` reads a file here, standard input in tests/decode",
    "PYTHONPATH=. distill-asr dump dump/train --teacher my_teacher.yaml": "tests/teachers/test_own",
    "distill-asr report": "tests/report run it; by language the smoke recipes do",
    "distill-asr demo": "serves until it is interrupted; tests/demo run it",
    "distill-asr score": "tests/scoring run it; the page's systems are trained by no page",
    "distill-asr recipe": "the smoke recipes run it",
    "distill-asr export": "tests/experiments/export runs it",
    "distill-asr init": "tests/start run it; the page's recordings are the reader's",
    "distill-asr plan": "tests/start run it, without measuring",
    "distill-asr pseudo-label --teacher": "tests/decode run it, with a tiny Whisper",
    "distill-asr stream --runtime onnx": "tests/decode run it, on an export",
    "python -m http.server": "serves until it is interrupted",
    "cd my_recipe": "the recipe of the command before",
    "./run.sh": "the smoke recipes run its stages",
    "cd deploy/": "an export's own directory, which tests/experiments/export makes",
}
RUN_HERE = {"docs/tutorial.md": ("distill-asr init",)}  # though it runs on no other page
LETTERS = "abcdefghijklmnopqrstuvwxyz"
STEPS = 40  # of the training of codebooks
TOKENS = ["<blank>", "<unk>", "<space>", *LETTERS, "<sos/eos>"]
HUB = {"bert-base-chinese": "models/bert"}  # what stands in for models of the hub


class Miniature:
    """A directory to run a page in."""

    def __init__(self, page: str) -> None:
        self.page = page
        self.made: dict[str, Callable[[Path], object]] = {
            "models/speech": lambda path: save_speech_model(path, num_hidden_layers=4),
            "exp/teachers/wavlm": lambda path: save_speech_model(
                path, "wavlm", num_hidden_layers=4
            ),
            "models/bert": lambda path: save_text_model(path, words=[*LETTERS, *_pieces()]),
            "exp/lm": lambda path: save_language_model(path, tokens=TOKENS),
            "exp/stream_seed1": lambda path: self._train(path, "conf/stream.yaml"),
            "exp/distilled_seed1": lambda path: self._train(path, "conf/student.yaml"),
            "recordings": _make_recordings,
            "radio": _make_recordings,
        }

    def get(self, name: str) -> str:
        """Make what has this name, if nothing has."""
        path = Path(name)
        if path.exists():
            return name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name in self.made:
            self.made[name](path)
        elif name.startswith(("data/", "dump/")):
            _make_data(path)
        elif name.startswith("conf/teacher/"):
            path.write_text(yaml.safe_dump(self._teacher(path.stem)), encoding="utf-8")
        elif name.startswith("conf/"):
            path.write_text(self._config(path.name), encoding="utf-8")
        elif name.startswith("exp/"):
            self._train(path)
        elif name.endswith(".wav"):
            samples = np.random.default_rng(0).normal(0, 0.1, 32000)
            soundfile.write(path, samples, 16000, subtype="PCM_16")
        return name

    def targets(self, data: str, teacher: str) -> None:
        """Dump a teacher's targets, if there are none."""
        if not (Path(data) / "targets" / teacher).exists():
            config = self.get(f"conf/teacher/{teacher}.yaml")
            assert cli.main(["dump", self.get(data), "--teacher", config, "--name", teacher]) == 0

    def _teacher(self, name: str) -> dict[str, object]:
        for file, content in pages.files(self.page):
            if file == f"conf/teacher/{name}.yaml":
                made = yaml.safe_load(content)
                if made.get("codec", {}).get("name") == "mvq":
                    made["codec"]["steps"] = STEPS
                self.get(made["model"])
                return made
        if "bert_base" in name or name in ("bert", "infoxlm", "infoxlm_base"):
            return {"kind": "text", "model": self.get("models/bert"), "layers": [3]}
        speech = {"kind": "speech", "model": self.get("models/speech"), "layers": [4]}
        if name.endswith("_mvq"):
            speech["codec"] = {"name": "mvq", "codebooks": 2, "steps": STEPS}
        return speech

    def _config(self, name: str) -> str:
        """The page's own YAML where it names one, or a tiny student."""
        for block in pages.blocks(self.page):
            named = f"# conf/{name}" in block.text.partition("\n")[0]
            only = {"pretrain_two.yaml", "both.yaml", "l2s.yaml"} & {name}
            if block.language == "yaml" and (named or only) and "extends: " in block.text:
                self.get("conf/" + yaml.safe_load(block.text)["extends"])
                return block.text
        if name in ("stream.yaml", "student.yaml"):
            return yaml.safe_dump(_streaming_config())
        model = "cif" if "cif" in name else "ctc" if name == "plain.yaml" else "transducer"
        config = tiny_config(model, token_list=TOKENS, batch_size=8)
        if name == "cif.yaml":  # the page's students write the teacher's pieces
            config |= {"token_type": "hugging_face", "bpemodel": self.get("models/bert")}
            config["token_list"] = "dump/tokens.txt"
        if name == "plain.yaml":
            config["token_list"] = "dump/tokens.txt"
        return yaml.safe_dump(config, sort_keys=False)

    def _train(self, path: Path, config: str = "conf/train_transducer.yaml") -> None:
        if path.name == "stage1":
            config = "conf/pretrain_two.yaml"
        words = ["--config", self.get(config), "--train", "dump/train", "--valid", "dump/dev"]
        self.supply("train", words)
        assert cli.main(["train", *words, "--output", str(path)]) == 0

    def supply(self, verb: str, words: list[str]) -> None:
        """Make what a command reads; what it writes is left to it."""
        written = words[1:2] if verb == "prepare" else []
        for option in ("--output", "--token-list", "--bpe-model"):
            written += _values(words, option)
        for word in words:
            if word not in written and not word.startswith("-"):
                if "/targets/" in word:
                    data, _, teacher = word.partition("/targets/")
                    self.targets(data, teacher)
                elif "/" in word or word.endswith(".wav") or word in self.made:
                    self.get(word)
        if verb == "train":
            config = load_config(_values(words, "--config"))
            for block in config.get("distill", {}).values():
                for data in [*_values(words, "--train"), *_values(words, "--valid")]:
                    self.targets(data, block["teacher"])


def _streaming_config() -> dict[str, object]:
    encoder = {
        "output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 1,
        "cnn_module_kernel": 3, "left_frames": 8, "chunk_size": 4,
    }  # fmt: skip
    return tiny_config("transducer", TOKENS, encoder="chunked", encoder_conf=encoder, batch_size=8)


def _pieces() -> list[str]:
    return [f"##{letter}" for letter in LETTERS]


def _values(words: list[str], option: str) -> list[str]:
    return [after for word, after in pairwise(words) if word == option]


def _make_data(path: Path) -> None:
    """Noise with words of all letters, slow enough for every student."""
    count = 40 if path.name == "train" else 3
    make_prepared_dir(path, utterances=count, seconds=(2.8, 3.0))
    data, rng = DataDir.read(path), np.random.default_rng(0)
    text = {key: " ".join(_word(rng) for _ in range(4)) for key in data.wav}
    (path / "text").write_text("".join(f"{k} {text[k]}\n" for k in sorted(text)), encoding="utf-8")


def _make_recordings(path: Path) -> None:
    """Four speakers and a table of what they read."""
    Recordings(path).table()


def _word(rng: np.random.Generator) -> str:
    return "".join(rng.choice(list(LETTERS), 4))


def _reason(command: Command) -> str | None:
    if command.text.startswith(RUN_HERE.get(command.page, ())):
        return None
    return next((NOT_RUN[start] for start in NOT_RUN if command.text.startswith(start)), None)


@pytest.mark.slow
@pytest.mark.parametrize("page", [p for p in RUN if any(True for _ in pages.commands(p))])
def test_page(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    miniature = Miniature(page)
    for command in pages.commands(page):
        if _reason(command):
            continue
        words = [HUB.get(word, word) for word in command.words]
        if words[0] == "distill-asr":
            verb, *rest = words[1:]
            miniature.supply(verb, rest)
            for stand_in in HUB.values():
                if stand_in in rest:
                    miniature.get(stand_in)
            assert cli.main([verb, *rest]) == 0, command
        else:
            for word in words:
                if word.startswith(("exp/", "dump/", "data/")):
                    miniature.get(word.rpartition("/text")[0] or word)
            subprocess.run(["bash", "-euc", command.text], check=True)


def test_reasons_are_for_commands_that_stand_somewhere() -> None:
    commands = [c.text for page in pages.PAGES for c in pages.commands(page)]
    optional = {"distill-asr recipe", "distill-asr export"}
    idle = [s for s in NOT_RUN if not any(c.startswith(s) for c in commands)]
    assert set(idle) <= optional
