"""egs/librispeech_100: its configs, and every stage on a little tree."""

from pathlib import Path

import pytest

from distill_asr.io.yaml import load_config
from distill_asr.recipe.systems import Systems
from distill_asr.teachers import TeacherConfig
from distill_asr.testing.corpora import ENGLISH, write_librispeech
from distill_asr.testing.fixtures import tiny_speech_teacher
from distill_asr.testing.recipes import EGS, RecipeCopy, parameters
from distill_asr.testing.text_models import save_text_model

CONF = EGS / "librispeech_100" / "asr1" / "conf"
STUDENTS = ("transducer_10m", "transducer_30m", "stream_10m", "stream_30m")
TEACHERS = {"wavlm": "wavlm", "hubert": "hubert", "wav2vec2": "wav2vec2", "data2vec": "data2vec"}
SHARED = EGS.parent / "conf"
GRID = Systems.read(CONF / "systems.yaml")
SIZES = {
    "attention_heads": 2,
    "output_size": 16,
    "linear_units": 16,
    "num_blocks": 2,
    "cnn_module_kernel": 3,
}
TINY = {
    "encoder_conf": SIZES,
    "decoder_conf": {"embed_size": 8, "hidden_size": 8},
    "joint_net_conf": {"joint_space_size": 8},
    "max_epoch": 1,
    "batch_bins": 80000,
    "num_workers": 0,
}


@pytest.mark.parametrize("name", STUDENTS)
def test_students_have_the_size_they_are_named_after(name: str) -> None:
    million = parameters(load_config(SHARED / "student" / f"{name}.yaml"), vocabulary=256) / 1e6
    named = float(name.rpartition("_")[2].removesuffix("m"))
    assert 0.9 * named < million < 1.1 * named


PATH_ROWS = {"two_path", "unlab_path", "all"}
UNLAB_ROWS = {"unlab", "unlab_path", "all"}


def test_streaming_students_have_chunks_of_320_ms() -> None:
    for size in ("10m", "30m"):
        config = GRID.pretrain[f"two_stream_{size}"].resolved().content
        assert config["encoder_conf"]["chunk_size"] * 40 == 320
        assert config["normalize"] == "global_mvn"
        delays = {block["match_conf"]["delay"] for block in config["distill"].values()}
        assert delays == {240}


def test_every_row_of_the_grid_has_its_configs() -> None:
    rows = dict(GRID.systems)
    for student in STUDENTS:
        prefix, size = ("stream_" if "stream" in student else ""), student.rpartition("_")[2]
        for row, teachers in {
            "baseline": 0, "one_teacher": 1, "two_teachers": 2, "four_teachers": 4,
            "two_path": 2, "unlab": 4, "unlab_path": 4, "all": 4,
        }.items():  # fmt: skip
            system = rows.pop(f"{prefix}{row}_{size}")
            assert system.pseudo_labels == (("unlab",) if row == "all" else ())
            second = system.resolved().content
            assert list(second.get("distill", {})) == (["path"] if row in PATH_ROWS else [])
            assert system.config[0].stem == student
            if not teachers:
                assert system.pretrain is None and second["max_epoch"] == 120
                continue
            stage1 = GRID.pretrain[system.pretrain]
            first = stage1.resolved().content
            assert list(first["distill"]) == list(TEACHERS)[:teachers]
            assert first["encoder_conf"] == second["encoder_conf"]
            assert stage1.train == (("train", "unlab") if row in UNLAB_ROWS else ("train",))
            assert first["max_epoch"] == (10 if row in UNLAB_ROWS else 60)
    assert not rows


def test_both_levels_of_the_cif_student_together() -> None:
    systems = Systems.read(CONF / "systems_hkd.yaml").systems
    blocks = {row: system.resolved().content.get("distill") for row, system in systems.items()}
    assert blocks.pop("cif") is None
    assert blocks["cif_both"] == blocks["cif_acoustic"] | blocks["cif_linguistic"]


def test_speech_teachers_are_stored_as_codes() -> None:
    for name in TEACHERS:
        teacher = GRID.teachers[name].resolved()
        assert (teacher.kind, teacher.codec["name"]) == ("speech", "mvq")
        assert teacher.codec["codebooks"] == 16
    assert TeacherConfig.read(SHARED / "teacher" / "bert_base_uncased.yaml").kind == "text"
    assert GRID.recogniser is not None and GRID.recogniser.dump.resolved().output == "path"


