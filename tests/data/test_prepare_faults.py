"""Accidents of preparation: nothing is lost, and nothing is silently wrong."""

import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill_asr.cli import main
from distill_asr.data.datadir import DataDir
from distill_asr.data.record import RECORD, has_language_tags
from distill_asr.errors import UserError
from distill_asr.testing.data_dirs import write_labelled_dir


def tone(path: Path, hertz: int, rate: int = 8000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(2 * np.pi * hertz * np.arange(2 * rate) / rate), rate)
    return path


def pitch(path: str) -> float:
    samples, rate = soundfile.read(path)
    return np.argmax(np.abs(np.fft.rfft(samples))) * rate / len(samples)


def tables(folder: Path, wav: dict[str, Path], texts: dict[str, str] | None = None) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    texts = texts or dict.fromkeys(wav, "ab cd")
    for name, table in (("wav.scp", wav), ("text", texts), ("utt2spk", dict.fromkeys(wav, "s"))):
        lines = "".join(f"{key} {value}\n" for key, value in table.items())
        (folder / name).write_text(lines, encoding="utf-8")
    return folder


def run(*arguments: object) -> int:
    return main(["prepare", *map(str, arguments), "--nj", "1"])


@pytest.mark.parametrize("link", ["none", "file", "folder", "from output"])
def test_audio_that_would_be_overwritten_is_refused(
    tmp_path: Path, link: str, capsys: pytest.CaptureFixture
) -> None:
    kept = tmp_path / "audio" if link == "folder" else tmp_path / "o" / "wav"
    paths = {"one": tone(kept / "two.wav", 1500), "two": tone(kept / "one.wav", 300)}
    if link == "folder":
        (tmp_path / "o").mkdir()
        (tmp_path / "o" / "wav").symlink_to(kept, target_is_directory=True)
    if link == "file":
        for key in paths:
            (tmp_path / f"{key}.wav").symlink_to(paths[key])
        paths = {key: tmp_path / f"{key}.wav" for key in paths}
    if link == "from output":
        for key, path in paths.items():
            moved = path.rename(tmp_path / f"moved {key}.wav")
            path.symlink_to(moved)
    before = {key: path.read_bytes() for key, path in paths.items()}
    data = tables(tmp_path / "d", paths)
    assert run(data, tmp_path / "o") == 1
    error = capsys.readouterr().err
    assert "output is an input" in error and "one.wav" in error and "another DST" in error
    assert {key: path.read_bytes() for key, path in paths.items()} == before
    assert not (tmp_path / "o" / "wav.scp").exists()


def test_tables_that_are_links_to_the_new_ones_are_refused(tmp_path: Path) -> None:
    data = tables(tmp_path / "d", {"s-a": tone(tmp_path / "a.wav", 440)})
    (tmp_path / "o").mkdir()
    (data / "text").rename(tmp_path / "o" / "text")
    (data / "text").symlink_to(tmp_path / "o" / "text")
    assert run(data, tmp_path / "o") == 1
    assert (data / "text").read_text() == "s-a ab cd\n"


def test_tables_of_the_user_are_not_replaced(tmp_path: Path, capsys) -> None:
    data = tables(tmp_path / "d", {"s-a": tone(tmp_path / "a.wav", 440)})
    mine = tables(tmp_path / "mine", {"s-b": tone(tmp_path / "b.wav", 440)})
    before = {path.name: path.read_bytes() for path in mine.iterdir()}
    assert run(data, mine) == 1
    assert f"DST {mine}: holds a data directory (wav.scp)" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in mine.iterdir()} == before
    (tmp_path / "exp").mkdir()
    (tmp_path / "exp" / "train.yaml").touch()
    assert run(data, tmp_path / "exp") == 1
    assert "holds an experiment (train.yaml)" in capsys.readouterr().err


def test_tables_half_old_and_half_new_are_named(tmp_path: Path, monkeypatch) -> None:
    """As after a kill while the tables are written."""
    data = tables(tmp_path / "d", {"s-a": tone(tmp_path / "a.wav", 440, 16000)})
    assert run(data, tmp_path / "o") == 0
    (data / "text").write_text("s-a other words\n")

    def killed(self: DataDir, folder: Path) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(DataDir, "write", killed)
        assert run(data, tmp_path / "o") == 130
    with pytest.raises(UserError, match=r"prepare.json: cut short or damaged; run the same"):
        DataDir.read(tmp_path / "o")
    assert run(data, tmp_path / "o") == 0
    assert DataDir.read(tmp_path / "o").text == {"s-a": "other words"}


