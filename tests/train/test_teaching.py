"""What a training takes from its teachers, and what it says when that is not there."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("espnet2")
from distill_asr.data.datadir import DataDir
from distill_asr.distill.facts import TeacherRecord
from distill_asr.errors import UserError
from distill_asr.targets.codebooks import Codebooks
from distill_asr.testing.codebooks import write_codebooks
from distill_asr.testing.fixtures import make_prepared_dir, write_targets
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.train.config import TrainConfig
from distill_asr.train.facts import write_teacher_records
from distill_asr.train.requirements import (
    list_targets,
    student_tokens,
    target_problems,
    wanted_targets,
)

BLOCK = {"teacher": "t", "tap": "encoder", "loss": "l1"}
SKIP = BLOCK | {"missing": "skip"}
CODES = BLOCK | {"loss": "codebook"}


def config(token_list: object = None, **blocks: Any) -> TrainConfig:
    keys = {"model": "encoder_only", "token_list": token_list}
    return TrainConfig.parse({**keys, "distill": blocks}, "a.yaml")


def prepared(path: Path, targets: bool = True, **options: Any) -> DataDir:
    make_prepared_dir(path, **options)
    if targets:
        write_targets(path, "t", width=4)
    return DataDir.read(path)


def problems(sets: list[DataDir], **blocks: Any) -> list[str]:
    (wanted,) = wanted_targets(config(**blocks))
    return target_problems(sets, wanted)


def test_teachers_by_name_and_by_file() -> None:
    mixed = config(x=BLOCK, y=BLOCK | {"teacher": "conf/u.yaml"}, z=BLOCK, off=None, pick="random")
    assert mixed.teachers == ["t"]
    assert mixed.online_teachers == ["conf/u.yaml"]
    for none in ({}, {"distill": "x"}, {"distill": {"x": {"tap": "encoder"}}}):
        assert TrainConfig.parse(none, "a.yaml").teachers == []


def test_what_several_blocks_want_of_one_teacher() -> None:
    (wanted,) = wanted_targets(config(x=SKIP, y=CODES | {"missing": "skip"}))
    assert (wanted.teacher, wanted.may_miss, wanted.codes) == ("t", True, ("y",))
    (wanted,) = wanted_targets(config(x=SKIP, y=BLOCK))
    assert not wanted.may_miss, "one block that needs them all is enough"


# -- layers --------------------------------------------------------------------------


def test_layers_that_targets_keep_apart_are_in_the_record_where_asked_for(tmp_path: Path) -> None:
    make_prepared_dir(tmp_path / "a")
    write_targets(tmp_path / "a", "t", width=4, layers=(2, 6), combine="stack")
    sets, chosen = [DataDir.read(tmp_path / "a")], BLOCK | {"layers": [6]}
    assert problems(sets, x=chosen, y=BLOCK) == []
    record = write_teacher_records(tmp_path / "exp", sets, [], config(x=chosen))["t"]
    assert record.layers == record.to_mapping()["layers"] == [2, 6]
    plain = write_teacher_records(tmp_path / "exp", sets, [], config(x=BLOCK))["t"]
    assert "layers" not in plain.to_mapping(), "side by side, as without this option"


@pytest.mark.parametrize(
    ("held", "block", "said"),
    [
        ({"layers": (2, 6), "combine": "stack"}, {"layers": [3]}, "layers: [3] not among those"),
        ({"layers": (2, 6), "combine": "mean"}, {"layers": [2]}, "hold the mean of layers [2, 6]"),
        ({"layers": (2,)}, {"learn_layers": True}, "hold layer 2 alone"),
        ({"layers": ()}, {"layers": [2]}, "this teacher has no hidden layers"),
    ],
)
def test_layers_that_targets_do_not_hold(
    tmp_path: Path, held: dict, block: dict, said: str
) -> None:
    make_prepared_dir(tmp_path / "a")
    write_targets(tmp_path / "a", "t", width=4, **held)
    several = BLOCK | block | {"tap": ["encoder", "encoder:1"]}
    (problem,) = problems([DataDir.read(tmp_path / "a")], x=several)
    assert "targets/t: distill.x." in problem and said in problem


def test_layers_of_an_online_teacher(online: "Online") -> None:
    assert online.facts(layers=[2]).layers == [2]
    with pytest.raises(UserError, match=r"distill.x.layers: \[1\] not among.*layers: \[1, 2\]"):
        online.facts(layers=[1])


# -- targets for some utterances only ------------------------------------------------


def test_a_set_without_targets_is_an_error_unless_it_may_be(tmp_path: Path) -> None:
    sets = [prepared(tmp_path / "a"), prepared(tmp_path / "b", targets=False)]
    (problem,) = problems(sets, x=BLOCK)
    assert str(tmp_path / "b/targets/t") in problem
    assert "distill-asr dump --teacher" in problem and "missing: skip" in problem
    assert problems(sets, x=SKIP) == []


def test_no_set_with_any_targets_is_an_error_all_the_same(tmp_path: Path) -> None:
    (problem,) = problems([prepared(tmp_path / "b", targets=False)], x=SKIP)
    assert "none of them has targets of teacher 't'" in problem


def test_an_unfinished_dump_is_an_error_all_the_same(tmp_path: Path) -> None:
    sets = [prepared(tmp_path / "a"), prepared(tmp_path / "b")]
    (tmp_path / "b/targets/t/manifest.json").unlink()
    for block in (BLOCK, SKIP):
        (problem,) = problems(sets, x=block)
        assert problem.startswith(f"{tmp_path / 'b/targets/t'}: an unfinished dump")


def test_a_set_dumped_in_part(tmp_path: Path) -> None:
    more = DataDir.read(make_prepared_dir(tmp_path / "a", utterances=5))
    more.select(sorted(more.wav)[:3]).write(tmp_path / "a")
    write_targets(tmp_path / "a", "t", width=4)
    more.write(tmp_path / "a")
    (problem,) = problems([more], x=BLOCK)
    assert "no targets for 2 utterance(s)" in problem
    assert problems([more], x=SKIP) == []


def test_targets_of_utterances_that_are_gone_are_an_error_all_the_same(tmp_path: Path) -> None:
    prepared(tmp_path / "a", utterances=5)
    make_prepared_dir(tmp_path / "a", utterances=3)
    (problem,) = problems([DataDir.read(tmp_path / "a")], x=SKIP)
    assert "targets for 2 utterance(s)" in problem


def test_the_list_counts_utterances_without_targets(tmp_path: Path) -> None:
    sets = [prepared(tmp_path / "a"), prepared(tmp_path / "b", targets=False, utterances=3)]
    make_prepared_dir(tmp_path / "a", utterances=6)
    sets[0] = DataDir.read(tmp_path / "a")
    (wanted,) = wanted_targets(config(x=SKIP))
    list_targets(tmp_path / "list", sets, wanted)
    listed = json.loads((tmp_path / "list").read_text())
    assert listed == {
        "directories": [str(tmp_path / "a/targets/t")],
        "may_miss": True,
        "utterances": 9,
        "without": 2 + 3,
    }


def test_facts_are_of_the_sets_that_have_targets(tmp_path: Path) -> None:
    sets = [prepared(tmp_path / "a"), prepared(tmp_path / "b", targets=False)]
    facts = write_teacher_records(tmp_path / "exp", sets, [], config(x=SKIP))["t"]
    assert (facts.width, facts.step_ms) == (4, 20.0)
    with np.load(facts.statistics) as arrays:
        assert arrays["mean"].shape == arrays["std"].shape == (4,)


# -- codes ---------------------------------------------------------------------------


def dumped_as_codes(path: Path, seed: int = 0) -> DataDir:
    make_prepared_dir(path)
    write_targets(path, "t", width=4, codec=write_codebooks(path / "targets/t", 4, seed=seed))
    return DataDir.read(path)


def test_a_loss_on_codes_needs_codes(tmp_path: Path) -> None:
    (problem,) = problems([prepared(tmp_path / "a")], x=BLOCK, y=CODES)
    assert problem.startswith("distill.y.loss: takes codes, but ")
    assert "holds vectors (codec fp32)" in problem and "name: mvq" in problem
    codes = dumped_as_codes(tmp_path / "b")
    assert problems([codes], x=BLOCK, y=CODES) == []


def test_codebooks_come_along(tmp_path: Path) -> None:
    sets = [dumped_as_codes(tmp_path / "dump/a"), dumped_as_codes(tmp_path / "dump/b")]
    facts = write_teacher_records(tmp_path / "exp", sets, [], config(x=CODES))["t"]
    found = Codebooks.load(facts.codebooks)
    assert (
        found.sha256 == Codebooks.load(tmp_path / "dump/a/targets/t/codebooks.safetensors").sha256
    )
    assert Path(facts.codebooks).parent == tmp_path / "exp/data"


def test_codes_of_different_codebooks_are_not_one_teacher(tmp_path: Path) -> None:
    sets = [dumped_as_codes(tmp_path / "dump/a"), dumped_as_codes(tmp_path / "dump2/b", seed=1)]
    with pytest.raises(UserError, match=r"teacher 't': .*not the same teacher"):
        write_teacher_records(tmp_path / "exp", sets, [], config(x=CODES))


# -- online --------------------------------------------------------------------------


class Online:
    """An online teacher's file, its model, and a set."""

    def __init__(self, root: Path) -> None:
        self.root, self.exp = root, root / "exp"
        save_speech_model(root / "model")
        self.yaml = root / "u.yaml"
        self.yaml.write_text(f"kind: speech\nmodel: {root / 'model'}\nlayers: [2]\nonline: true\n")
        self.data = prepared(root / "a", targets=False)

    def facts(self, *judged: DataDir, **more: Any) -> TeacherRecord:
        block = BLOCK | {"teacher": str(self.yaml)} | more
        return write_teacher_records(self.exp, [self.data], judged, config(x=block))[str(self.yaml)]


