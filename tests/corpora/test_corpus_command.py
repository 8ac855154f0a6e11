"""The verb ``corpus``: names, typed options, and a user's own corpus."""

import dataclasses
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from distill_asr import cli
from distill_asr.corpora.command import listing, parse_options
from distill_asr.corpora.contract import Built, Corpus, CorpusSet, option
from distill_asr.corpora.registry import CORPORA, find_corpus
from distill_asr.errors import UserError
from distill_asr.testing.corpora import write_aishell


@dataclass(frozen=True)
class EchoOptions:
    word: str | None = option(None, "any", env="ECHO_WORD")
    count: int = option(2, "100 % of them")
    share: float | None = option(None, "of them")
    names: tuple[str, ...] = option(("a", "b"), "split by commas")
    loud: bool = option(False, "or not")


class Echo(Corpus[EchoOptions]):
    summary = "Says what it was given."
    options = EchoOptions

    def build(self, out: Path, options: EchoOptions) -> Built:
        write(out / "train", options.count)
        write(out / "dev", 1, text=False)
        one = CorpusSet(options.count, 1, minutes=0.25, left_out="some")
        return Built({"train": one, "dev": CorpusSet(1, 1, labelled=False)}, (str(options),))


def write(folder: Path, count: int, text: bool = True) -> None:
    folder.mkdir(parents=True)
    tables = {"wav.scp": "{}.wav", "utt2spk": "me"} | ({"text": "word"} if text else {})
    for table, value in tables.items():
        lines = [f"me-{i:02d} {value.format(i)}\n" for i in range(count)]
        (folder / table).write_text("".join(lines), encoding="utf-8")


def options_of(*given: str) -> EchoOptions:
    return parse_options("echo", Echo, ["--out", "data", *given])[1]


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_keeps_the_contract(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    corpus = find_corpus(name)
    corpus()
    corpus.options()  # every option has a default
    assert all(one.metadata["help"] for one in dataclasses.fields(corpus.options))
    assert cli.main(["corpus", name, "--help"]) == 0
    assert "--out DIR" in capsys.readouterr().out


def test_a_corpus_needs_a_process(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse_options("mini", find_corpus("mini"), ["--out", "data", "--nj", "0"])
    assert "--nj: given 0, expected at least 1" in capsys.readouterr().err


def test_the_list_says_what_each_needs() -> None:
    shown = listing()
    assert all(name in shown for name in CORPORA)
    for needed in ("AISHELL=DIR", "FSDD=DIR", "COMMONVOICE=DIR", "LIBRISPEECH=DIR"):
        assert needed in shown


def test_help_loads_no_torch() -> None:
    code = (
        "import sys; from distill_asr import cli\n"
        "for argv in (['corpus', '--help'], ['corpus', '--list'], ['corpus', 'mini', '--help']):\n"
        "    cli.main(argv)\n"
        "assert not {'torch', 'espnet2', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)


def test_options_are_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ECHO_WORD", raising=False)
    assert options_of() == EchoOptions()
    given = options_of("--count", "3", "--share", "0.5", "--names", "x,y,z", "--loud")
    assert given == EchoOptions(None, 3, 0.5, ("x", "y", "z"), True)


def test_an_environment_variable_is_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECHO_WORD", "hello")
    assert options_of().word == "hello"
    assert options_of("--word", "other").word == "other"
    monkeypatch.setenv("ECHO_WORD", "")
    assert options_of().word is None


def test_a_corpus_of_your_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["corpus", f"{__name__}.Echo", "--out", "data", "--count", "12"]) == 0
    head, train, dev, remark = capsys.readouterr().out.splitlines()
    assert head.split() == ["set", "utterances", "minutes", "speakers", "text", "left", "out"]
    assert train.split() == ["train", "12", "0.2", "1", "yes", "some"]
    assert dev.split() == ["dev", "1", "1", "no", "none"]
    assert "count=12" in remark


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("minni", "did you mean 'mini'?"),
        ("no.such.Module", "cannot be imported"),
        ("distill_asr.corpora.mini.Nothing", "cannot be imported"),
        ("distill_asr.corpora.mini.build", "expected a subclass of"),
    ],
)
def test_unknown_corpora(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message.replace("?", r"\\?")):
        find_corpus(name)


class Plain(Corpus):
    """Nothing declared; subclasses say what they build."""

    given: object = Built({"train": CorpusSet(2, 1)})
    count = 2

    def build(self, out: Path, options: object) -> object:
        write(out / "train", self.count)
        return self.given


class Empty(Plain):
    given = Built({"train": CorpusSet(0, 0)})
    count = 0


class Miscounted(Plain):
    count = 3


class Unlabelled(Plain):
    given = Built({"train": CorpusSet(2, 1, labelled=False)})


class Elsewhere(Plain):
    given = Built({"dev": CorpusSet(2, 1)})


class GivesNone(Plain):
    given = None


class NoSet(Plain):
    given = Built()


class NoBuild(Corpus[EchoOptions]):
    pass


class PlainOptions(Plain):
    options = dict


@dataclass(frozen=True)
class Unfit:
    out: str | None = option(None, "taken")
    sizes: dict[str, int] | None = option(None, "of an odd type")  # noqa: RUF009
    either: int | str = option(1, "of two types")
    must: int = dataclasses.field(kw_only=True)


class UnfitOptions(Plain):
    options = Unfit


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        ("Empty", ["train/wav.scp: no entries", "train/utt2spk: no entries"]),
        ("Miscounted", ["train: CorpusSet has 2 utterances, wav.scp has 3"]),
        (
            "Unlabelled",
            ["CorpusSet(labelled=False) declares that it has none; there is a file `text`"],
        ),
        ("Elsewhere", ["dev: no such data directory"]),
        ("GivesNone", ["GivesNone: build gave NoneType; expected Built"]),
        ("NoSet", ["build gave no set"]),
        ("NoBuild", ["NoBuild: has no build(self, out, options)"]),
        ("PlainOptions", ["options is <class 'dict'>; expected a class under @dataclass"]),
        (
            "UnfitOptions",
            [
                "options.out: --out is taken",
                "options.sizes is of type dict[str, int] | None; expected str, int,",
                "options.either is of type int | str; expected",
                "options.must has no default",
            ],
        ),
    ],
)
def test_a_corpus_that_breaks_the_contract(
    name: str, messages: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["corpus", f"{__name__}.{name}", "--out", str(tmp_path / "data")]) == 1
    said = capsys.readouterr().err
    assert all(message in said for message in messages)


def test_a_corpus_needs_to_declare_nothing(tmp_path: Path) -> None:
    assert cli.main(["corpus", f"{__name__}.Plain", "--out", str(tmp_path / "data")]) == 0


def test_a_file_that_cannot_be_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "broken_corpus.py").write_text("1 / 0")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(UserError, match=r"cannot be imported \(ZeroDivisionError: division"):
        find_corpus("broken_corpus.Mine")


def test_missing_and_wrong_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["corpus", "mini"]) == 2
    assert cli.main(["corpus", "mini", "--out", "data", "--seed", "x"]) == 2
    assert "distill-asr corpus mini: error: argument --seed" in capsys.readouterr().err
    assert cli.main(["corpus", "mini_multilingual", "--out", "data"]) == 1
    assert "one of --language, --pretraining and --text" in capsys.readouterr().err


def test_a_corpus_by_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AISHELL", str(write_aishell(tmp_path)))
    assert cli.main(["corpus", "aishell", "--out", str(tmp_path / "data")]) == 0
    assert (tmp_path / "data" / "train" / "text").is_file()