def test_without_the_corpus_it_says_where_to_get_it(tmp_path: Path) -> None:
    recipe = RecipeCopy(tmp_path, "librispeech_100")
    done = recipe.run("--stop_stage", "1", LIBRISPEECH="")
    assert done.returncode != 0 and "Traceback" not in done.stderr
    assert "openslr.org/12" in done.stderr and "LIBRISPEECH=DIR" in done.stderr


def test_whichever_parts_there_are(tmp_path: Path) -> None:
    corpus = write_librispeech(tmp_path / "corpus", ["train-clean-100", "dev-clean"])
    recipe = RecipeCopy(tmp_path, "librispeech_100")
    options = ("--stop_stage", "1", "--corpus_opts", "--partial")
    done = recipe.run(*options, LIBRISPEECH=corpus)
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in (recipe.path / "data").iterdir()) == ["dev", "train"]


OPTIONS = [
    "--token_opts", "--vocab-size 40 --bpe-model dump/bpe.model", "--test_sets", "test_other",
    "--train_set", "--set max_epoch=1", "--systems", "baseline_10m,stream_unlab_10m",
    "--decode_opts", "--method greedy",
]  # fmt: skip


def tiny_recipe(root: Path) -> tuple[RecipeCopy, Path]:
    """The recipe with four tiny teachers and two tiny students, and a corpus for it."""
    recipe = RecipeCopy(root, "librispeech_100")
    for name, family in TEACHERS.items():
        model = tiny_speech_teacher(root / "models" / name, family)
        recipe.change(f"teacher/{name}_large", {"model": str(model), "layers": [2]})
    grid = recipe.path / "conf" / "systems.yaml"  # codes would have to be learnt, for minutes
    grid.write_text(grid.read_text().replace("{name: mvq, codebooks: 16}", "{name: fp16}"))
    for student in ("transducer_10m", "stream_10m"):
        recipe.change(f"student/{student}", TINY)
    return recipe, write_librispeech(root / "corpus")


@pytest.mark.slow
def test_all_stages(tmp_path: Path) -> None:
    """The plain student, and the streaming one with four teachers and unlabelled audio."""
    recipe, corpus = tiny_recipe(tmp_path)
    done = recipe.run(*OPTIONS, LIBRISPEECH=corpus)
    assert done.returncode == 0, done.stderr[-4000:]
    check_outcome(recipe)


def check_outcome(recipe: RecipeCopy) -> None:
    table = (recipe.path / "exp" / "RESULTS.md").read_text()
    assert "| stream_unlab_10m | 1 |" in table and "test_other WER" in table
    assert len((recipe.path / "dump" / "tokens.txt").read_text().splitlines()) == 40
    first = "exp/pretrain_unlab_stream_10m_seed1"
    second = load_config(recipe.path / "exp" / "stream_unlab_10m_seed1" / "train.yaml")["config"]
    assert second["normalize_conf"]["stats_file"] == f"{first}/stats/train/feats_stats.npz"
    assert second["init_param"] == [f"{first}/valid.loss.ave.pth:encoder:encoder"]


@pytest.mark.slow
def test_all_stages_of_hierarchical_distillation(tmp_path: Path) -> None:
    """The plain CIF student, and the one with both levels, in a tiny BERT's word pieces."""
    recipe = RecipeCopy(tmp_path, "librispeech_100")
    bert = save_text_model(tmp_path / "models" / "bert", words=sorted(map(str.lower, ENGLISH)))
    recipe.change("teacher/bert_base_uncased", {"model": str(bert), "layers": [2]})
    decoder = {"attention_heads": 2, "linear_units": 16, "num_blocks": 1}
    recipe.change("cif", TINY | {"bpemodel": str(bert), "decoder_conf": decoder})
    corpus = write_librispeech(tmp_path / "corpus")
    options = (
        "--token_opts",
        f"--tokenizer {bert}",
        "--systems",
        "cif,cif_both",
        "--test_sets",
        "test_clean",
    )
    decode = ("--decode_opts", "--beam-size 2")
    done = recipe.run(*options, *decode, script="run_hkd.sh", LIBRISPEECH=corpus)
    assert done.returncode == 0, done.stderr[-4000:]
    assert "| cif_both | 1 |" in (recipe.path / "exp" / "RESULTS.md").read_text()
    log = (recipe.path / "exp" / "cif_both_seed1" / "train.log").read_text()
    assert "distill/acoustic" in log and "distill/linguistic" in log
    tokens = (recipe.path / "dump" / "tokens_bert.txt").read_text().split()
    assert {"the", "sea"} & set(tokens) and not {"T", "H"} & set(tokens)
