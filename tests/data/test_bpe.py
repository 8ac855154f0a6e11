"""Byte-pair tokens: what ESPnet's tokenizer makes of them."""

from pathlib import Path

import pytest

from distill_asr.cli import main
from distill_asr.data.bpe import train_bpe, write_bpe
from distill_asr.errors import UserError
from distill_asr.testing.data_dirs import write_labelled_dir

TEXTS = [
    "the cat sat on the mat", "the hat of the cat", "that other cat  and the rat",
    "don't the others sit", "grüße", "a z",
]  # fmt: skip
SIZE = 40


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    model, tokens = tmp_path / "deep" / "bpe.model", tmp_path / "tokens.txt"
    write_bpe(TEXTS, SIZE, model, tokens)
    return model, tokens


def test_espnet_reads_text_and_spells_it_again(files: tuple[Path, Path]) -> None:
    from espnet2.text.build_tokenizer import build_tokenizer

    model, path = files
    listed = path.read_text(encoding="utf-8").splitlines()
    assert len(listed) == len(set(listed)) == SIZE
    assert (listed[0], listed[1], listed[-1]) == ("<blank>", "<unk>", "<sos/eos>")
    tokenizer = build_tokenizer("bpe", bpemodel=str(model))
    for text in TEXTS:
        pieces = tokenizer.text2tokens(text)
        assert set(pieces) <= set(listed[2:-1]), "every character has a piece"
        assert tokenizer.tokens2text(pieces) == " ".join(text.split())
    assert tokenizer.text2tokens("the cat") == ["▁the", "▁cat"], "frequent words are merged"


def test_the_same_transcripts_give_the_same_model() -> None:
    assert train_bpe(TEXTS, SIZE) == train_bpe(TEXTS, SIZE)


def test_long_transcripts_count() -> None:
    """sentencepiece would leave out what has more than 4192 bytes."""
    long = " ".join(["xylophone"] * 1000)
    _, tokens = train_bpe([*TEXTS, long], SIZE)
    assert "▁xylophone" in tokens


def test_language_tags_are_a_piece_each(tmp_path: Path) -> None:
    from espnet2.text.build_tokenizer import build_tokenizer

    texts = [f"{tag} {text}" for tag in ("<de>", "<en>") for text in TEXTS]
    tokens = write_bpe(texts, SIZE, tmp_path / "m", tmp_path / "t", ["<de>", "<en>"])
    assert {"<de>", "<en>"} <= set(tokens)
    tokenizer = build_tokenizer("bpe", bpemodel=str(tmp_path / "m"))
    assert "<en>" in tokenizer.text2tokens("<en> the cat")


@pytest.mark.parametrize(("texts", "size"), [(TEXTS, 5), (TEXTS, 5000), ([], 10)])
def test_sizes_that_the_transcripts_do_not_give(texts: list[str], size: int) -> None:
    with pytest.raises(UserError, match=rf"--vocab-size {size}: {len(texts)} transcripts"):
        train_bpe(texts, size)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    data = write_labelled_dir(tmp_path / "data")
    arguments = ["prepare", data, tmp_path / "dump", "--tokens", "bpe"]
    arguments += ["--token-list", tmp_path / "tokens.txt"]
    assert main([str(argument) for argument in arguments]) == 1
    error = capsys.readouterr().err
    assert "--tokens bpe needs --vocab-size N" in error and "needs --bpe-model PATH" in error
    arguments += ["--vocab-size", 22, "--bpe-model", tmp_path / "bpe.model"]
    assert main([str(argument) for argument in arguments]) == 0
    assert len((tmp_path / "tokens.txt").read_text(encoding="utf-8").splitlines()) == 22
    arguments[arguments.index("bpe")] = "char"
    assert main([str(argument) for argument in arguments]) == 1
    assert "--bpe-model PATH needs --tokens bpe" in capsys.readouterr().err
