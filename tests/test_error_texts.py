"""Every way a verb refuses, shown once by its text: the file, what was found, the way out.

Those that need ESPnet are in ``tests/train/test_config_check.py``, ``tests/train/test_faults.py``
and ``tests/test_accidents.py``.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
import soundfile

from distill_asr.cli import main

PREPARE = "prepare src dst --nj 1"
SCORE = "score --systems x --seeds 1 --sets dst --dump . --exp exp"
TRAIN = "train --train dst --valid dst --output e --config"
GARBAGE = b"<!DOCTYPE html>"
TABLES = {"wav.scp": "a a.wav\nb b.wav\n", "text": "a one\nb two\n", "utt2spk": "a s\nb s\n"}
DECODED = "exp/x_seed1/decode/dst/"


@dataclass(frozen=True)
class Case:
    """A command that is refused.

    Parameters
    ----------
    files : written before it, by path; None: removed.
    said : what the report must hold.
    """

    command: str
    said: tuple[str, ...]
    files: dict[str, str | bytes | None] = field(default_factory=dict)


def table(name: str, content: str | bytes | None, *said: str) -> Case:
    """A mistake in a table of the directory that is prepared."""
    return Case(PREPARE, (f"src/{name}", *said), {f"src/{name}": content})


CASES = {
    # prepare: tables
    "no directory": Case("prepare nowhere dst", ("nowhere: no such data directory", "correct")),
    "no wav.scp": table("wav.scp", None, "no such file; write one line `UTTERANCE FILE`"),
    "empty wav.scp": table("wav.scp", "", "no entries; write one line `UTTERANCE FILE`"),
    "no utt2spk": table("utt2spk", None, "no such file; write one line `UTTERANCE SPEAKER`"),
    "empty text": table("text", "", "no entries; remove it if the set is unlabelled"),
    "two speakers": table("utt2spk", "a s\nb s t\n", "b: expected one speaker, found 's t'; name"),
    "lacking line": Case(PREPARE, ("wav.scp: b is not in text; add a line there or remove this",),
                         {"src/text": "a one\n"}),
    "more lines": table("text", "a one\nb two\nc x\n", "c is not in wav.scp; add its audio or"),
    "no words": table("text", "a one\nb \n", ": b: no words; remove the utterance from all files"),
    "twice": table("text", "a one\na two\nb x\n", ":2: a occurs before; keep one"),
    "latin-1": table("text", b"a one\nb gr\xfcn\n", ":2: byte 0xfc at position 5; convert it"),
    "utf-16": table("text", "a one\nb two\n".encode("utf-16"), "byte 0xff at position 1; convert"),
    "byte order mark": table("text", "\ufeffa one\nb two\n", ":1: save it as UTF-8 without one"),
    "carriage return": table("text", "a one\rx\nb two\n", "U+000D", "position 6", "remove it"),
    "NUL": table("text", "a o\0ne\nb two\n", "U+0000", "position 4; remove it"),
    "no-break space": table("utt2spk", "a s\nb\u00a0c s\n", "U+00A0", "ids have no blanks"),
    "reserved word": table("text", "a <unk>\nb two\n", "a: <unk> is a symbol", "write another one"),
    "no number": table("utt2num_samples", "a 16000\nb x\n", "b: expected a count, found 'x'"),
    "wrong number": Case("prepare src new", ("declares 5 samples, the file has 16000; remove",),
                         {"src/utt2num_samples": "a 5\nb 16000\n"}),
    "spk2utt": table("spk2utt", "s a\nt b\n", "b: speaker t, in utt2spk s; remove spk2utt"),
    "no path": table("wav.scp", "a a.wav\nb\n", "b: no path after the id"),
    "no recording": table("segments", "a r 0 1\nb b 0 1\n", "recording r is not in wav.scp; add"),
    "backwards": table("segments", "a a 1 0\nb b 0 1\n", "expected 0 <= start < end, found"),
    "id with a slash": Case(
        PREPARE, ("src/wav.scp: a/b", "must not have '/'", "rename it in all files"),
        {"src/wav.scp": "a/b a.wav\n", "src/text": "a/b one\n", "src/utt2spk": "a/b s\n"}),
    # prepare: audio
    "no audio": table("wav.scp", "a no.wav\nb b.wav\n", "a: no.wav: no such file (looked from ",
                      "correct the path, or bring it back"),
    "command": table("wav.scp", "a sox x |\nb b.wav\n", "1 of 2 entries are commands",
                     "a: 'sox x |'", "--allow-pipes if you trust"),
    "web page": Case(PREPARE, ("a: a.wav: looks like a web page", "download the audio again"),
                     {"a.wav": GARBAGE}),
    "no bytes": Case(PREPARE, ("a: a.wav: the file has 0 bytes; copy it again",), {"a.wav": b""}),
    # prepare: options
    "options": Case(
        "prepare src dst --fs 0 --nj 0 --min-duration 3 --max-duration 1 --tokens bpe "
        "--unicode-form NFC --language-tag",
        ("8 problems", "--fs 0: expected a positive number of Hz",
         "--nj 0: expected at least 1", "expected 0 <= min <= max",
         "--tokens needs --token-list PATH", "--tokens bpe needs --vocab-size N",
         "--unicode-form NFC needs --normalise unicode", "--language-tag needs --language CODE")),
    "into itself": Case("prepare src src", ("SRC and DST are both src; give another DST",)),
    "nothing left": Case(f"{PREPARE} --min-duration 5",
                         ("src: all 2 utterances are shorter than 5.0 s", "change --min-duration")),
    "vocabulary": Case(
        f"{PREPARE} --tokens bpe --token-list t --bpe-model b --vocab-size 999",
        ("--vocab-size 999: 2 transcripts cannot be cut", "set it to a value <=")),
    "changed since": Case("prepare dst other", ("dst/text: changed or damaged since", "expected ",
                          "(dst/prepare.json); run the same `distill-asr prepare` again"),
                          {"dst/text": "a one\nb six\n"}),
    # corpus
    "corpus": Case("corpus librispech --out o", ("did you mean 'librispeech_100'?", "--list")),
    "corpus folder": Case("corpus librispeech_100 --out o --librispeech nowhere",
                          ("nowhere is not a directory; expected LibriSpeech", "openslr.org/12")),
    "corpus language": Case("corpus commonvoice --out o --language ../x",
                            ("--language '../x': expected a code such as ta",)),
    "corpus fsdd": Case("corpus fsdd --out o --fsdd nowhere",
                        ("nowhere is not a directory; expected the Free Spoken Digit Dataset",)),
    "corpus aishell": Case("corpus aishell --out o --aishell nowhere",
                           ("nowhere is not a directory; expected AISHELL-1: get",)),
    # score and report
    "no words yet": Case(SCORE, (f"{DECODED}text: no such file; correct the path, or run",),
                         {f"{DECODED}text": None}),
    "another set's": Case(SCORE, ("no reference for 1 utterance(s) (c); is it another test",),
                          {f"{DECODED}text": "a one\nc two\n"}),
    "no hypothesis": Case(SCORE, ("has no hypothesis; decode the set again",),
                          {f"{DECODED}text": ""}),
    "hypothesis twice": Case(SCORE, (f"{DECODED}text:2: utterance a occurs twice; keep one",),
                             {f"{DECODED}text": "a one\na two\nb x\n"}),
    "score record": Case(SCORE, (f"{DECODED}decode.json: cut short or damaged; decode the set",),
                         {f"{DECODED}decode.json": "{"}),
    "baseline": Case(f"{SCORE} --baseline y --out a.json",
                     ("--baseline: y is not among --systems x; add it", "a.json is the file of")),
    "report": Case("report --languages en --baseline x --candidates x --seeds 1 --exp exp --dump .",
                   ("dev/text: no such file", "2 problems")),
    # decode, pseudo-label, stream, export
    "decode": Case(
        "decode --exp nowhere --data nothing --beam-size 0 --ctc-weight 2",
        ("--beam-size 0: expected at least 1", "--ctc-weight 2.0: expected between 0 and 1",
         "nowhere/config.yaml: no such file; is the training in nowhere finished?",
         "nowhere/valid.loss.ave.pth: no such file", "nothing: no such data directory")),
    "decode by a config that was cut": Case(
        "decode --exp teacher --data dst",
        ("teacher/config.yaml: cut short, lacks ", "put a good copy back, or train teacher again"),
        {"teacher/config.yaml": "b: 1\n"}),
    "pseudo-label": Case(
        "pseudo-label --exp nowhere --data dst --output dst --keep-best 3",
        ("--keep-best 3.0: expected a share", "--data and --output are both dst; give another")),
    "export where something is": Case("export --exp nowhere --output dst",
                                      ("--output dst: exists already; remove it, or choose",)),
    # dump and targets
    "targets": Case("targets info nowhere", ("nowhere/manifest.json: missing", "distill-asr dump")),
    "teacher": Case("dump dst --teacher no.yaml", ("no.yaml: no such file; correct the path",)),
    "teacher's key": Case(
        "dump dst --teacher t.yaml",
        ("unknown key 'modle' (did you mean model?); allowed: kind", "t.yaml: model: missing",
         "t.yaml: layers: missing; a list of layer numbers"),
        {"t.yaml": "kind: speech\nmodle: x\n"}),
    "teacher's form": Case("dump dst --teacher t.yaml", ("t.yaml: not valid YAML", "line 1"),
                           {"t.yaml": "kind: [speech\n"}),
    # stream
    "stream": Case(
        "stream --exp nowhere no.wav - - --chunk-size 0 --piece-ms 0 --endpoint -1 --form int8",
        ("6 problems", "no.wav: no such file; correct the path", "'-' given more than once",
         "--chunk-size 0: expected at least 1 frame to stream", "--piece-ms 0.0: expected more",
         "--endpoint -1.0: expected seconds, or 0", "--form: is an option of --runtime onnx")),
    "stream a student that is not there": Case(
        "stream --exp nowhere a.wav",
        ("nowhere/config.yaml: no such file; is the training in nowhere finished?",
         "nowhere/valid.loss.ave.pth: no such file")),
    "stream no export": Case(
        "stream --exp nowhere --runtime onnx a.wav",
        ("nowhere/export.json: no such file; --runtime onnx needs a directory that",)),
    "stream a damaged export": Case(
        "stream --exp . --runtime onnx a.wav",
        ("tokens.txt: changed or damaged since it was written (SHA256SUMS)",
         "encoder.onnx: no such file, and SHA256SUMS names it; export it again"),
        {"export.json": "{}", "tokens.txt": "x",
         "SHA256SUMS": "0a  tokens.txt\n0b  encoder.onnx\n"}),
    # export
    "export with other forms' options": Case(
        "export --to espnet --exp nowhere --output o --streaming --chunk-size 4 --quantize int8",
        ("--streaming: goes with --to onnx or sherpa", "--chunk-size: goes with",
         "--quantize: goes with")),
    "export that is packed": Case("export --to onnx --exp nowhere --output o --pack z.zip",
                                  ("--pack: goes with --to espnet, not onnx",)),
    "export tried on nothing": Case("export --to onnx --exp nowhere --output o --num-wavs 0",
                                    ("--num-wavs 0: expected at least 1, to try the export on",)),
    "export of nothing": Case("export --to onnx --exp nowhere --output o",
                              ("nowhere/config.yaml", "no such file")),
    "export over an archive": Case(
        "export --to espnet --exp nowhere --output o --pack z.zip",
        ("--pack z.zip: exists already; remove it, or choose another one",), {"z.zip": ""}),
    # train-teacher
    "teacher's settings and sets": Case(
        "train-teacher --config t.yaml --train no --dev src --test dst/no --output dst",
        ("6 problems", "--output dst: holds a prepared data directory (prepare.json)",
         "t.yaml: model_type: 'huber'; did you mean 'hubert'?",
         "t.yaml: speed: given [1], expected two factors", "t.yaml: init: no model.safetensors in",
         "no: no such file or directory; correct the path", "dst/no: no such file or directory"),
        {"t.yaml": "kind: speech\nmodel_type: huber\nmodel: {}\ntraining: {}\nspeed: [1]\n"
                   "init: nowhere\n"}),
    "teacher's noise": Case(
        "train-teacher --config t.yaml --train src --dev src --output e",
        ("t.yaml: noise.snr: given [3], expected limits such as [0, 20]",),
        {"t.yaml": "kind: speech\nmodel_type: hubert\nmodel: {}\ntraining: {}\n"
                   "noise: {share: 0.5, snr: [3]}\n"}),
    "teacher's text": Case(
        "train-teacher --config t.yaml --train no.txt --dev no.txt --output e",
        ("t.yaml: mask: given 3, expected a share such as 0.15", "no.txt: no such file",
         "t.yaml: vocabulary: given 0, expected a positive number",
         "t.yaml: model.model_type: 'bret'; did you mean 'bert'?"),
        {"t.yaml": "kind: text\nmodel: {model_type: bret}\ntraining: {}\nmask: 3\n"
                   "vocabulary: 0\n"}),
    "teacher's report": Case(
        "train-teacher --config t.yaml --train src --dev src --output teacher",
        ("teacher/teacher_report.json: damaged or cut short; remove teacher to train anew",),
        {"t.yaml": "kind: text\nmodel: {model_type: bert}\ntraining: {}\nmask: 0.5\n"
                   "vocabulary: words\n", "teacher/teacher_report.json": "[]"}),
    # where words and tables go
    "words over transcripts": Case(
        "decode --exp nowhere --data dst --output dst",
        ("--output dst: holds a prepared data directory (prepare.json); give another",)),
    "table over transcripts": Case(f"{SCORE} --out dst/text",
                                   ("--out dst/text: expected a name that ends in .md or .txt",)),
    "page over transcripts": Case(
        "report exp/x_seed1 --out dst/text --noise-floor 100",
        ("--out dst/text: expected a name that ends in .html or .htm",
         "--noise-floor: 100.0, expected percent from 0 to 100")),
    # init and plan
    "init": Case(
        "init new --from no.tsv --set a --delimiter xy --dev-share 2 --vocab-size 0",
        ("--set a: expected SPLIT=SET, such as other=train", "'xy': expected one character",
         "--dev-share 2.0: expected more than 0", "--vocab-size 0: expected more than 0",
         "--from no.tsv: no such file or directory")),
    "plan": Case("plan nowhere", ("nowhere/conf/systems.yaml: no such file; is nowhere a",)),
    "speaker's pattern": Case("init new --from src --speaker-pattern (",
                              ("--speaker-pattern '(': missing ), unterminated subpattern",)),
    "plan's numbers": Case(
        "plan . --hours x --rate fly=1 --seeds 0 --nj 0",
        ("--hours x: expected NAME=NUMBER, more than 0", "--rate fly: expected one of dump",
         "--seeds 0: expected at least 1", "--nj 0: expected at least 1"),
        {"conf/systems.yaml": "systems: {}\n"}),
    # train, train-teacher, recipe
    "config": Case(f"{TRAIN} no.yaml", ("no.yaml: no such file; correct the path",)),
    "config's form": Case(f"{TRAIN} c.yaml", ("c.yaml: not valid YAML",), {"c.yaml": "b: [\n"}),
    "names": Case(f"{TRAIN} c.yaml --output e,f --init a:b",
                  ("--output e,f: ESPnet splits paths at commas; use another name",
                   "--init a:b: ESPnet splits it at colons; rename")),
    "systems": Case("recipe check no.yaml", ("no.yaml: no such file; correct the path",)),
}  # fmt: skip


@pytest.fixture(scope="module")
def scene(tmp_path_factory) -> Path:
    """A data directory, prepared as ``dst``; the words of a decoding of it."""
    root = tmp_path_factory.mktemp("scene")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        restore()
        assert main(PREPARE.split()) == 0
    return root


def restore() -> None:
    rng = np.random.default_rng(0)
    for folder in ("src", DECODED, "conf", "teacher"):
        Path(folder).mkdir(parents=True, exist_ok=True)
    for name in "ab":
        soundfile.write(f"{name}.wav", rng.normal(0, 0.1, 16000), 16000)
    for name, content in TABLES.items():
        Path("src", name).write_text(content)
    Path(DECODED, "text").write_text(TABLES["text"])


def write(files: dict[str, str | bytes | None]) -> None:
    for name, content in files.items():
        if content is None:
            Path(name).unlink()
        else:
            Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.mark.parametrize("name", CASES)
def test_text(name: str, scene: Path, monkeypatch, capsys: pytest.CaptureFixture) -> None:
    case = CASES[name]
    monkeypatch.chdir(scene)
    before = {file: Path(file).read_bytes() for file in case.files if Path(file).is_file()}
    write(case.files)
    try:
        assert main(case.command.split()) == 1
    finally:
        write({file: before.get(file) for file in case.files})
    report = capsys.readouterr().err
    assert all(words in report for words in case.said), report
    assert "Traceback" not in report
    verb = case.command.split()[0]
    assert f"distill-asr {verb}: error: " in report
    assert not Path("e").exists() and not Path("o").exists()
    assert not Path("other/wav.scp").exists()


def test_nothing_was_written_by_a_command_that_was_refused(scene: Path) -> None:
    """Whatever the others tried, the directory that was prepared is as it was."""
    record = json.loads((scene / "dst/prepare.json").read_text())
    assert record["utterances"] == 2 and (scene / "dst/text").read_text() == TABLES["text"]
