"""Human recordings: every layout is read, no text in two sets, no voice of a test learnt from."""

import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from distill_asr.corpora.contract import Built
from distill_asr.corpora.human import sources
from distill_asr.corpora.human.builder import Human, HumanOptions, find_clips
from distill_asr.corpora.human.mismatched import (
    Reading,
    character_error,
    read_mismatched,
    write_mismatched,
)
from distill_asr.corpora.human.scan import _Heard, _read_cache, read_clip
from distill_asr.data.datadir import DataDir
from distill_asr.data.normalise import unicode_words
from distill_asr.errors import Problems, UserError
from distill_asr.io.audio import BadAudioError
from distill_asr.testing import human

av = pytest.importorskip("av")

SIZES = {"minutes": 0.3, "dev_minutes": 0.1, "test_minutes": 0.15, "nj": 1}
LABELLED = ("train", "dev", "test_reader", "test_corpus", "test_voices")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("human")
    human.write_packages(root / "packages")
    human.write_gcompris(root / "gcompris")
    return root


def options(tree: Path, **more: object) -> HumanOptions:
    places = {"packages": str(tree / "packages"), "gcompris_voices": str(tree / "gcompris")}
    return HumanOptions(**(places | SIZES | more))


@pytest.fixture(scope="module")
def built(tree: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Built]:
    out = tmp_path_factory.mktemp("out")
    return out, Human().build(out, options(tree))


def refused(tmp_path: Path, given: HumanOptions) -> str:
    with pytest.raises(UserError) as caught:
        Human().build(tmp_path / "out", given)
    assert not [path for path in (tmp_path / "out").glob("*") if path.is_dir()]
    return "\n".join(caught.value.problems)


def test_sets_and_their_sizes(built: tuple[Path, Built]) -> None:
    sets = built[1].sets
    assert set(sets) == {*LABELLED, "unlab"}
    assert sets["train"].minutes >= 0.3 and sets["dev"].minutes >= 0.1
    assert all(sets[name].labelled for name in LABELLED) and not sets["unlab"].labelled


def test_no_text_is_in_two_sets(built: tuple[Path, Built], tree: Path) -> None:
    out, _ = built
    owners = defaultdict(set)
    for name in LABELLED:
        for text in DataDir.read(out / name).text.values():
            owners[unicode_words(text)].add(name)
    assert owners and all(len(sets) == 1 for sets in owners.values())
    clips = find_clips(options(tree))
    taken = {(clips[u].corpus, clips[u].key) for s in LABELLED for u in DataDir.read(out / s).wav}
    unlab = DataDir.read(out / "unlab")
    parallel = {(clips[utterance].corpus, clips[utterance].key) for utterance in unlab.wav}
    assert not taken & parallel  # parallel stamps and prompts count as one text


def test_no_voice_of_a_test_is_learnt_from(built: tuple[Path, Built]) -> None:
    voices = {name: set(DataDir.read(built[0] / name).utt2spk.values()) for name in built[1].sets}
    assert voices["train"] == voices["dev"] == voices["test_reader"]
    for name in ("test_corpus", "test_voices"):
        assert not voices[name] & (voices["unlab"] | voices["train"])


def test_letters_silence_and_links_are_no_transcripts(built: tuple[Path, Built]) -> None:
    out, result = built
    known = {u for name in result.sets for u in DataDir.read(out / name).wav}
    assert not any("silence" in u or "again" in u or "empty" in u for u in known)
    assert any("digits" in u for u in DataDir.read(out / "unlab").wav)  # "1" does not spell it
    assert "2 silent" in result.remarks[0] or "3 silent" in result.remarks[0]


def test_the_same_again(built: tuple[Path, Built], tree: Path, tmp_path: Path) -> None:
    out, first = built
    before = {path: path.stat().st_mtime_ns for path in out.rglob("wav.scp")}
    assert Human().build(out, options(tree)) == first
    assert before == {path: path.stat().st_mtime_ns for path in out.rglob("wav.scp")}
    other = Human().build(tmp_path, options(tree, seed=1))
    assert set(other.sets) == set(first.sets)
    assert (tmp_path / "train/text").read_text() != (out / "train/text").read_text()


