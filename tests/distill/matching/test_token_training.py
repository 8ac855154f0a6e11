"""Students that learn from a text teacher through the verbs, dump and train."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from distill_asr import cli
from distill_asr.data.datadir import DataDir
from distill_asr.decode.text import TokenText
from distill_asr.experiments.student import load_student
from distill_asr.testing.text_models import save_text_model

POOLED = {"teacher": "bert", "match": "token", "reduce": "pair"}


class TextTeaching:
    """A recipe whose training set is dumped by a BERT of words of a, b, c, d."""

    def __init__(self, recipe: Any) -> None:
        self.recipe = recipe
        self.bert = save_text_model(recipe.root / "bert")

    def texts(self, change: Callable[[str], str]) -> None:
        """Other transcripts for the training set."""
        path = self.recipe.train_set / "text"
        data = DataDir.read(self.recipe.train_set)
        lines = (f"{utt} {change(text)}\n" for utt, text in sorted(data.text.items()))
        path.write_text("".join(lines), encoding="utf-8")

    def dump(self, **teacher: Any) -> None:
        settings = {"kind": "text", "model": str(self.bert), "layers": [3], "dtype": "float32"}
        file = self.recipe.root / "bert.yaml"
        file.write_text(yaml.safe_dump(settings | {"codec": {"name": "fp32"}} | teacher))
        assert cli.main(["dump", "--teacher", str(file), str(self.recipe.train_set)]) == 0

    def train(self, blocks: dict[str, dict], model: str = "cif", **changes: Any) -> Path:
        """The finished experiment."""
        config = self.recipe.config(model)
        content = yaml.safe_load(config.read_text()) | changes | {"distill": blocks}
        config.write_text(yaml.safe_dump(content))
        return self.recipe.train(config, "exp")

    def pooled(self, tap: str, loss: str, **more: Any) -> dict[str, Any]:
        """A block for tokens that are not BERT's pieces."""
        tokenizer = {"tokenizer": str(self.bert)}
        return POOLED | {"tap": tap, "loss": loss, "match_conf": tokenizer} | more


@pytest.fixture
def teaching(recipe: Any) -> TextTeaching:
    return TextTeaching(recipe)


def learnt(experiment: Path, *names: str) -> str:
    """The log, in which every epoch has these terms."""
    log = (experiment / "train.log").read_text()
    for name in names:
        values = re.findall(rf"distill/{name}=([-0-9.e+]+)", log)
        assert values and all(float(value) > 0 for value in values), name
    return log


def test_letters_learn_from_word_pieces(teaching: TextTeaching) -> None:
    teaching.texts(lambda text: f"{text.upper()} x")
    teaching.dump()
    blocks = {
        "acoustic": teaching.pooled(
            "cif", "contrastive", loss_conf={"temperature": 0.1, "mask_same_token": True}
        ),
        "linguistic": teaching.pooled("decoder", "mse", loss_conf={"reduce_dim": "sum"}),
    }
    # x and the capitals are <unk> to the student; BERT folds the case, and knows no x
    log = learnt(teaching.train(blocks), "acoustic", "linguistic")
    assert re.search(
        r"distill.acoustic: the teacher reads \d+ pieces for 12 words of 4 utterances; 4 in 4 "
        r"utterances are unknown to it \('x' 4\), and its state for unknown pieces stands",
        log,
    )


def test_the_text_that_the_teacher_read_counts(teaching: TextTeaching) -> None:
    data = DataDir.read(teaching.recipe.train_set)
    other = teaching.recipe.train_set / "text_original"
    lines = (f"{utt} {text.replace(' ', ', ')}.\n" for utt, text in sorted(data.text.items()))
    other.write_text("".join(lines))  # punctuation, which the student does not write
    teaching.dump(text="text_original")
    experiment = teaching.train({"linguistic": teaching.pooled("decoder", "mse")})
    log = learnt(experiment, "linguistic")
    assert "8 in 4 utterances are unknown to it (',' 4, '.' 4)" in log
    assert (experiment / "data/texts_bert").read_text() == other.read_text()