@pytest.mark.parametrize("option", ["--token-list", "--bpe-model"])
def test_lists_do_not_replace_tables(
    tmp_path: Path, option: str, capsys: pytest.CaptureFixture
) -> None:
    data = tables(tmp_path / "d", {"s-a": tone(tmp_path / "a.wav", 440)})
    others = ["--tokens", "bpe", "--vocab-size", "12"]
    others += ["--token-list", tmp_path / "l", "--bpe-model", tmp_path / "m"]
    assert run(data, tmp_path / "o", *others, option, data / "text") == 1
    assert "output is an input" in capsys.readouterr().err
    assert (data / "text").read_text() == "s-a ab cd\n"


def test_another_recording_with_the_same_time_is_converted_anew(tmp_path: Path) -> None:
    for hertz in (300, 1500):
        os.utime(tone(tmp_path / str(hertz) / "x.wav", hertz), (0, 0))
        data = tables(tmp_path / "d", {"s-x": tmp_path / str(hertz) / "x.wav"})
        assert run(data, tmp_path / "o") == 0
        assert pitch(DataDir.read(tmp_path / "o").wav["s-x"]) == hertz


def test_a_recording_that_changed_in_place_is_converted_anew(tmp_path: Path) -> None:
    path = tone(tmp_path / "x.wav", 300)
    data = tables(tmp_path / "d", {"s-x": path})
    times = path.stat().st_atime_ns, path.stat().st_mtime_ns
    assert run(data, tmp_path / "o") == 0
    os.utime(tone(path, 1500), ns=times)
    assert run(data, tmp_path / "o") == 0
    assert pitch(DataDir.read(tmp_path / "o").wav["s-x"]) == 1500


def test_a_damaged_conversion_is_made_again(tmp_path: Path) -> None:
    data = tables(tmp_path / "d", {"s-x": tone(tmp_path / "x.wav", 300)})
    assert run(data, tmp_path / "o") == 0
    converted = Path(DataDir.read(tmp_path / "o").wav["s-x"])
    good = converted.read_bytes()
    converted.write_bytes(good[:2000] + b"\1" + good[2001:])
    (tmp_path / "o" / RECORD).unlink()
    assert run(data, tmp_path / "o") == 0
    assert converted.read_bytes() == good


@pytest.mark.parametrize("content", ["", "{}", "[]", "null", '{"settings": 1}', '{"utter', "\0"])
def test_a_damaged_record_is_made_again(tmp_path: Path, content: str) -> None:
    data = tables(tmp_path / "d", {"s-x": tone(tmp_path / "x.wav", 300)})
    assert run(data, tmp_path / "o") == 0
    good = (tmp_path / "o" / RECORD).read_text()
    (tmp_path / "o" / RECORD).write_text(content)
    assert run(data, tmp_path / "o") == 0
    assert (tmp_path / "o" / RECORD).read_text() == good
    (tmp_path / "o" / RECORD).write_text(content)
    with pytest.raises(UserError, match="damaged"):
        has_language_tags(tmp_path / "o")


def test_files_that_only_this_reader_reads_to_the_end_are_written_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.flac"
    soundfile.write(path, 0.1 * np.ones(16000), 16000, subtype="PCM_16")
    content = bytearray(path.read_bytes())
    content[21] &= 0xF0
    content[22:42] = bytes(20)
    path.write_bytes(content)
    assert run(tables(tmp_path / "d", {"s-x": path}), tmp_path / "o") == 0
    prepared = DataDir.read(tmp_path / "o")
    assert soundfile.info(prepared.wav["s-x"]).frames == prepared.num_samples["s-x"] == 16000


@pytest.mark.parametrize(
    "blank", ["\u00a0", "\t", "\u3000", "\u2009", "\u202f", "\u2028", "\x85", "\u200b", "  "]
)
def test_blanks_of_all_kinds_are_one_plain_space(
    tmp_path: Path, blank: str, capsys: pytest.CaptureFixture
) -> None:
    path = tone(tmp_path / "x.wav", 300, 16000)
    data = tables(tmp_path / "d", {"s-x": path, "s-y": path}, {"s-x": f"ab{blank}cd", "s-y": "ab"})
    list_options = ("--tokens", "char", "--token-list", tmp_path / "tokens")
    assert run(data, tmp_path / "o", *list_options) == 0
    assert DataDir.read(tmp_path / "o").text == {"s-x": "ab cd", "s-y": "ab"}
    report = capsys.readouterr().out
    assert f"U+{ord(blank[0]):04X} in 1 transcripts" in report
    tokens = (tmp_path / "tokens").read_text().split()
    assert sorted(tokens[2:-1]) == ["<space>", "a", "b", "c", "d"]


