"""Exports in ONNX Runtime and the real sherpa-onnx: from wave files to the words of PyTorch."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

pytest.importorskip("espnet2")
pytest.importorskip("onnxruntime")
pytest.importorskip("sherpa_onnx")
import onnxruntime

from distill_asr import cli
from distill_asr.experiments.layout import AVERAGED
from distill_asr.experiments.student import load_student
from distill_asr.testing.fixtures import make_prepared_dir
from distill_asr.testing.recognisers import save_recogniser

SIZES = {"output_size": 16, "attention_heads": 2, "linear_units": 16, "num_blocks": 2}
CONFORMER = SIZES | {"input_layer": "conv2d", "rel_pos_type": "latest", "cnn_module_kernel": 5}
CHUNKED = SIZES | {"cnn_module_kernel": 5, "chunk_size": 3, "left_frames": 8}
WAV2VEC = {"model_type": "wav2vec2", "hidden_size": 16, "num_hidden_layers": 2,
           "num_attention_heads": 2, "intermediate_size": 16, "conv_dim": [8] * 7,
           "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}  # fmt: skip
STUDENTS = {
    "transducer": {"model": "transducer", "encoder_conf": CONFORMER, "normalize": "utterance_mvn"},
    "streaming": {"model": "transducer", "encoder": "chunked", "encoder_conf": CHUNKED},
    "lstm": {"model": "transducer", "encoder": "chunked", "encoder_conf": CHUNKED,
             "decoder": "lstm", "decoder_conf": {"hidden_size": 8, "num_layers": 2}},
    "streaming ctc": {"model": "ctc", "encoder": "chunked",
                      "encoder_conf": CHUNKED | {"left_frames": 6}},
    "waveform": {"model": "ctc", "frontend": None, "frontend_conf": {}, "input_size": 1,
                 "encoder": "hf_speech",
                 "encoder_conf": {"architecture": WAV2VEC, "do_normalize": True}},
    "hybrid": {"model": "ctc", "encoder_conf": CONFORMER, "normalize": "utterance_mvn"},
}  # fmt: skip
LENGTHS = [1, 100, 800, 1360, 3000, 16000, 16001, 23456, 100000]  # samples
BEAM = 4  # sherpa-onnx's default


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_prepared_dir(tmp_path_factory.mktemp("data") / "dev", 3)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, prepared: Path):
    """Function that exports one of ``STUDENTS``, once; experiment and directory."""
    made: dict[str, tuple[Path, Path]] = {}

    def export(name: str) -> tuple[Path, Path]:
        if name not in made:
            root = tmp_path_factory.mktemp(name)
            exp = talkative(root / "exp", prepared, **STUDENTS[name])
            more = ["--streaming"] if name.startswith("streaming") else []
            to = "onnx" if name == "lstm" else "sherpa"  # which has no states but for NeMo's
            assert cli.main(command(exp, root / "out", prepared, *more, to=to)) == 0
            made[name] = exp, root / "out"
        return made[name]

    return export


def talkative(directory: Path, prepared: Path, **student) -> Path:
    """An experiment whose random student says some tokens, and more often none."""
    frontend = {"frontend_conf": {"n_mels": 80}}
    exp = save_recogniser(directory, **frontend | student)
    weights, (built, _) = torch.load(exp / AVERAGED, weights_only=True), load_student(exp)
    with torch.no_grad():
        heard = torch.from_numpy(recordings()[-1])[None]
        usual = built.encode(heard, torch.tensor([heard.size(1)]))[0][0].mean(0)
    for name in ("joint_network.lin_enc", "ctc.ctc_lo"):  # what differs from frame to frame counts
        if f"{name}.weight" in weights:
            weights[f"{name}.weight"] *= 4
            weights[f"{name}.bias"] = -weights[f"{name}.weight"] @ usual
    for name in ("joint_network.lin_out.bias", "ctc.ctc_lo.bias"):  # the end token is no word
        if name in weights:
            weights[name][-1] = -1e4
    torch.save(weights, exp / AVERAGED)
    return exp


def command(exp: Path, output: Path, wavs: Path, *more: str, to: str = "sherpa") -> list[str]:
    words = ["export", "--to", to, "--exp", exp, "--output", output, "--wavs", wavs, *more]
    return [str(word) for word in words]


def recordings() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    found = []
    for length in LENGTHS:  # tones that change five times a second
        pitch, loud = rng.uniform(0.03, 1, 100), rng.uniform(0, 0.5, 100)
        now = np.arange(length) // 3200
        tone = loud[now] * np.sin(np.arange(length) * pitch[now])
        found.append((tone + rng.normal(0, 0.02, length)).astype(np.float32))
    return found


def facts_of(directory: Path) -> dict:
    return json.loads((directory / "export.json").read_text(encoding="utf-8"))


def expected_words(exp: Path, facts: dict) -> list[str]:
    from distill_asr.experiments.export.expected import Expected
    from distill_asr.experiments.export.kinds import WantedExport, make_form
    from distill_asr.experiments.export.symbols import Words, symbols

    student, config = load_student(exp)
    form = make_form(student, WantedExport(streaming=facts["stream"] is not None))
    search, words = Expected(student, form, facts["unk"]), Words(config, symbols(config))
    return [words(search(torch.from_numpy(one))) for one in recordings()]


def spoken(directory: Path, **options) -> list[str]:
    """Words of ``recordings`` in sherpa-onnx, one by one and all at once, which are the same."""
    from distill_asr.experiments.export.sherpa import SherpaRecogniser
    from distill_asr.experiments.export.symbols import plain

    recogniser = SherpaRecogniser(directory, facts_of(directory), **options)
    alone = [plain(recogniser([one])[0]) for one in recordings()]
    assert alone == [plain(one) for one in recogniser(recordings())]
    return alone


@pytest.mark.parametrize("name", STUDENTS)
def test_same_words_everywhere(exported, name: str) -> None:
    from distill_asr.experiments.export.recognise import Recogniser
    from distill_asr.experiments.export.symbols import plain

    exp, out = exported(name)
    right = expected_words(exp, facts_of(out))
    assert len(set(right)) > 2
    recogniser = Recogniser(out)
    assert [plain(recogniser(one)) for one in recordings()] == right
    assert name == "lstm" or spoken(out) == right


@pytest.mark.parametrize("name", ["transducer", "streaming"])
def test_modified_beam_search(exported, name: str) -> None:
    from distill_asr.experiments.export.recognise import Recogniser
    from distill_asr.experiments.export.symbols import plain

    _, out = exported(name)
    recogniser = Recogniser(out)
    right = [plain(recogniser.text(beam_search(recogniser, one))) for one in recordings()]
    assert len(set(right)) > 2
    assert spoken(out, method="modified_beam_search") == right


def beam_search(recogniser, samples: np.ndarray) -> list[int]:
    """Hypotheses with the same tokens are added up; one token a frame at most."""
    facts = recogniser.facts
    feats = recogniser.features(np.pad(samples, (0, facts["tail_samples"])))
    if facts["stream"]:
        encoded = np.concatenate(list(recogniser.chunks(feats)))
    elif len(feats):
        found, lengths = recogniser.run("encoder", feats[None], np.array([len(feats)]))
        encoded = found[0, : lengths[0]]
    else:
        return []
    beam: dict[tuple[int, ...], float] = {(): 0.0}
    for frame in encoded:
        grown: dict[tuple[int, ...], float] = {}
        last = np.array([[tokens[-1] if tokens else 0] for tokens in beam])
        predicted = recogniser.run("decoder", last)[0]
        logits = recogniser.run("joiner", np.repeat(frame[None], len(beam), 0), predicted)[0]
        scores = logits - np.logaddexp.reduce(logits, axis=1, keepdims=True)
        scores = scores + np.array(list(beam.values()))[:, None]
        for place in np.argsort(-scores, axis=None)[:BEAM]:
            row, token = divmod(int(place), scores.shape[1])
            tokens = list(beam)[row] + ((token,) if token not in (0, facts["unk"]) else ())
            score = float(scores[row, token])
            grown[tokens] = np.logaddexp(grown[tokens], score) if tokens in grown else score
        beam = grown
    return list(max(beam, key=lambda tokens: beam[tokens] / (len(tokens) + 1)))


@pytest.mark.parametrize("name", ["streaming", "streaming ctc"])
@pytest.mark.parametrize("piece", [160, 1237, 16000])
def test_streams_in_pieces(exported, name: str, piece: int) -> None:
    from distill_asr.experiments.export.recognise import Recogniser, Stream
    from distill_asr.experiments.export.sherpa import SherpaRecogniser
    from distill_asr.experiments.export.symbols import plain

    exp, out = exported(name)
    recogniser, right = SherpaRecogniser(out, facts_of(out)), expected_words(exp, facts_of(out))
    assert [plain(text) for text in recogniser(recordings(), piece=piece)] == right
    own = Recogniser(out)
    for samples, words in zip(recordings(), right, strict=True):
        stream = Stream(own)
        for begin in range(0, len(samples), piece):
            stream.push(samples[begin : begin + piece])
        stream.finish()
        assert plain(own.text(stream.search.tokens)) == words


def test_what_lies_there(exported, prepared: Path) -> None:
    _, out = exported("transducer")
    assert {path.name for path in out.iterdir()} == {
        "encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt", "features.npz", "export.json",
        "recognise.py", "test_wavs", "README.md", "SHA256SUMS",
    }  # fmt: skip
    assert (out / "tokens.txt").read_text().splitlines()[:3] == ["<blk> 0", "<unk> 1", "▁ 2"]
    assert len((out / "test_wavs/words.txt").read_text().splitlines()) == 3
    checked = subprocess.run(["sha256sum", "--check", "--quiet", "SHA256SUMS"], cwd=out)
    assert checked.returncode == 0
    encoder = onnxruntime.InferenceSession(out / "encoder.onnx")
    # sherpa-onnx's programs take an encoder of this type for a transducer, and of no other of ours
    assert encoder.get_modelmeta().custom_metadata_map == {"model_type": "conformer"}
    card = (out / "README.md").read_text()
    assert "pip install sherpa-onnx sherpa-onnx-bin" in card
    assert re.findall(r"\| (\S+ fp32) \| \d+\.\d{4} \|", card) == [
        "PyTorch fp32", "onnxruntime fp32", "sherpa-onnx fp32",
    ]  # fmt: skip


def test_smaller_models(tmp_path: Path, exported, prepared: Path) -> None:
    from distill_asr.experiments.export.sherpa import SherpaRecogniser

    exp, fp32 = exported("streaming")
    more = ["--streaming", "--quantize", "int8", "fp16"]
    assert cli.main(command(exp, tmp_path / "out", prepared, *more)) == 0
    right = spoken(tmp_path / "out", form="fp16")
    assert sum(a != b for a, b in zip(right, spoken(fp32), strict=True)) <= 1
    recogniser = SherpaRecogniser(tmp_path / "out", facts_of(tmp_path / "out"), "int8")
    assert any(recogniser([one])[0] for one in recordings())


def test_differing_words_are_refused(tmp_path: Path, exported, prepared: Path, monkeypatch, capsys):
    from distill_asr.experiments.export import product

    exp, _ = exported("transducer")
    monkeypatch.setattr(product.Expected, "__call__", lambda self, samples: [3, 4])
    assert cli.main(command(exp, tmp_path / "out", prepared)) == 1
    assert "onnxruntime gives" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_an_opset_that_the_runtime_lacks(tmp_path, exported, prepared, monkeypatch, capsys) -> None:
    import onnxruntime

    def old(*args, **options) -> None:
        raise RuntimeError("Opset 17 is under development and support for this is limited")

    exp, _ = exported("transducer")
    monkeypatch.setattr(onnxruntime, "InferenceSession", old)
    assert cli.main(command(exp, tmp_path / "out", prepared)) == 1
    error = capsys.readouterr().err
    assert "does not load the models, which have ONNX opset 17" in error and "upgrade" in error
    assert not list(tmp_path.iterdir())


def test_full_disk(tmp_path: Path, exported, prepared: Path, monkeypatch, capsys) -> None:
    exp, _ = exported("transducer")

    def full(source: str, target: Path) -> None:
        raise OSError(28, "No space left on device", str(target))

    monkeypatch.setattr(shutil, "copyfile", full)
    assert cli.main(command(exp, tmp_path / "out", prepared)) == 1
    assert "No space left on device; nothing was written" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_refusals(tmp_path: Path, exported, prepared: Path, capsys) -> None:
    exp, out = exported("transducer")
    cases = {
        "exists already": command(exp, out, prepared),
        "no such file; is the training in": command(tmp_path / "none", tmp_path / "out", prepared),
        "--chunk-size: encoder ConformerEncoder has no chunks": command(
            exp, tmp_path / "out", prepared, "--chunk-size", "4"
        ),
        "--num-wavs 0: expected at least 1": command(
            exp, tmp_path / "out", prepared, "--num-wavs", "0"
        ),
        "--quantize: goes with --to onnx or sherpa": command(
            exp, tmp_path / "out", prepared, "--quantize", "int8", to="espnet"
        ),
    }
    for message, words in cases.items():
        assert cli.main(words) == 1
        assert message in capsys.readouterr().err
    (unfinished := exp.with_name("unfinished")).mkdir()
    for name in ("config.yaml", AVERAGED):
        shutil.copyfile(exp / name, unfinished / name)
    (unfinished / "train.yaml").write_text("{}\n")
    assert cli.main(command(unfinished, tmp_path / "out", prepared)) == 1
    assert "the training is not finished" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


RECOGNISE = """
import json, sys
import sherpa_onnx, soundfile