def test_tokens_of_the_teacher_need_no_tokenizer(teaching: TextTeaching) -> None:
    teaching.texts(lambda text: " ".join(text.replace(" ", "")))
    teaching.dump()
    tokens = ["<blank>", "<unk>", *"abcd", "<sos/eos>"]
    changes = {"token_type": "word", "token_list": tokens}
    block = POOLED | {"tap": "cif", "loss": "contrastive", "loss_conf": {"mask_same_token": True}}
    learnt(teaching.train({"acoustic": block}, **changes), "acoustic")


def test_a_tokenizer_beside_a_speech_teacher(teaching: TextTeaching, capsys) -> None:
    block = {"l": teaching.pooled("cif", "mse", teacher="one")}
    with pytest.raises(AssertionError):
        teaching.train(block)
    assert "targets/one: targets of a teacher without text" in capsys.readouterr().err


def test_a_tokenizer_that_is_not_there(teaching: TextTeaching, capsys) -> None:
    teaching.dump()
    block = teaching.pooled("cif", "mse", match_conf={"tokenizer": "/nowhere"})
    with pytest.raises(AssertionError):
        teaching.train({"l": block})
    assert "match_conf.tokenizer: /nowhere cannot be loaded" in capsys.readouterr().err


CHARACTERS = dict(zip("abcd ", "我们在中 ", strict=True))


@pytest.mark.parametrize("chinese", [False, True])
def test_pieces_as_units(teaching: TextTeaching, chinese: bool) -> None:
    train_set, root = teaching.recipe.train_set, teaching.recipe.root
    if chinese:
        teaching.bert = save_text_model(root / "zh", words=list("我们在中国"))
        teaching.texts(lambda text: "".join(CHARACTERS[char] for char in text))
    teaching.dump()
    tokens = root / "pieces.txt"
    assert cli.main([
        "prepare", str(train_set), str(root / "again"), "--tokens", "hugging_face",
        "--tokenizer", str(teaching.bert), "--token-list", str(tokens),
    ]) == 0  # fmt: skip
    listed = tokens.read_text().split("\n")
    assert listed[:2] == ["<blank>", "<unk>"] and "[UNK]" not in listed
    changes = {"token_type": "hugging_face", "bpemodel": str(teaching.bert)}
    block = POOLED | {"tap": "decoder", "loss": "mse"}
    experiment = teaching.train({"x": block}, **changes, token_list=str(tokens))
    learnt(experiment, "x")
    student, arguments = load_student(experiment, "valid.loss.ave.pth")
    assert student.token_list == listed[:-1]
    known = DataDir.read(train_set).text
    words = TokenText(arguments)
    for text in known.values():
        ids = [listed.index(piece) for piece in words.tokenizer.text2tokens(text)]
        assert words([*ids, len(listed) - 2]) == text.replace(" ", "" if chinese else " ")


def test_pieces_as_units_need_their_model(teaching: TextTeaching, capsys) -> None:
    for bpemodel, said in ((None, "bpemodel: missing"), ("/nowhere", "/nowhere: cannot be loaded")):
        config = teaching.recipe.config("cif", token_type="hugging_face", bpemodel=bpemodel)
        assert cli.main(teaching.recipe.train_command(config, "exp")) == 1
        assert said in capsys.readouterr().err


WORDS = {"token_type": "word", "token_list": ["<blank>", "<unk>", *"abcd", "<sos/eos>"]}
LEVELS = {
    "linguistic": POOLED | {"tap": "decoder", "loss": "mse"},
    # tokens that the CTC output names, brought to the teacher's positions by their order
    "acoustic": {"teacher": "bert", "tap": "encoder", "match": "shrink", "loss": "contrastive"},
}


@pytest.mark.parametrize("model", ["ctc", "transducer"])
def test_both_levels_on_other_students(teaching: TextTeaching, model: str) -> None:
    teaching.texts(lambda text: " ".join(text.replace(" ", "")))
    teaching.dump()
    learnt(teaching.train(LEVELS, model, **WORDS), *LEVELS)
