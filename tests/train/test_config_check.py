"""Every mistake of a training config, in one report, before any data is touched."""

import argparse
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_asr.errors import UserError
from distill_asr.testing.fixtures import tiny_config
from distill_asr.train import validate_command as validate
from distill_asr.train.checks import check_config
from distill_asr.train.config import TrainConfig

BLOCK = {"teacher": "t", "tap": "encoder", "loss": "l1"}


def problems_of(config: dict) -> list[str]:
    """The report without the file name at the head of each line."""
    try:
        check_config(TrainConfig.parse(config, "a.yaml"))
    except UserError as error:
        assert all(problem.startswith("a.yaml: ") for problem in error.problems)
        return [problem.removeprefix("a.yaml: ") for problem in error.problems]
    return []


def with_block(**changes: Any) -> dict:
    block = {key: value for key, value in (BLOCK | changes).items() if value != "absent"}
    return tiny_config(distill={"x": block})


@pytest.mark.parametrize(
    "config",
    [
        tiny_config("ctc"),
        tiny_config("ctc", decoder=None, decoder_conf={}, model_conf={"ctc_weight": 1.0}),
        tiny_config("encoder_only"),
        tiny_config("transducer"),
        tiny_config("transducer", decoder="lstm", decoder_conf={"hidden_size": 8}),
        tiny_config(normalize="global_mvn"),
        tiny_config(normalize="global_mvn", normalize_conf={"stats_file": "stats.npz"}),
        tiny_config(specaug="specaug", specaug_conf={"time_mask_width_range": [0, 5]}),
        tiny_config(optim_conf={"lr": 0.1, "betas": [0.9, 0.98]}),
        tiny_config(best_model_criterion=[["valid", "cer_ctc", "min"], ["valid", "loss", "min"]]),
        tiny_config(scheduler="warmuplr", scheduler_conf={"warmup_steps": 10}),
        tiny_config(distill={"pick": "random", "x": BLOCK, "y": BLOCK | {"tap": "encoder:2"}}),
        tiny_config(distill={"x": BLOCK, "off": None}),
        with_block(loss="distill_asr.distill.losses.MSE", loss_conf={"reduce_dim": "sum"}),
        with_block(head="mlp", head_conf={"hidden_size": 4}, match_conf={"delay": 80}),
        with_block(head="distill_asr.distill.heads.LinearHead", weight=2, reduce="pair"),
        with_block(loss="codebook", head="mlp", missing="skip"),
        with_block(loss="codebook", match_conf={"reduction": "resample", "interpolate": "nearest"}),
        with_block(match="token", loss="contrastive", loss_conf={"mask_same_token": True}),
        with_block(tap=["encoder", "encoder:1"], layers={6: 1, 12: 0.5}, learn_layers=True),
        with_block(learn_layers=True),
        with_block(layers=[6]),
    ],
)
def test_good_configs(config: dict) -> None:
    assert problems_of(config) == []