assert not {"torch", "onnxruntime", "espnet2", "distill_asr"} & set(sys.modules)
recogniser = sherpa_onnx.OfflineRecognizer.from_transducer(
    "encoder.onnx", "decoder.onnx", "joiner.onnx", "tokens.txt")
words = {}
for path in sys.argv[1:]:
    samples, rate = soundfile.read(path, dtype="float32")
    stream = recogniser.create_stream()
    stream.accept_waveform(rate, samples)
    recogniser.decode_stream(stream)
    words[path.rpartition("/")[2]] = " ".join(stream.result.text.split())
print(json.dumps(words))
"""


@pytest.mark.slow
def test_fresh_environment(tmp_path: Path, exported) -> None:
    """An environment that has sherpa-onnx and soundfile, and what these two need."""
    _, out = exported("transducer")
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    (packages,) = (tmp_path / "venv").glob("lib/python*/site-packages")
    installed = Path(soundfile.__file__).parent
    for pattern in (
        "sherpa_onnx*",
        "soundfile*",
        "_soundfile*",
        "numpy*",
        "*cffi*",
        "pycparser*",
        "typing_ext*",
    ):
        for path in installed.glob(pattern):
            (packages / path.name).symlink_to(path)
    wavs = sorted(f"test_wavs/{path.name}" for path in (out / "test_wavs").glob("*.wav"))
    done = subprocess.run([tmp_path / "venv/bin/python", "-c", RECOGNISE, *wavs], cwd=out,
                          capture_output=True, text=True)  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = (out / "test_wavs/words.txt").read_text(encoding="utf-8").splitlines()
    right = {line.partition(" ")[0]: line.partition(" ")[2] for line in lines}
    assert json.loads(done.stdout) == right and any(right.values())