@pytest.mark.parametrize("hidden", ["\ufeff", "\u2060", "\u00ad", "\u200e"])
def test_what_nobody_sees_is_no_token(tmp_path: Path, hidden: str) -> None:
    path = tone(tmp_path / "x.wav", 300, 16000)
    assert run(tables(tmp_path / "d", {"s-x": path}, {"s-x": f"a{hidden}b"}), tmp_path / "o") == 0
    assert DataDir.read(tmp_path / "o").text == {"s-x": "ab"}


@pytest.mark.parametrize("blank", ["\u00a0", "\u200b", "\ufeff "])
def test_a_transcript_of_blanks_alone_is_empty(
    tmp_path: Path, blank: str, capsys: pytest.CaptureFixture
) -> None:
    path = tone(tmp_path / "x.wav", 300, 16000)
    assert run(tables(tmp_path / "d", {"s-x": path}, {"s-x": blank}), tmp_path / "o") == 1
    assert "empty transcript" in capsys.readouterr().err


@pytest.mark.parametrize("word", ["<unk>", "<blank>", "<space>", "<sos/eos>", "</s>"])
def test_symbols_of_token_lists_are_no_words(
    tmp_path: Path, word: str, capsys: pytest.CaptureFixture
) -> None:
    path = tone(tmp_path / "x.wav", 300, 16000)
    assert run(tables(tmp_path / "d", {"s-x": path}, {"s-x": f"a {word}"}), tmp_path / "o") == 1
    assert f"s-x: {word} is a symbol of token lists" in capsys.readouterr().err
    (tmp_path / "other").write_text(f"s-x a {word}\n")
    good = tables(tmp_path / "d", {"s-x": path})
    wanted = ("--tokens", "word", "--token-list", tmp_path / "t", "--text", tmp_path / "other")
    assert run(good, tmp_path / "o", *wanted) == 1
    assert f"{word}: a symbol of token lists" in capsys.readouterr().err


@pytest.mark.parametrize("kind", ["char", "word"])
def test_words_in_angle_brackets_are_words(tmp_path: Path, kind: str) -> None:
    path = tone(tmp_path / "x.wav", 300, 16000)
    data = tables(tmp_path / "d", {"s-x": path}, {"s-x": "<um> ab <sil>"})
    tokens = tmp_path / "tokens.txt"
    assert run(data, tmp_path / "o", "--tokens", kind, "--token-list", tokens) == 0
    found = tokens.read_text().split()
    assert len(found) == len(set(found)) and ("<um>" in found) == (kind == "word")
    assert not has_language_tags(tmp_path / "o") and not tokens.with_suffix(".tags").exists()
    tagged = ("--language", "xx", "--language-tag", "--tokens", kind, "--token-list", tokens)
    assert run(data, tmp_path / "o", *tagged) == 0
    assert "<xx>" in tokens.read_text().split() and has_language_tags(tmp_path / "o")
    assert tokens.with_suffix(".tags").read_text() == "<xx>\n"


@pytest.mark.parametrize("key", ["../x", ".", "..", "s-" + "x" * 240, "s-" + "ü" * 120])
def test_ids_that_cannot_name_files(
    tmp_path: Path, key: str, capsys: pytest.CaptureFixture
) -> None:
    data = tables(tmp_path / "d", {key: tone(tmp_path / "x.wav", 300)})
    assert run(data, tmp_path / "o") == 1
    assert "bad id" in capsys.readouterr().err
    assert not (tmp_path / "o" / "wav").exists()


def test_the_longest_id_that_is_allowed(tmp_path: Path) -> None:
    data = tables(tmp_path / "d", {"s" * 230: tone(tmp_path / "x.wav", 300)})
    assert run(data, tmp_path / "o") == 0


def test_sets_that_are_scored_lose_nothing(tmp_path: Path) -> None:
    data = write_labelled_dir(tmp_path / "d", ["a-1", "a-2"], frames=35 * 16000)
    assert run(data, tmp_path / "o", "--min-duration", 0, "--max-duration", "inf") == 0
    assert len(DataDir.read(tmp_path / "o")) == 2
    assert run(data, tmp_path / "o", "--min-duration", 0, "--max-duration", "inf") == 0


def test_bpe_of_one_word_transcripts(tmp_path: Path) -> None:
    path = tone(tmp_path / "x.wav", 300, 16000)
    texts = {"s-1": "one", "s-2": "two", "s-3": "six"}
    data = tables(tmp_path / "d", dict.fromkeys(texts, path), texts)
    wanted = ("--tokens", "bpe", "--vocab-size", 12, "--bpe-model", tmp_path / "m")
    assert run(data, tmp_path / "o", *wanted, "--token-list", tmp_path / "t") == 0
    assert len((tmp_path / "t").read_text().splitlines()) == 12