MISTAKES: list[tuple[dict, str]] = [
    # keys and options
    (tiny_config(encodr="conformer"), "encodr: unknown key; did you mean 'encoder'?"),
    (tiny_config(max_epoch="3"), "max_epoch: expected int, found '3' (text: write 3)"),
    (tiny_config(max_epoch=2.5), "max_epoch: expected int, found 2.5"),
    (tiny_config(grad_clip="1e1"), "grad_clip: expected float, found '1e1' (text: write 10.0)"),
    (tiny_config(batch_type="sort"), "batch_type: 'sort'; did you mean 'sorted'?"),
    (tiny_config(use_amp="yes"), "use_amp: expected bool, found 'yes' (text)"),
    (
        tiny_config(best_model_criterion=[["valid", "cer_ctc", "min"]]),
        "lacks ['valid', 'loss', 'min'], by which valid.loss.ave.pth is averaged; add it.",
    ),
    # class names
    (tiny_config(encoder="conformr", encoder_conf={}), "did you mean 'conformer'?"),
    (tiny_config(frontend="kaldi_fbnk"), "frontend: 'kaldi_fbnk' is unknown; did you mean"),
    (tiny_config(optim="adma"), "optim: 'adma' is unknown"),
    (tiny_config(scheduler="warmup"), "scheduler: 'warmup' is unknown; did you mean 'warmuplr'?"),
    (tiny_config() | {"model": "ctcc"}, "model: 'ctcc' is unknown; did you mean 'ctc'?"),
    (tiny_config() | {"model": "espnet"}, "model: 'espnet' is unknown; allowed: cif, ctc, enc"),
    (tiny_config() | {"model": ["ctc"]}, "model: ['ctc'] is unknown"),
    (tiny_config() | {"model": None}, "model: missing; allowed: cif, ctc, encoder_only"),
    (tiny_config(decoder=["transformer"]), "decoder: ['transformer'] is unknown"),
    # their arguments
    (tiny_config(encoder_conf={"num_block": 2}), "did you mean 'num_blocks'?"),
    (tiny_config(encoder_conf={"num_blocks": "2"}), "encoder_conf.num_blocks: expected int"),
    (tiny_config(encoder_conf={"input_size": 2}), "encoder_conf.input_size: ConformerEncoder"),
    (tiny_config(encoder_conf=[2]), "encoder_conf: expected a mapping, found [2]"),
    (tiny_config(frontend_conf={"n_mel": 2}), "frontend_conf.n_mel: KaldiFbank takes no such"),
    (tiny_config(optim_conf={"lr": "1e-3"}), "found '1e-3' (text: write 0.001)"),
    (tiny_config(optim_conf={"betas": [0.9]}), "optim_conf.betas: expected tuple["),
    (tiny_config(scheduler_conf={"warmup_steps": 2}), "scheduler_conf: given, but no scheduler"),
    (tiny_config(ctc_conf={"dropout": 0.1}), "ctc_conf.dropout: CTC takes no such argument"),
    (tiny_config(model_conf={"ctc_weight": "0.3"}), "model_conf.ctc_weight: expected float"),
    (tiny_config(model_conf={"encoder": 1}), "model_conf.encoder: CTCStudent takes no such"),
    (tiny_config("transducer", joint_net_conf={"size": 2}), "joint_net_conf.size: JointNetwork"),
    (tiny_config(normalize="global_mvn", normalize_conf={"stat_file": "x"}),
     "normalize_conf.stat_file: GlobalMVN takes no such argument; did you mean 'stats_file'?"),
    # what the classes themselves object to
    (tiny_config(frontend_conf={"window": "hamm"}), "cannot be built: ValueError: window: 'hamm'"),
    (tiny_config(specaug="specaug"), "cannot be built: ValueError: Either one of"),
    (tiny_config(decoder=None, decoder_conf={}), "cannot be built: AssertionError: decoder"),
    # what must fit together
    (tiny_config("transducer", decoder="rnn", decoder_conf={}), "a transducer needs a predictor"),
    (tiny_config("transducer", decoder=None, decoder_conf={}), "a transducer needs a predictor"),
    (tiny_config("ctc", decoder="lstm", decoder_conf={}), "'lstm' is a predictor; use model: tra"),
    (tiny_config() | {"token_list": None}, "token_list: missing"),
    (tiny_config("encoder_only", distill={"x": None}), "no other loss; add a block"),
    (tiny_config("encoder_only") | {"distill": None}, "no other loss; add a block"),
    # distillers
    (tiny_config(distill=[BLOCK]), "distill: expected named blocks, found [{"),
    (tiny_config(distill={"x": "l1"}), "distill.x: expected teacher, tap, loss ..., found 'l1'"),
    (tiny_config(distill={"pick": "one", "x": BLOCK}), "distill.pick: 'one'; allowed: all, random"),
    (with_block(teacher="absent"), "distill.x.teacher: missing"),
    (with_block(tap="absent"), "distill.x.tap: missing"),
    (with_block(loss="absent"), "distill.x.loss: missing"),
    (with_block(wieght=1.0), "distill.x.wieght: DistillBlock takes no such argument; did you"),
    (with_block(weight="1e-2"), "distill.x.weight: expected float | dict[str, Any], found '1e-2'"),
    (with_block(weight=True), "distill.x.weight: expected float | dict[str, Any], found True"),
    (with_block(weight={"value": 1, "fade": 0.5}), "distill.x.weight.fade: no such key; did you"),
    (with_block(teacher=5), "distill.x.teacher: expected str, found 5"),
    (with_block(reduce="token"), "distill.x.reduce: 'token'; allowed: pair, sum, utterance"),
    (with_block(missing="ignore"), "distill.x.missing: 'ignore'; allowed: error, skip"),
    (with_block(loss="codebook", match_conf={"reduction": "average"}),
     "distill.x.match: 'frame' pairs vectors, and loss 'codebook' reads codes; codes have no av"),
    (with_block(loss="codebook", match_conf={"reduction": "resample"}),
     "resample` with `interpolate: nearest`"),
    (with_block(loss="contrastive", loss_conf={"mask_same_token": True}),
     "distill.x.loss: 'contrastive' compares the tokens of pairs with these options, and `match"),
    (with_block(loss="codebook", match="shrink"), "distill.x.match: 'shrink' pairs vectors, and l"),
    (with_block(loss="codebook", loss_conf={"scale": 1}), "loss_conf.scale: Codebook takes no"),
    (with_block(loss="kl"), "distill.x.match: 'frame' pairs vectors or codes, and loss 'kl' rea"),
    (with_block(match="ctc", tap="ctc"), "distill.x.match: 'ctc' pairs posteriors, and loss 'l"),
    (with_block(loss="kl", match="ctc"), "distill.x.tap: 'encoder', but match 'ctc' pairs 'ctc'"),
    (with_block(loss="kl", match="ctc", tap="ctc", head="mlp"), "distill.x.head: 'mlp': poste"),
    (with_block(loss="kl", match="path", tap="logits"), "this student has no 'logits'"),
    (tiny_config("transducer", distill={"x": BLOCK | {"tap": "logits"}}),
     "distill.x.match: a transducer's logits are a lattice of frames and tokens, which 'fr"),
    (with_block(teacher="none.yaml"), "distill.x.teacher: none.yaml: no such file"),
    (with_block(standardise="no"), "distill.x.standardise: expected bool, found 'no' (text)"),
    (with_block(loss="cosin"), "distill.x.loss: unknown 'cosin'; did you mean 'cosine'?"),
    (with_block(match="frames"), "distill.x.match: unknown 'frames'; did you mean 'frame'?"),
    (with_block(head="liner"), "distill.x.head: unknown 'liner'; did you mean 'linear'?"),
    (with_block(loss=5), "distill.x.loss: expected str, found 5"),
    (with_block(loss_conf={"reduce": "sum"}), "distill.x.loss_conf.reduce: L1 takes no such"),
    (with_block(loss_conf={"reduce_dim": 5}), "distill.x.loss_conf.reduce_dim: expected str"),
    (with_block(loss_conf={"reduce_dim": "max"}), "distill.x.loss_conf: reduce_dim must be one of"),
    (with_block(loss_conf=[1]), "distill.x.loss_conf: expected"),
    (with_block(match_conf={"delay": -1}), "distill.x.match_conf: delay must be 0 ms or more"),
    (with_block(match_conf={"dely": 1}), "distill.x.match_conf.dely: FrameMatcher takes no such"),
    (with_block(head_conf={"bias": 3}), "distill.x.head_conf.bias: expected bool, found 3"),
    (with_block(head_conf={"input_size": 3}), "distill.x.head_conf.input_size: LinearHead takes"),
    (with_block(tap="encoder:3"), "distill.x.tap: this student has no 'encoder:3'; did you mean"),
    (with_block(tap="cif"), "distill.x.tap: this student has no 'cif'; allowed: ctc, decoder"),
    (with_block(tap=["encoder", "encoder"]), "distill.x.tap: expected str, found ['encoder', 'e"),
    (with_block(tap=["encoder", 3]), "distill.x.tap: expected str, found 3"),
    (with_block(tap=["encoder", "encoder:9"]), "distill.x.tap: this student has no 'encoder:9'"),
    (with_block(layers=[]), "distill.x.layers: []; expected numbers of layers from 0 on"),
    (with_block(layers=[2, 2]), "distill.x.layers: [2, 2]: a layer occurs twice"),
    (with_block(layers={2: 0.0, 4: 1}), "expected weights above 0"),
    (with_block(layers=12), "distill.x.layers: expected"),
    (with_block(layers=[4], learn_layers=True), "learn_layers: one layer has no weight to learn"),
    (with_block(loss="codebook", layers=[2]), "distill.x.layers: loss 'codebook' reads codes"),
    # users' own classes
    (with_block(loss="my_losses.Best"), "'my_losses.Best' cannot be imported (ModuleNotFoundError"),
    (with_block(loss="torch.nn.Nothing"), "'torch.nn.Nothing' cannot be imported (AttributeError"),
    (with_block(loss=".relative"), "distill.x.loss: '.relative' cannot be imported"),
    (with_block(loss="math.pi"), "distill.x.loss: 'math.pi' is not a class"),
    (with_block(loss="torch.nn.L1Loss"), "'torch.nn.L1Loss' is not a Loss; derive it from distill"),
    (with_block(match="distill_asr.distill.losses.MSE"), "is not a Matcher; derive it from distil"),
    (with_block(loss="distill_asr.distill.losses.MSE", loss_conf={"x": 1}),
     "loss_conf.x: MSE takes no"),
]  # fmt: skip


