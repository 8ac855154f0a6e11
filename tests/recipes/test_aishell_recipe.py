"""egs/aishell: its configs, and every stage on a little tree with a tiny BERT."""

from pathlib import Path

import pytest

from distill_asr.io.yaml import load_config
from distill_asr.recipe.systems import Systems
from distill_asr.testing.corpora import CHINESE, write_aishell
from distill_asr.testing.recipes import EGS, RecipeCopy, parameters
from distill_asr.testing.text_models import save_text_model

CONF = EGS / "aishell" / "asr1" / "conf"
PUBLISHED = 47_208_587  # parameters, without the heads of distillation
VOCABULARY = 4234


def test_the_student_has_the_published_size() -> None:
    size = parameters(load_config(CONF / "cif.yaml"), VOCABULARY)
    assert abs(size - PUBLISHED) < 0.05 * PUBLISHED


def test_the_schedule_is_the_published_one() -> None:
    import torch
    from espnet2.schedulers.tristage_lr import TristageLR

    config = load_config(CONF / "cif.yaml")
    peak = config["optim_conf"]["lr"]
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=peak)
    schedule = TristageLR(optimizer, **config["scheduler_conf"])
    rates = {}
    for step in (0, 30_000, 119_000, 180_000, 240_000):
        schedule.last_epoch = step - 1
        rates[step] = schedule.get_lr()[0]
    expected = {0: 3e-6, 30_000: 3e-4, 119_000: 3e-4, 180_000: 3e-5, 240_000: 3e-6}
    assert rates == pytest.approx(expected, rel=1e-6)


def test_the_rows_are_diffs_of_the_plain_student() -> None:
    systems = Systems.read(CONF / "systems.yaml").systems
    rows = {name: system.resolved().content for name, system in systems.items()}
    blocks = {row: config.pop("distill", {}) for row, config in rows.items()}
    assert all(config == rows["plain"] for config in rows.values())
    assert list(blocks) == ["plain", "acoustic", "linguistic", "both"] and not blocks["plain"]
    assert blocks["both"] == blocks["acoustic"] | blocks["linguistic"]


def test_without_the_corpus_it_says_where_to_get_it(tmp_path: Path) -> None:
    recipe = RecipeCopy(tmp_path, "aishell")
    done = recipe.run("--stop_stage", "1", AISHELL="")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "openslr.org/33" in done.stderr and "AISHELL=DIR" in done.stderr


def tiny_recipe(root: Path) -> tuple[RecipeCopy, Path]:
    """The recipe with a tiny BERT and a tiny student, and a corpus for it."""
    recipe = RecipeCopy(root, "aishell")
    model = save_text_model(root / "models" / "bert", words=sorted(set("".join(CHINESE))))
    recipe.change("teacher/bert_base_chinese", {"model": str(model), "layers": [1]})
    sizes = {"attention_heads": 2, "linear_units": 16, "num_blocks": 2}
    tiny = {
        "encoder_conf": {**sizes, "output_size": 16, "cnn_module_kernel": 3},
        "model_conf": {"pool_after": [1, 2]},
        "decoder_conf": {**sizes, "num_blocks": 1},
        "max_epoch": 1,
        "batch_bins": 80000,
        "num_workers": 0,
    }
    recipe.change("cif", tiny)
    return recipe, write_aishell(root / "corpus")


@pytest.mark.slow
def test_all_stages(tmp_path: Path) -> None:
    recipe, corpus = tiny_recipe(tmp_path)
    done = recipe.run("--test_sets", "test", "--decode_opts", "--beam-size 2", AISHELL=corpus)
    assert done.returncode == 0, done.stderr[-4000:]
    check_outcome(recipe)


def check_outcome(recipe: RecipeCopy) -> None:
    table = (recipe.path / "exp" / "RESULTS.md").read_text()
    assert "| both | 1 |" in table and "test WER" in table
    log = (recipe.path / "exp" / "both_seed1" / "train.log").read_text()
    assert "distill/acoustic" in log and "distill/linguistic" in log