@pytest.fixture
def online(tmp_path: Path) -> Online:
    return Online(tmp_path)


def test_facts_of_an_online_teacher(online: Online, monkeypatch: pytest.MonkeyPatch) -> None:
    facts = online.facts()
    assert (facts.width, facts.step_ms) == (16, 20.0)
    assert facts.online["layers"] == [2] and facts.online["online"] is True
    with np.load(facts.statistics) as arrays:
        assert arrays["mean"].shape == (16,) and (arrays["std"] > 0).all()
    before = Path(facts.statistics).read_bytes()
    monkeypatch.setattr("distill_asr.train.facts.sample_statistics", None)
    assert online.facts() == facts, "measured once an experiment"
    assert Path(facts.statistics).read_bytes() == before


def test_other_weights_are_another_experiment(online: Online) -> None:
    first = Path(online.facts().statistics).read_bytes()
    shutil.rmtree(online.root / "model")
    save_speech_model(online.root / "model", seed=1)
    assert Path(online.facts().statistics).read_bytes() != first, "not begun yet"
    shutil.rmtree(online.root / "model")
    save_speech_model(online.root / "model", seed=2)
    (online.exp / "checkpoint.pth").touch()
    with pytest.raises(UserError, match="began with another teacher or other weights"):
        online.facts()


