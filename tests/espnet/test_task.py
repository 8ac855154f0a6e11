"""Students from a namespace of arguments, as ESPnet's training and decoding make them."""

import argparse
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from espnet2.asr_transducer.decoder.abs_decoder import AbsDecoder
from espnet2.train import dataset
from espnet2.train.abs_espnet_model import AbsESPnetModel
from espnet2.train.trainer import Trainer

from distill_asr.distill.block import by_tap
from distill_asr.distill.facts import TeacherFacts, TeacherRecord
from distill_asr.errors import UserError
from distill_asr.espnet import plugin as espnet_plugin
from distill_asr.espnet.plugin import FRONTENDS, PREDICTORS, STUDENTS, ASRTask
from distill_asr.espnet.task import DistillTask, build_untrained, sampling_rate
from distill_asr.espnet.trainer import DistillTrainer
from distill_asr.models.students.base import Student
from distill_asr.testing.codebooks import random_codebooks
from distill_asr.testing.fixtures import TOKENS, tiny_config, write_tokens
from distill_asr.testing.students import tiny_batch

BLOCK = {"teacher": "w", "tap": "encoder:1", "loss": "l1", "weight": 0.5}


def arguments(config: dict[str, Any], **changes: Any) -> argparse.Namespace:
    """As ESPnet's ``main`` has them after parsing."""
    parser = DistillTask.get_parser()
    parser.set_defaults(**config, **changes)
    return parser.parse_args([])


@pytest.mark.parametrize("model", ["ctc", "encoder_only", "transducer"])
def test_a_student_with_its_distillers(model: str) -> None:
    config = tiny_config(model, distill={"x": BLOCK, "pick": "random"})
    args = arguments(config, distill_teachers={"w": {"width": 4, "step_ms": 20.0}})
    student = DistillTask.build_model(args)
    assert type(student) is STUDENTS[model]
    distiller = student.distillers["x"]
    assert distiller.options.weight == 0.5
    assert distiller.head.weight.shape == (8, 16), "two teacher frames a student frame"
    assert student.pick == "random"
    assert student.taps.shapes["encoder:1"].step_ms == 40
    loss, stats, _ = student(**tiny_batch(teachers={"w": 4}))
    assert bool(torch.isfinite(loss)) and "distill/x" in stats


def test_several_blocks_may_share_a_teacher_and_a_tap() -> None:
    blocks = {"x": BLOCK, "y": BLOCK | {"loss": "cosine", "tap": "encoder"}, "z": BLOCK}
    args = arguments(
        tiny_config("encoder_only", distill=blocks),
        distill_teachers={"w": {"width": 4, "step_ms": 40.0}},
    )
    student = DistillTask.build_model(args)
    stats = student(**tiny_batch(teachers={"w": 4}, step_ms=40.0))[1]
    assert {"distill/x", "distill/y", "distill/z"} <= set(stats)


def test_several_taps_learn_a_mixture_of_several_layers() -> None:
    block = {"teacher": "w", "tap": ["encoder:1", "encoder"], "loss": "mse", "weight": 0.5}
    blocks = by_tap({"x": block | {"layers": {3: 1, 9: 3}, "learn_layers": True}})
    records = {"w": {"width": 12, "step_ms": 40.0, "layers": [3, 6, 9]}}
    args = arguments(tiny_config("encoder_only", distill=blocks), distill_teachers=records)
    student = DistillTask.build_model(args)
    loss, stats, _ = student(**tiny_batch(teachers={"w": 12}, step_ms=40.0))
    loss.backward()
    for tap in block["tap"]:
        distiller = student.distillers[f"x@{tap}"]
        assert distiller.weight() == 0.25
        assert distiller.head.weight.shape == (4, 16), "as wide as one layer"
        assert bool(distiller.mixture.logits.grad.any())
        assert stats[f"distill/x@{tap}/layer9"] == pytest.approx(0.75)