@pytest.mark.parametrize(("config", "said"), MISTAKES, ids=[said[:50] for _, said in MISTAKES])
def test_each_mistake_is_reported(config: dict, said: str) -> None:
    problems = problems_of(config)
    assert any(said in problem for problem in problems), problems


EFFECTS = [
    [[1.0, "speed_perturb", {"factor": 0.9}]],
    [[0.5, "lowpass", {}], [0.5, [[1.0, "time_stretch", {"factor": 0.9}]]]],
]


@pytest.mark.parametrize("effects", EFFECTS)
def test_effects_that_change_the_timing_are_refused_with_distillers_only(effects: list) -> None:
    conf = {"fs": 16000, "data_aug_effects": effects}
    (problem,) = problems_of(tiny_config(distill={"x": BLOCK}, preprocessor_conf=conf))
    assert "changes the timing, so dumped targets do not fit; remove it" in problem
    assert problems_of(tiny_config(preprocessor_conf=conf)) == []


def test_effects_that_keep_the_timing_are_welcome() -> None:
    conf = {"fs": 16000, "data_aug_effects": [[1.0, "lowpass", {"cutoff_freq": 1000}]]}
    assert problems_of(tiny_config(distill={"x": BLOCK}, preprocessor_conf=conf)) == []


def online_block(folder: Path, online: bool = True, **changes: Any) -> dict:
    """A block whose teacher's file is real; its model need not be there for the check."""
    path = folder / "t.yaml"
    path.write_text(f"kind: speech\nmodel: m\nlayers: [1]\nonline: {str(online).lower()}\n")
    return BLOCK | {"teacher": str(path)} | changes