def test_two_languages_and_unlabelled_audio_of_their_own(tree: Path, tmp_path: Path) -> None:
    few = {"minutes": 0.08, "dev_minutes": 0.03}
    result = Human().build(tmp_path, options(tree, langs=("ru", "es"), unlab_langs="own", **few))
    speakers = set(DataDir.read(tmp_path / "train").utt2spk.values())
    assert len(speakers) == 2 and result.sets["test_reader"].speakers == 2
    assert result.sets["train"].minutes >= 2 * 0.08


def test_parts(tree: Path, tmp_path: Path) -> None:
    """Any subset of the sources will do."""
    few = {"minutes": 0.04, "dev_minutes": 0.02, "gcompris_voices": None}
    result = Human().build(tmp_path / "a", options(tree, langs=("es",), **few))
    assert "test_voices" not in result.sets and result.sets["test_corpus"].speakers == 1
    few = {"minutes": 0.04, "dev_minutes": 0.02, "packages": "none"}
    result = Human().build(tmp_path / "b", options(tree, langs=("es",), **few))
    assert set(result.sets) == {"train", "dev", "test_reader", "unlab"}


def test_g722_and_stereo(tree: Path) -> None:
    (prompt,) = (tree / "packages").rglob("es_f_Somebody/p3.g722")
    samples = read_clip(prompt)
    assert samples.dtype == np.float32 and abs(len(samples) - 16000) < 100
    expected = human.noise(1.0, 203)
    assert 0.5 < np.abs(samples).mean() / np.abs(expected).mean() < 1.5
    (stamp,) = (tree / "packages").rglob("stamp1_desc_es.ogg")
    assert abs(len(read_clip(stamp)) - 16000) < 100


class TestMistakes:
    def test_too_little(self, tree: Path, tmp_path: Path) -> None:
        problem = refused(tmp_path, options(tree, minutes=20.0))
        assert "ru: festvox-ru_msu_ru_nsh_clunits has 1.0 labelled minutes, but 20" in problem
        assert "--minutes" in problem and "--reader" in problem
        only = tmp_path / "only"
        shutil.copytree(tree / "packages/tuxpaint-stamps-default", only / "tuxpaint-stamps-default")
        problem = refused(tmp_path, options(tree, packages=str(only)))
        assert f"missing packages: {only}: has no festvox-ru, klettres-data, gcin-voice" in problem

    def test_unknown_language_and_reader(self, tree: Path, tmp_path: Path) -> None:
        problem = refused(tmp_path, options(tree, langs=("xx", "es"), reader="nobody"))
        assert "--langs xx: no recording with a text; there are texts in en" not in problem
        assert "--langs xx" in problem and "es (" in problem
        assert "--reader nobody: no such voice or corpus in es; there: " in problem

    def test_packages(self, tree: Path, tmp_path: Path) -> None:
        broken = tmp_path / "packages"
        shutil.copytree(tree / "packages", broken)
        shutil.rmtree(broken / "asterisk-core-sounds-es")
        shutil.rmtree(broken / "tuxpaint-stamps-default/usr/share")
        voice = next(broken.rglob("msu_ru_nsh_clunits"))
        (voice / "wav/ru_0003.wav").unlink()
        problem = refused(tmp_path, options(tree, packages=str(broken)))
        assert "half-unpacked package" in problem and "dpkg-deb -x tuxpaint" in problem
        assert "tuxpaint-stamps-default: no usr/share; `apt-get download" in problem
        (broken / "tuxpaint-stamps-default/usr/share").mkdir()
        problem = refused(tmp_path, options(tree, packages=str(broken)))
        assert "missing package: asterisk-core-sounds-es" in problem
        assert "text without audio" in problem and "ru_0003" in problem
        assert "unknown layout" in problem
        assert "recipe does not know: unpack tuxpaint-stamps-default of Debian 12 or" in problem

    def test_places(self, tree: Path, tmp_path: Path) -> None:
        problem = refused(tmp_path, options(tree, fsdd="/absent", speech_to_intent=str(tree)))
        assert "--fsdd /absent" in problem and "no clips/*.ogg" in problem
        assert "no such directory" in refused(tmp_path, options(tree, packages="/absent"))
        (tree / "nothing").mkdir(exist_ok=True)
        assert "no package" in refused(tmp_path, options(tree, packages=str(tree / "nothing")))

    @pytest.mark.parametrize(
        ("source", "files", "said"),
        [
            ("fsdd", {}, "missing recordings: {}: no *.wav, nor recordings/*.wav there"),
            ("orders", {}, "missing recordings: {}: no clips/*.ogg there; copy it again"),
            ("gcompris", {}, "missing recordings: {}: no LANGUAGE/KIND/*.ogg there; expected"),
            ("gcompris", {"texts.tsv": "file\twords\n"},
             "missing column: {}/texts.tsv: no column path, text"),
            ("klettres", {"usr/share/klettres/es/sounds.xml": "<sounds>"},
             "damaged package: {}/usr/share/klettres/es/sounds.xml: no element found"),
            ("klettres", {"usr/share/klettres/es/sounds.xml": "<sounds>"},
             "; unpack klettres-data again"),
            ("klettres", {}, "not know: unpack klettres-data of Debian 12 or later again"),
            ("gcin", {}, "not know: unpack gcin-voice of Debian 12 or later again"),
        ],
    )  # fmt: skip
    def test_what_a_source_lacks(
        self, source: str, files: dict[str, str], said: str, tmp_path: Path
    ) -> None:
        for name, content in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        problems = Problems()
        assert list(getattr(sources, source)(tmp_path, problems)) == []
        assert said.format(tmp_path) in "\n".join(problems.messages())

    def test_an_empty_prompt(self, tmp_path: Path) -> None:
        (tmp_path / "a.g722").write_bytes(b"")
        with pytest.raises(BadAudioError, match="no such file, or 0 bytes"):
            read_clip(tmp_path / "a.g722")

    def test_damaged_audio(self, tree: Path, tmp_path: Path) -> None:
        shutil.copytree(tree / "gcompris", tmp_path / "gcompris")
        (tmp_path / "gcompris/es/words/w1.ogg").write_bytes(b"OggS" * 100)
        (tmp_path / "gcompris/es/words/w2.ogg").unlink()
        given = options(tree, gcompris_voices=str(tmp_path / "gcompris"))
        assert "text without audio" in refused(tmp_path, given)
        (tmp_path / "gcompris/texts.tsv").unlink()
        assert "w1.ogg" in refused(tmp_path, given)

    def test_options(self, tree: Path, tmp_path: Path) -> None:
        given = options(tree, minutes=0.0, unlab_langs="some", left_out="absent.tsv")
        problem = refused(tmp_path, given)
        assert "--minutes 0" in problem and "--unlab-langs some" in problem
        assert "absent.tsv: no such file" in problem