@pytest.mark.parametrize(
    "changes",
    [
        {"distill": {"x": BLOCK}},  # as in decoding: no facts about teachers
        {"distill": {}, "distill_teachers": {"w": {"width": 4, "step_ms": 20.0}}},
        {
            "distill": {"x": BLOCK},
            "distill_teachers": {"w": {"width": 4, "step_ms": 20.0}},
            "collect_stats": True,
        },
    ],
)
def test_a_plain_student_where_nothing_can_be_distilled(changes: dict[str, Any]) -> None:
    student = DistillTask.build_model(arguments(tiny_config("ctc") | changes))
    assert not any(name.startswith("distillers") for name in student.state_dict())
    student(**tiny_batch(teachers={"none": 1}))


def test_rates_that_do_not_fit_are_found_before_training() -> None:
    args = arguments(
        tiny_config(distill={"x": BLOCK}), distill_teachers={"w": {"width": 4, "step_ms": 30.0}}
    )
    with pytest.raises(UserError, match=r"distill.x: .*not a whole multiple"):
        DistillTask.build_model(args)


def test_token_list_is_read_from_its_file_and_kept_in_the_config(tmp_path: Path) -> None:
    args = arguments(tiny_config("ctc", token_list=write_tokens(tmp_path / "tokens.txt")))
    student = DistillTask.build_model(args)
    assert args.token_list == TOKENS
    assert student.vocab_size == len(TOKENS)


def test_stage_one_needs_no_token_list() -> None:
    args = arguments(tiny_config("encoder_only", distill={}))
    assert args.token_list is None
    DistillTask.build_model(args)
    assert args.token_list is None


def test_joint_network_gets_its_arguments_and_the_config_stays() -> None:
    args = arguments(tiny_config("transducer", joint_net_conf={"joint_space_size": 5}))
    student = DistillTask.build_model(args)
    assert student.joint_network.lin_out.in_features == 5
    assert "joint_net_conf" not in args.model_conf


def test_building_is_reproducible_with_or_without_distillers() -> None:
    def build(**changes: Any) -> Student:
        torch.manual_seed(0)
        return build_untrained(tiny_config("ctc") | changes)

    plain = build().state_dict()
    taught = build(
        distill={"x": BLOCK}, distill_teachers={"w": {"width": 4, "step_ms": 20.0}}
    ).state_dict()
    assert all(torch.equal(taught[name], value) for name, value in plain.items())


def test_an_untrained_student_needs_no_files() -> None:
    student = build_untrained(tiny_config("ctc", token_list="not/there/yet.txt"))
    assert student.tap_names() == ["encoder", "encoder:1", "encoder:2", "ctc", "decoder"]


# -- facts -------------------------------------------------------------------------


def test_facts_of_a_teacher(tmp_path: Path) -> None:
    assert TeacherRecord(4, None).load() == TeacherFacts(4, None)
    mean, std = np.arange(4.0), np.arange(1.0, 5.0)
    np.savez(tmp_path / "s.npz", mean=mean, std=std)
    facts = TeacherRecord(4, 20.0, str(tmp_path / "s.npz")).load()
    assert (facts.width, facts.step_ms) == (4, 20.0)
    assert facts.mean.dtype == facts.std.dtype == torch.float32
    assert facts.mean.tolist() == mean.tolist() and facts.std.tolist() == std.tolist()


def test_facts_of_a_teacher_of_codes(tmp_path: Path) -> None:
    books = random_codebooks(width=4, count=2)
    (tmp_path / "books").write_bytes(books.to_bytes())
    facts = TeacherRecord(4, 20.0, codebooks=str(tmp_path / "books")).load()
    assert facts.codebooks.sha256 == books.sha256 and facts.mean is None