def test_audio_that_an_online_teacher_cannot_hear(online: Online) -> None:
    short = prepared(online.root / "short", targets=False, seconds=(0.01, 0.02), utterances=2)
    with pytest.raises(UserError) as caught:
        online.facts(short)
    (problem,) = caught.value.problems
    assert "short: 2 utterance(s)" in problem and "shorter than the teacher accepts, 400" in problem


# -- posteriors ----------------------------------------------------------------------

TOKENS = ("<blank>", "<unk>", "a", "b")
CTC = {"teacher": "t", "tap": "ctc", "match": "ctc", "loss": "kl"}
PATH = {"teacher": "t", "tap": "logits", "match": "path", "loss": "kl"}


def posterior_report(
    tmp_path: Path, block: dict, width: int, tokens: tuple | None, mine: tuple = TOKENS
) -> list[str]:
    """What is said of targets of that width over those tokens."""
    make_prepared_dir(tmp_path / "a")
    write_targets(tmp_path / "a", "t", width=width, tokens=tokens)
    (wanted,) = wanted_targets(config(list(mine), x=block))
    return target_problems([DataDir.read(tmp_path / "a")], wanted)


def test_posteriors_over_the_students_tokens(tmp_path: Path) -> None:
    assert posterior_report(tmp_path / "ctc", CTC, 4, TOKENS) == []
    assert posterior_report(tmp_path / "path", PATH, 3 + 4, TOKENS) == []


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        ((*TOKENS[:3], "c"), "number 3 is the first to differ, 'c' and 'b'"),
        (TOKENS[:3], "over 3 tokens, and the student has 4; number 3 is .* nothing and 'b'"),
        (None, "holds states, but this loss takes posteriors"),
    ],
)
def test_other_tokens_are_refused(tmp_path: Path, tokens: tuple | None, said: str) -> None:
    (problem,) = posterior_report(tmp_path, CTC, len(tokens or TOKENS), tokens)
    assert re.search(said, problem) and "distill.x" in problem and "targets/t" in problem


def test_paths_and_posteriors_are_not_taken_for_each_other(tmp_path: Path) -> None:
    (problem,) = posterior_report(tmp_path / "a", CTC, 3 + 4, TOKENS)
    assert "holds path; dump this teacher with `output: posteriors`" in problem
    (problem,) = posterior_report(tmp_path / "b", PATH, 4, TOKENS)
    assert "holds posteriors; dump this teacher with `output: path`" in problem


def test_the_students_tokens_are_read_from_their_file(tmp_path: Path) -> None:
    listed = tmp_path / "tokens.txt"
    listed.write_text("\n".join(TOKENS) + "\n")
    assert student_tokens(config(str(listed))) == TOKENS
    assert student_tokens(config("none/such")) == student_tokens(config()) == ()
