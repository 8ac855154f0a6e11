"""What the page holds, before a browser sees it."""

from __future__ import annotations

import base64
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st

from distill_asr import cli
from distill_asr.report import changes
from distill_asr.report.audio import contrast
from distill_asr.report.curves import read_curves
from distill_asr.report.utterances import SetView, edit_strings, unit_of
from distill_asr.scoring.systems import SystemRun
from distill_asr.scoring.wer import count_edits
from distill_asr.testing.experiments import HOSTILE, make_experiments, write_table

WORDS = st.lists(st.sampled_from(["a", "b", "ab", "é"]), min_size=1, max_size=7).map(" ".join)


def experiments() -> list[str]:
    return [str(path) for path in sorted(Path("exp").glob("*_seed*"))]


def data_of(page: Path) -> dict:
    (found,) = re.findall(
        r'<script type="application/json" id="data">(.*?)</script>', page.read_text("utf-8"), re.S
    )
    return json.loads(found)


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    make_experiments(tmp_path, utterances=10)
    return tmp_path


def test_one_page_of_everything(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["report", *experiments(), "--control", "one_teacher"]) == 0
    assert capsys.readouterr().out.startswith("exp/report.html: ")
    page = Path("exp/report.html").read_text("utf-8")
    data = data_of(Path("exp/report.html"))
    assert data["systems"] == ["baseline", "one_teacher", "two_teachers"]
    assert [one["name"] for one in data["sets"]] == ["test_clean", "test_noisy"]
    assert set(data["curves"]["two_teachers_seed2"]) == {"loss", "cer_ctc", "distill/hubert"}
    assert "pretrain_two_seed1" in data["curves"]
    first = data["sets"][0]
    assert len(first["ids"]) == len(first["runs"]["baseline 3"]) == 10
    assert set(first["timing"]) == {"baseline 1", "one_teacher 1", "two_teachers 1"}
    for what in ("0123456789ab", "1.16 M", "2.12.1+cpu", "beam, beam 4", "21 min 20 s", "0.600",
                 "fewer errors than one_teacher", "hierarchical bootstrap"):  # fmt: skip
        assert what in page, what
    address = first["audio"][3]
    assert address.startswith("data:audio/flac;base64,")
    samples, rate = soundfile.read(io.BytesIO(base64.b64decode(address.partition(",")[2])))
    assert (len(samples), rate) == (16000, 16000)


def test_nothing_is_fetched_and_texts_stay_texts(recipe: Path) -> None:
    """A transcript with a script in it, a title with one, and no address but the page's own."""
    assert cli.main(["report", *experiments(), "--title", f"a {HOSTILE} title"]) == 0
    page = Path("exp/report.html").read_text("utf-8")
    assert HOSTILE not in page
    assert data_of(Path("exp/report.html"))["sets"][0]["references"][0] == f"the {HOSTILE} sat"
    own = page.replace(page[page.index("/**") : page.rindex("</script>\n<script>")], "")
    assert re.findall(r"(?:src|href)=[\"'](?!#|data:)", own) == []
    assert "default-src 'none'" in own


def test_audio_beside_the_page(recipe: Path) -> None:
    assert cli.main(["report", *experiments(), "--out", "pages/a.html", "--audio", "link"]) == 0
    page = Path("pages/a.html")
    paths = data_of(page)["sets"][1]["audio"]
    assert paths[0] == "../wav/test_noisy/spk0-00000.wav"
    assert all((page.parent / path).is_file() for path in paths)
    assert cli.main(["report", *experiments(), "--out", "pages/a.html", "--audio", "none"]) == 0
    assert data_of(page)["sets"][1]["audio"] == [None] * 10


def test_more_audio_than_fits_is_linked_and_said(
    recipe: Path, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["report", *experiments(), "--audio-mb", "0.1"]) == 0
    assert data_of(Path("exp/report.html"))["sets"][0]["audio"][0].startswith("../wav/")
    assert "Audio is linked, not embedded" in Path("exp/report.html").read_text("utf-8")
    assert cli.main(["report", *experiments(), "--audio-mb", "0.1", "--audio", "embed"]) == 1
    said = capsys.readouterr().err
    assert "more than the 0 MB" in said and "--audio-mb; raise it, or link the audio" in said


