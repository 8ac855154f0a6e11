"""A student on a pretrained encoder through the verbs, and then without the pretrained model."""

import json
import shutil
from pathlib import Path

import pytest
import yaml

from distill_asr import cli
from distill_asr.errors import UserError
from distill_asr.testing.fixtures import tiny_config
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.train.checks import check_config
from distill_asr.train.config import TrainConfig

RAW = {"input_size": 1, "frontend": None, "frontend_conf": {}, "encoder": "hf_speech"}
PLAIN = {"decoder": None, "decoder_conf": {}, "model_conf": {"ctc_weight": 1.0}}
SHRINK = {"teacher": "one", "tap": "encoder", "match": "shrink", "loss": "mse"}


def changes(model: Path, **conf: object) -> dict:
    return RAW | PLAIN | {"encoder_conf": {"model": str(model)} | conf}


def test_the_config_is_checked(saved) -> None:
    block = SHRINK | {"match_conf": {"interpolate": "linear"}, "tap": "encoder:3"}
    good = changes(saved(), model_conf={"mask_time_prob": 0.1}, lora={"r": 2})
    check_config(
        TrainConfig.parse(tiny_config("ctc", distill={"text": block}, **good), "good.yaml")
    )
    bad = changes(saved(), freeze_batch=3, layer_drop_rate=0.1)
    block["match_conf"] = {"interpolate": "cubic"}
    with pytest.raises(UserError) as caught:
        check_config(
            TrainConfig.parse(tiny_config("ctc", distill={"text": block}, **bad), "bad.yaml")
        )
    problems = "\n".join(caught.value.problems)
    assert "encoder_conf.freeze_batch" in problems and "freeze_batches" in problems
    assert "interpolate must be one of" in problems
    assert "a dropped layer has no output for encoder:3; set it to 0" in problems


@pytest.mark.slow
@pytest.mark.parametrize("decoder", [False, True])
def test_a_trained_student_needs_its_model_no_more(recipe, tmp_path: Path, decoder: bool) -> None:
    model = save_speech_model(tmp_path / "model", "wav2vec2")
    content = changes(model, model_conf={"mask_time_prob": 0.2}, lora={"r": 2})
    if decoder:
        content = {key: value for key, value in content.items() if key not in PLAIN}
    config = recipe.config("ctc", ["one"], **content)
    settings = yaml.safe_load(config.read_text())
    settings["distill"] = {"text": SHRINK}
    config.write_text(yaml.safe_dump(settings))
    experiment = recipe.train(config, "exp")
    shutil.rmtree(model)
    found = yaml.safe_load((experiment / "config.yaml").read_text())["encoder_conf"]
    assert found["model"] is None and found["architecture"]["model_type"] == "wav2vec2"
    assert cli.main(["decode", "--exp", str(experiment), "--data", str(recipe.dev_set)]) == 0
    decoded = (experiment / "decode" / "dev" / "nbest.jsonl").read_text().splitlines()
    assert len(decoded) == 2 and all("utt" in json.loads(line) for line in decoded)
    exported = ["export", "--to", "onnx", "--exp", str(experiment)]
    exported += ["--output", str(tmp_path / "out")]
    assert cli.main(exported) == 0