def test_a_teacher_in_the_training_step(tmp_path: Path) -> None:
    def said(**changes: Any) -> list[str]:
        return problems_of(tiny_config(distill={"x": online_block(tmp_path, **changes)}))

    assert said() == []
    (problem,) = said(online=False)
    assert problem.startswith(f"distill.x.teacher: {tmp_path / 't.yaml'}: no `online: true`")
    (problem,) = said(missing="skip")
    assert problem.startswith(
        "distill.x.missing: an online teacher computes targets for every utterance"
    )
    (problem,) = said(loss="codebook")
    assert problem.startswith(
        "distill.x.loss: takes codes, which an online teacher does not compute"
    )


def test_a_text_teacher_in_the_training_step(tmp_path: Path) -> None:
    def said(kind: str = "text", **changes: Any) -> list[str]:
        path = tmp_path / "bert.yaml"
        path.write_text(f"kind: {kind}\nmodel: m\nlayers: [1]\nonline: true\n")
        block = {"teacher": str(path), "tap": "ctc", "match": "nbest", "loss": "cosine"} | changes
        return problems_of(tiny_config("ctc", distill={"x": block}))

    assert said() == []
    (problem,) = said(match="greedy", tap="encoder")
    assert problem.startswith(f"distill.x.teacher: {tmp_path / 'bert.yaml'}: kind: a text teacher")
    assert "cannot run in the training step with `match: greedy`" in problem
    for given in ({"kind": "speech"}, {"teacher": "bert"}):
        (problem,) = said(**given)
        assert "but `match: nbest` needs a text teacher that runs in the training step" in problem
    (problem,) = said(head="linear")
    assert problem.startswith("distill.x.head: 'linear': both sides of `match: nbest` are")
    (problem,) = said(learn_layers=True)
    assert problem.startswith("distill.x.learn_layers: both sides")
    (problem,) = said(tap="encoder")
    assert problem.startswith("distill.x.tap: 'encoder', but match 'nbest' pairs 'ctc'")


@pytest.mark.parametrize("effects", EFFECTS)
def test_a_teacher_in_the_step_hears_the_changed_timing_too(tmp_path: Path, effects: list) -> None:
    conf = {"fs": 16000, "data_aug_effects": effects}
    block = online_block(tmp_path)
    assert problems_of(tiny_config(distill={"x": block}, preprocessor_conf=conf)) == []
    (problem,) = problems_of(tiny_config(distill={"x": block, "y": BLOCK}, preprocessor_conf=conf))
    assert "changes the timing, so dumped targets do not fit; remove it" in problem


def test_time_warp_is_refused_beside_distillers() -> None:
    plain = tiny_config(specaug="specaug", specaug_conf={"apply_time_warp": True})
    plain["specaug_conf"]["apply_time_mask"] = False
    assert problems_of(plain) == []
    (problem,) = problems_of({**plain, "distill": {"x": BLOCK}})
    assert "specaug_conf.apply_time_warp" in problem and "false" in problem