def test_a_student_of_codes_and_of_an_online_teacher(tmp_path: Path) -> None:
    (tmp_path / "books").write_bytes(random_codebooks(width=4, count=2).to_bytes())
    config = tiny_config(
        "encoder_only",
        distill={"x": BLOCK | {"loss": "codebook"}, "y": BLOCK | {"teacher": "t.yaml"}},
    )
    online = {"path": "t.yaml", "kind": "speech", "model": "not/there", "layers": [2]}
    facts = {
        "w": {"width": 4, "step_ms": 20.0, "codebooks": str(tmp_path / "books")},
        "t.yaml": {"width": 3, "step_ms": 40.0, "online": online},
    }
    student = DistillTask.build_model(arguments(config, distill_teachers=facts))
    assert student.distillers["x"].head.weight.shape == (2 * 2 * 256, 16)
    assert student.distillers["y"].head.weight.shape == (3, 16)
    assert student.online["t.yaml"].config.layers == (2,), "and its model is not looked for yet"


@pytest.mark.parametrize(
    ("conf", "rate"),
    [
        ({}, 16000),
        ({"fs": 8000}, 8000),
        ({"fs": "16k"}, 16000),
        ({"fs": "44.1K"}, 44100),
        ({"fs": "8000"}, 8000),
        (None, 16000),
    ],
)
def test_sampling_rate(conf: dict | None, rate: int) -> None:
    assert sampling_rate(argparse.Namespace(frontend_conf=conf)) == rate


# -- ESPnet's registries -------------------------------------------------------------


def test_registering_again_changes_nothing() -> None:
    choices = [espnet_plugin.asr.model_choices, espnet_plugin.asr.decoder_choices]
    before = [dict(choice.classes) for choice in choices]
    espnet_plugin.register()
    assert [choice.classes for choice in choices] == before
    assert set(STUDENTS) <= set(before[0]) and set(PREDICTORS) <= set(before[1])
    assert "teacher_targets" in dataset.DATA_TYPES


def test_our_classes_are_of_the_kind_espnet_asks_for() -> None:
    assert all(issubclass(found, AbsESPnetModel) for found in STUDENTS.values())
    assert all(issubclass(found, AbsFrontend) for found in FRONTENDS.values())
    assert all(issubclass(found, AbsDecoder) for found in PREDICTORS.values())


def test_espnets_own_task_is_left_as_it_was() -> None:
    assert ASRTask.trainer is Trainer
    assert DistillTask.trainer is DistillTrainer
    assert "distill" not in {action.dest for action in ASRTask.get_parser()._actions}
    assert "token_list" in ASRTask.get_parser().get_default("required")
    assert "token_list" not in DistillTask.get_parser().get_default("required")


def test_data_names() -> None:
    assert DistillTask.required_data_names() == ("speech",)
    assert "text" in DistillTask.optional_data_names()


IMPORT = """
import contextlib, io, sys
import nltk
asked = []
nltk.download = lambda *args, **kwargs: asked.append(args)
import distill_asr.espnet.task
assert not asked, asked
assert not hasattr(sys.modules["espnet2.train.trainer"].Trainer.run, "__wrapped__")
found = {"transformers", "scipy.signal", "h5py", "hydra", "sympy"} & set(sys.modules)
assert not found, found
import espnet2.layers.create_adapter as adapters  # the real one again
assert adapters.create_adapter_fn_table
from espnet2.utils.types import str2bool  # works when it is used
assert str2bool("yes") and not str2bool("no")
import espnet2.train.preprocessor as preprocessor
assert len(preprocessor.scipy.signal.get_window("hann", 8)) == 8
from espnet2.asr.encoder.beats_encoder import Wav2Vec2ConformerConfig as Config
assert Config(hidden_size=8).hidden_size == 8
import transformers  # and is nobody's stand-in
assert issubclass(transformers.Wav2Vec2ConformerConfig, transformers.PreTrainedConfig)
"""


def test_import_of_espnet_downloads_and_prints_nothing() -> None:
    run = subprocess.run([sys.executable, "-c", IMPORT], capture_output=True, text=True)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")


def missing(*args: object, **kwargs: object) -> None:
    raise LookupError
