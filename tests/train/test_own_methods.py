"""A matcher and a loss that live outside of the package do all that built-in ones can."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

pytest.importorskip("espnet2")
from distill_asr import cli
from distill_asr.targets.integrity import write_checksums
from distill_asr.testing.codebooks import write_codebooks
from distill_asr.train.checks import check_config
from distill_asr.train.config import TrainConfig

CODE = '''
import torch
from torch import nn

from distill_asr.distill.contracts import CODES, POSTERIORS, Loss, Matcher
from distill_asr.distill.states import Pairs

SEEN = {}


class Spread(Matcher):
    """Pairs each code vector with two student frames, of which the better one counts."""

    takes = (CODES,)
    reads_text = True
    has_tokens = True

    def __init__(self, hops: int = 1):
        super().__init__()
        if hops < 1:
            raise ValueError(f"hops must be 1 or more, not {hops}")
        self.hops = hops

    def fit(self, student, teacher):
        self.scale = nn.Parameter(torch.ones(student.width))

    def paired_width(self, teacher_width, student_step_ms, teacher_step_ms):
        return teacher_width

    def check(self):
        SEEN["checked"] = True

    def survey(self, texts):
        return f"own survey of {len(texts)} sentences"

    def forward(self, student, teacher, context):
        assert not teacher.values.is_floating_point()
        SEEN["texts"], SEEN["tokens"] = list(context.texts), list(context.tokens)
        count = torch.minimum(student.lengths, teacher.lengths // 2) - self.hops
        steps = torch.arange(student.values.size(1), device=count.device)
        utterance, time = torch.nonzero(steps < count.unsqueeze(1), as_tuple=True)
        both = torch.arange(len(time), device=count.device)
        utterance, time, which = utterance.repeat(2), time.repeat(2), both.repeat(2)
        late = torch.arange(2, device=count.device).repeat_interleave(len(both)) * self.hops
        return Pairs(
            student.values[utterance, time + late] * self.scale,
            teacher.values[utterance, 2 * time],
            utterance,
            tokens=context.token_ids[utterance, 0],
            alternatives=which,
            weight=torch.full((len(which),), 0.5),
        )


class FirstCode(Loss):
    """Cross-entropy of codes, and a parameter of its own."""

    reads = CODES
    needs_tokens = True

    def __init__(self, temperature: float = 1.0):
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(()))
        self.temperature = temperature

    def input_width(self, paired_width, classes):
        return paired_width * classes

    def forward(self, student, teacher, tokens):
        SEEN["pairs"] = len(tokens)
        codes = teacher.size(1)
        logits = student.unflatten(1, (codes, -1)).transpose(1, 2) / self.temperature + self.bias
        return nn.functional.cross_entropy(logits, teacher, reduction="none").mean(1)


class Blind(Matcher):
    takes = (POSTERIORS,)
    only_tap = "ctc"

    def forward(self, student, teacher, context):
        raise NotImplementedError
'''


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Name of a module in reach that is no part of the package."""
    (tmp_path / "own_method_for_test.py").write_text(CODE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "own_method_for_test", raising=False)
    return "own_method_for_test"


def with_blocks(config: Path, **blocks: dict) -> Path:
    content = yaml.safe_load(config.read_text())
    config.write_text(yaml.safe_dump(content | {"distill": blocks}))
    return config


def own_block(own: str, **changes: object) -> dict:
    names = {"match": f"{own}.Spread", "loss": f"{own}.FirstCode"}
    return {"teacher": "one", "tap": "encoder", **names, **changes}


def as_codes_of_a_text_teacher(recipe) -> None:
    """Dump teacher ``one`` anew: codes, of somebody who read the transcripts."""
    for path in (recipe.train_set, recipe.dev_set):
        shutil.rmtree(path / "targets/one")
        codec = write_codebooks(path / "targets/one", 6)
        recipe.dump(path, "one", codec=codec)
        file = path / "targets/one/manifest.json"
        content = yaml.safe_load(file.read_text())
        content["source"]["text"] = "text"
        file.write_text(json.dumps(content))
        index = (file.parent / "targets.scp").read_text(encoding="utf-8")
        write_checksums(file.parent, {file.name: file.read_text(), "targets.scp": index})


def test_codes_texts_tokens_alternatives_weights_and_parameters(
    recipe, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_codes_of_a_text_teacher(recipe)
    # made-up targets of audio with a text; whether they are stale is another test's business
    monkeypatch.setattr("distill_asr.train.requirements.check_targets", lambda *a, **o: [])
    block = own_block(own, match_conf={"hops": 2}, weight=0.5)
    config = with_blocks(recipe.config("ctc", ["one"]), own=block)
    exp = recipe.train(config, "exp")

    seen = sys.modules[own].SEEN
    assert seen["checked"] and seen["pairs"] > 0
    assert seen["texts"] and all(seen["texts"]) and len(seen["tokens"]) == len(seen["texts"])
    log = (exp / "train.log").read_text()
    assert "distill.own: own survey of 4 sentences" in log and "distill/own=" in log
    saved = torch.load(exp / "1epoch.pth", weights_only=True)
    assert (saved["distillers.own.matcher.scale"] != 1).any(), "trained with the student"
    assert saved["distillers.own.loss.bias"].shape == ()
    assert saved["distillers.own.head.weight"].shape == (4 * 256, 16)


def test_what_own_classes_declare_is_checked(recipe, own: str) -> None:
    def problems(**blocks: dict) -> list[str]:
        config = yaml.safe_load(with_blocks(recipe.config("ctc", ["one"]), **blocks).read_text())
        try:
            check_config(TrainConfig.parse(config, "a"))
        except Exception as error:
            return error.problems
        return []

    assert problems(x=own_block(own)) == []
    (problem,) = problems(x=own_block(own, match_conf={"hops": 0}))
    assert "distill.x.match_conf: hops must be 1 or more, not 0" in problem
    (problem,) = problems(x=own_block(own, loss="l1"))
    assert f"distill.x.match: '{own}.Spread' pairs codes, and loss 'l1' reads vectors" in problem
    wrong = problems(x=own_block(own, match=f"{own}.Blind", loss="l1"))
    assert ["pairs posteriors" in wrong[0], "pairs 'ctc'" in wrong[1]] == [True, True]
    (problem,) = problems(x=own_block(own, match="frame"))
    assert "compares the tokens of pairs" in problem


def test_validate_takes_own_classes_too(recipe, own: str) -> None:
    config = with_blocks(recipe.config("ctc", ["one"]), own=own_block(own))
    assert cli.main(["validate", str(config)]) == 0