def test_a_tap_on_layers_that_may_be_dropped_is_refused() -> None:
    config = tiny_config(distill={"x": {**BLOCK, "tap": "encoder:1"}})
    config["encoder_conf"] = {**config["encoder_conf"], "layer_drop_rate": 0.1}
    (problem,) = problems_of(config)
    assert "encoder_conf.layer_drop_rate" in problem and "encoder:1" in problem
    config["distill"]["x"]["tap"] = "encoder"
    assert problems_of(config) == []


def test_all_mistakes_come_in_one_report() -> None:
    config = tiny_config(
        encodr="x",
        max_epoch="three",
        optim_conf={"lr": "1e-3"},
        encoder_conf={"num_block": 2},
        distill={
            "pick": "some",
            "x": BLOCK | {"loss": "l3", "weight": "heavy"},
            "y": {"tap": "encoder", "match_conf": {"delay": -1}},
        },
    )
    problems = problems_of(config)
    for said in [
        "encodr", "max_epoch", "optim_conf.lr", "encoder_conf.num_block", "distill.pick",
        "distill.x.loss", "distill.x.weight", "distill.y.teacher: missing",
        "distill.y.loss: missing", "distill.y.match_conf",
    ]:  # fmt: skip
        assert sum(problem.startswith(said) for problem in problems) == 1, said
    assert len(problems) == 10


def test_an_unknown_key_hides_no_wrong_tap() -> None:
    config = tiny_config(encodr="x", max_epoch="three", distill={"x": BLOCK | {"tap": "cif"}})
    found = {problem.split(": ")[0] for problem in problems_of(config)}
    assert found == {"encodr", "max_epoch", "distill.x.tap"}


def test_a_users_own_class_from_a_file_in_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "own_losses_for_test.py").write_text(
        "from distill_asr.distill.contracts import Loss\n"
        "class Best(Loss):\n"
        "    def __init__(self, power: float = 2.0):\n"
        "        super().__init__()\n"
        "        if power <= 0:\n"
        "            raise ValueError(f'power must be positive, not {power}')\n"
        "    def forward(self, student, teacher):\n"
        "        return (student - teacher).abs().mean(1)\n"
        "class Lame(Best):\n"
        "    forward = Loss.forward\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "class Dead(Best):\n"
        "    def __init__(self):\n"
        "        {}['power']\n"
    )
    (tmp_path / "broken_for_test.py").write_text("class Best(:\n")
    monkeypatch.syspath_prepend(tmp_path)
    own = "own_losses_for_test.Best"
    assert problems_of(with_block(loss=own, loss_conf={"power": 3})) == []
    assert problems_of(with_block(loss=own, loss_conf={"power": 0.0})) == [
        "distill.x.loss_conf: power must be positive, not 0.0"
    ]
    lame, dead = own.replace("Best", "Lame"), own.replace("Best", "Dead")
    assert problems_of(with_block(loss=lame)) == [
        f"distill.x.loss: {lame}: has no forward; it is called as forward(student, teacher)"
    ]
    (problem,) = problems_of(with_block(loss=dead))
    assert f"distill.x.loss: {dead} cannot be made (" in problem
    assert problem.endswith("own_losses_for_test.py:15: KeyError: 'power')")
    (problem,) = problems_of(with_block(loss="broken_for_test.Best"))
    assert "cannot be imported (SyntaxError" in problem


def test_the_verb_reports_all_files_together(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(yaml.safe_dump(tiny_config()))
    bad.write_text("extends: good.yaml\nencodr: x\n")
    parser = argparse.ArgumentParser()
    validate.add_arguments(parser)
    assert validate.run(parser.parse_args([str(good), str(good)])) == 0
    assert "2 config(s) valid" in capsys.readouterr().out
    arguments = [str(bad), str(good), str(tmp_path / "none.yaml"), "--set", "max_epoch=x"]
    with pytest.raises(UserError) as caught:
        validate.run(parser.parse_args(arguments))
    *of_bad, of_good, of_none = caught.value.problems
    assert [problem.split(": ")[1] for problem in of_bad] == ["max_epoch", "encodr"]
    assert all(problem.startswith(f"{bad}: ") for problem in of_bad)
    assert of_good.startswith(f"{good}: max_epoch")
    assert "none.yaml: no such file" in of_none


def test_checking_changes_nothing() -> None:
    config = tiny_config(distill={"x": BLOCK})
    before = yaml.safe_dump(config)
    check_config(TrainConfig.parse(config, "a.yaml"))
    assert yaml.safe_dump(config) == before