class TestMismatched:
    def test_left_out_of_tests_alone(
        self, built: tuple[Path, Built], tree: Path, tmp_path: Path
    ) -> None:
        out, first = built
        listed = [min(DataDir.read(out / name).wav) for name in ("train", "test_voices")]
        readings = [Reading(one, 0.8, "any", "a", "b") for one in listed]
        assert write_mismatched(tmp_path / "list.tsv", readings, "whisper", 0.5) == 2
        given = options(tree, left_out=str(tmp_path / "list.tsv"))
        result = Human().build(tmp_path / "out", given)
        assert "1 whose audio does not match the text" in result.remarks[0]
        assert result.sets["train"] == first.sets["train"]
        assert result.sets["test_voices"].utterances == first.sets["test_voices"].utterances - 1

    def test_the_table_keeps_what_was_not_read(self, tmp_path: Path) -> None:
        path = tmp_path / "list.tsv"
        one, two = Reading("a", 0.9, "dev", "x", "y"), Reading("b", 0.7, "dev", "x", "y")
        write_mismatched(path, [one, two], "whisper", 0.5)
        write_mismatched(path, [Reading("b", 0.1, "dev", "x", "x")], "whisper", 0.5)
        assert read_mismatched(path) == {"a": 0.9}
        path.write_text("a 0.9\n")
        with pytest.raises(UserError, match=r"list.tsv:1: expected 'utterance"):
            read_mismatched(path)

    @pytest.mark.parametrize(
        "text, heard, error",
        [("a b c", "abc", 0), ("ab", "", 1), ("ab", "xaby", 1), ("abcd", "abxd", 0.25)],
    )
    def test_character_error(self, text: str, heard: str, error: float) -> None:
        assert character_error(text, heard) == error