def test_audio_that_cannot_be_read(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    """All of it in one report; a page without audio is still made."""
    for path in sorted(Path("wav/test_noisy").glob("*.wav"))[:2]:
        path.write_bytes(b"no audio")
    assert cli.main(["report", *experiments(), "--audio", "embed"]) == 1
    said = capsys.readouterr().err
    assert "2 problems" in said and said.count("; or give --audio none") == 2
    assert "spk0-00000: wav/test_noisy/spk0-00000.wav: " in said
    assert not Path("exp/report.html").exists()


def test_what_is_not_common_is_left_out_and_said(recipe: Path) -> None:
    for path in Path("exp/one_teacher_seed3/decode").glob("*/text"):
        path.unlink()
    for path in Path("exp").glob("baseline_seed*/decode/test_noisy/text"):
        path.unlink()
    assert cli.main(["report", *experiments()]) == 0
    data = data_of(Path("exp/report.html"))
    assert data["seeds"] == [1, 2] and [one["name"] for one in data["sets"]] == ["test_clean"]
    page = Path("exp/report.html").read_text("utf-8")
    assert "baseline: seed 3 left out" in page and "set test_noisy left out" in page


def test_a_training_alone_has_its_curves(recipe: Path) -> None:
    assert cli.main(["report", "exp/pretrain_two_seed1"]) == 0
    page = Path("exp/report.html")
    assert data_of(page)["sets"] == [] and "No experiment was decoded" in page.read_text("utf-8")


def test_mistakes_come_together(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["report"]) == 1
    assert "no experiments given" in capsys.readouterr().err
    Path("empty").mkdir()
    assert cli.main(["report", "empty", "nowhere", "exp/baseline_seed1"]) == 1
    found = capsys.readouterr().err
    assert "empty: not an experiment" in found and "nowhere: no such directory" in found
    argv = ["report", *experiments(), "--baseline", "baselin", "--sets", "dev"]
    assert cli.main([*argv, "--control", "random"]) == 1
    found = capsys.readouterr().err
    assert "did you mean 'baseline'" in found and "--control random" in found
    assert "--sets dev: baseline_seed1 was not decoded on it" in found
    Path("wav/test_clean/spk1-00001.wav").unlink()
    assert cli.main(["report", *experiments()]) == 1
    assert "spk1-00001: " in capsys.readouterr().err
    assert not Path("exp/report.html").exists()


def test_damaged_nbest_is_named(recipe: Path, capsys: pytest.CaptureFixture) -> None:
    Path("exp/baseline_seed1/decode/test_clean/nbest.jsonl").write_text('{"utt": "a"}\n')
    assert cli.main(["report", *experiments()]) == 1
    assert "nbest.jsonl:1: damaged" in capsys.readouterr().err


def test_curves_of_a_training_that_was_continued(tmp_path: Path) -> None:
    make_experiments(tmp_path, utterances=1, seeds=(1,), audio=False)
    log = tmp_path / "exp/two_teachers_seed1/train.log"
    again = log.read_text().splitlines()[-1]
    log.write_text(log.read_text() + re.sub(r"loss=[\d.]+", "loss=0.5", again) + "\n")
    curves = read_curves(log)
    assert curves.terms["loss"]["valid"][20] == 0.5 and len(curves.terms["loss"]["train"]) == 20
    assert curves.seconds[7] == pytest.approx(64.0) and curves.parameters == pytest.approx(1.16e6)
    assert curves.command.startswith("distill-asr train --config a.yaml")
    assert read_curves(tmp_path / "none.log").terms == {}


@given(st.lists(st.tuples(WORDS, WORDS), min_size=1, max_size=5))
def test_edits_and_pairs_are_those_that_are_counted(pairs: list[tuple[str, str]]) -> None:
    references, found = zip(*pairs, strict=True)
    edits = edit_strings(references, found, "words")
    counted = count_edits(dict(enumerate(references)), dict(enumerate(found)))
    errors = [one.words.errors for one in counted.values()]
    rows = list(zip(found, edits, errors, strict=True))
    right = [(text, "", 0) for text in references]
    runs = {SystemRun("a", 1, "t"): rows, SystemRun("b", 1, "t"): right}
    ids, none = [str(i) for i in counted], [None] * len(pairs)
    one = SetView("t", "words", ids, list(references), ["s"] * len(pairs), none, none, runs, {})
    fewer, more = changes.confusions(one, "a", "b")
    assert more == [] and sum(pair.before for pair in fewer) <= sum(row[2] for row in rows)
    if len(fewer) < changes.MOST_CONFUSIONS:
        assert sum(pair.before for pair in fewer) == sum(row[2] for row in rows)
    lengths = changes.by_length(one)
    assert sum(lengths.utterances) == len(pairs) and len(set(lengths.labels)) == len(lengths.labels)
    assert set(lengths.rates["b"]) == {0.0} and changes.by_speaker(one) is None


def test_units() -> None:
    assert unit_of(["the cat", "one"]) == "words"
    assert unit_of(["今天天气很好", "你好"]) == "characters"
    assert edit_strings(["你好吗"], ["你们好"], "characters") == ["=1+1=1-1"]


def test_noise_lowers_the_contrast() -> None:
    rng = np.random.default_rng(0)
    tone = np.sin(np.arange(16000) / 10) * (np.arange(16000) > 8000)
    clean, noisy = (contrast(tone + rng.normal(0, level, 16000)) for level in (0.001, 0.1))
    assert clean > 40 > noisy > 0 and contrast(tone[:100]) is None


def test_recorded_noise_levels_come_first(recipe: Path) -> None:
    for name in ("test_clean", "test_noisy"):
        keys = [line.split()[0] for line in Path(f"dump/{name}/text").read_text().splitlines()]
        write_table(Path(f"dump/{name}/utt2snr"), {key: i for i, key in enumerate(keys)})
    assert cli.main(["report", *experiments(), "--audio", "none"]) == 0
    noise = data_of(Path("exp/report.html"))["sets"][0]["groups"]["noise"]
    assert noise["axis"].startswith("signal-to-noise") and sum(noise["utterances"]) == 10