class FakeReader:
    """Says what a table says, by the number of samples; notes its windows."""

    def __init__(self, said: dict[int, list[str]]) -> None:
        self.said, self.calls = said, []

    def require_language(self, language: str) -> None:
        assert language == "ru"

    def read(self, waveforms: list[np.ndarray], language: str, window: int) -> list[str]:
        self.calls.append((window, len(waveforms)))
        return [self.said[len(waveform)].pop(0) for waveform in waveforms]


class TestWhisperReads:
    def read(self, reader: FakeReader, lengths: dict[str, int]) -> dict[str, float]:
        from distill_asr.corpora.human.whisper import read_all

        rows = {name: (str(count), "Да, нет.") for name, count in lengths.items()}
        found = read_all(
            reader, "ru", rows, lambda path: np.zeros(int(path), dtype=np.float32), unicode_words,
            0.6, "dev",
        )  # fmt: skip
        assert all(one.set == "dev" and one.text == "да нет" for one in found)
        return {one.utterance: one.cer for one in found}

    def test_windows_follow_the_clips(self) -> None:
        lengths = {"a": 16000, "b": 80000, "c": 160000, "d": 16000 * 30}
        reader = FakeReader({count: ["да нет"] for count in lengths.values()})
        assert self.read(reader, lengths) == dict.fromkeys(lengths, 0.0)
        assert reader.calls == [(5, 1), (10, 1), (15, 1), (30, 1)]  # a second of silence behind

    def test_what_is_read_otherwise_is_read_again(self) -> None:
        reader = FakeReader({16000: ["мимо", "да нет"], 16001: ["мимо", "другое"]})
        errors = self.read(reader, {"a": 16000, "b": 16001})
        assert errors["a"] == 0 and errors["b"] > 0.6
        assert reader.calls == [(5, 2), (30, 2)]

    def test_models_and_languages_that_are_not_there(self, tmp_path: Path) -> None:
        from distill_asr.corpora.human.whisper import WhisperReader

        with pytest.raises(UserError, match=r"--check-with .*: no Whisper there"):
            WhisperReader(str(tmp_path))
        reader = WhisperReader.__new__(WhisperReader)
        reader._languages = {"ru", "pt"}
        reader.require_language("pt_BR")
        with pytest.raises(UserError, match=r"does not know the language 'nds'.*known: pt ru"):
            reader.require_language("nds")


def test_a_damaged_scan_is_read_again_from_the_audio(tmp_path: Path) -> None:
    path = tmp_path / "scan.tsv"
    path.write_bytes(b"a.ogg\t5\t1.5\t0.25\nb.ogg\nc.ogg\tx\t\xff\n")
    (one,) = _read_cache(path).items()
    assert one == ("a.ogg\t5", _Heard(1.5, 0.25))


# -- many languages, by text alone ----------------------------------------------


def test_a_text_and_its_translations_are_in_one_set(tree: Path, tmp_path: Path) -> None:
    more = {"minutes": 1.0, "test_minutes": 0.05, "least_minutes": 0.1}
    result = Human().build(tmp_path, options(tree, joint=("ru", "es"), **more))
    names = [f"{code}_{part}" for code in ("ru", "es") for part in ("train", "dev", "test")]
    assert sorted(result.sets) == sorted(names)
    assert result.sets["ru_test"].minutes < 0.1 < result.sets["ru_train"].minutes
    assert "beyond the minutes that were asked for" in result.remarks[0]
    clips = find_clips(options(tree))
    owners = defaultdict(set)
    for name in names:
        data = DataDir.read(tmp_path / name)
        for utterance, text in data.text.items():
            part = name.partition("_")[2]
            owners[unicode_words(text)].add(part)
            owners[clips[utterance].corpus, clips[utterance].key].add(part)
    assert all(len(sets) == 1 for sets in owners.values())
    single = Human().build(tmp_path / "es", options(tree, language="es", **more))
    assert set(single.sets) == {"train", "dev", "test"}
    alone = DataDir.read(tmp_path / "es/test").text
    assert alone == DataDir.read(tmp_path / "es_test").text, "whatever other languages there are"


def test_languages_with_too_little_are_refused(tree: Path, tmp_path: Path) -> None:
    message = refused(tmp_path, options(tree, joint=("ru", "xx", "pt_BR", "ru")))
    assert "language 'xx': 0.0 minutes with a text, expected 2 or more" in message
    assert "language 'pt_BR'" in message and "expected each one once" in message
    assert "expected one of them" in refused(tmp_path, options(tree, joint=("ru",), language="ru"))
