"""Streaming sessions: any pieces, the same words; bounded state; endpoints; the verb."""

from __future__ import annotations

import io
import itertools
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile
import torch
from talking_student import BLANK, CHUNK, RATE, STREAMING, silence, student, teach_to_talk, tones
from torch import Tensor, nn

import distill_asr
from distill_asr import cli
from distill_asr.decode import latency as latency_module
from distill_asr.decode.greedy import GreedySearch
from distill_asr.decode.latency import Latency, TimedUtterance, align
from distill_asr.decode.recognised import Recognised
from distill_asr.decode.stream_command import pcm_pieces
from distill_asr.decode.streaming import EncoderStream, StreamingSession
from distill_asr.errors import UserError
from distill_asr.experiments.student import load_student
from distill_asr.io.audio import resample
from distill_asr.testing.fixtures import TOKENS
from distill_asr.testing.students import tiny_student

FRAME = 640


def spell(tokens: list[int]) -> str:
    return " ".join(map(str, tokens))


def listen(
    speech: Tensor, piece: int, made: nn.Module | None = None, **options
) -> list[Recognised]:
    session = StreamingSession(made or student(), spell, RATE, **options)
    pieces = speech.split(piece) if piece else (speech,)
    return [one for p in pieces for one in session.push(p)] + session.finish()


def whole(speech: Tensor) -> Tensor:
    """[T, D] at once."""
    with torch.no_grad():
        return student().encode(speech[None], torch.tensor([len(speech)]))[0][0]


def search(encoded: Tensor) -> tuple[list[int], list[int]]:
    """Tokens and frames of a greedy search from its begin."""
    found = GreedySearch(student().decoder, student().joint_network)
    state = found.start(1, encoded.device)
    found.advance(state, encoded[None], torch.tensor([len(encoded)]))
    return state.tokens[0], state.frames[0]


def test_any_pieces_give_the_same_partials_and_words() -> None:
    speech = torch.cat([tones(1.3), silence(1.1), tones(0.9, seed=1)])
    expected = listen(speech, 0)
    assert sum(one.final for one in expected) == 2
    for piece in (320, 2192, 16000):
        found = listen(speech, piece)
        assert [(f.text, f.tokens, f.times, f.final) for f in found] == [
            (e.text, e.tokens, e.times, e.final) for e in expected
        ]


@pytest.mark.parametrize("chunk", [1, 3, 8])
def test_without_endpoints_it_is_the_search_over_the_whole(chunk: int) -> None:
    speech = torch.cat([tones(1.0), silence(1.5), tones(0.47, seed=1)])
    *partials, last = listen(speech, 800, chunk_size=chunk, endpoint=None)
    student().encoder.chunk_size = chunk
    tokens, frames = search(whole(speech))
    student().encoder.chunk_size = CHUNK
    assert last.final and last.tokens == tokens and last.text == spell(tokens)
    assert last.times == pytest.approx([frame * 0.04 for frame in frames])
    assert tokens and not any(one.final for one in partials)
    for one, other in itertools.pairwise(partials):
        assert other.tokens[: len(one.tokens)] == one.tokens and len(other.tokens) > len(one.tokens)
        assert one.heard < other.heard
    for one in partials:  # nothing is said before it can be known
        assert one.heard >= one.times[-1]


def test_a_segment_ends_after_silence_and_the_next_begins_anew() -> None:
    speech = torch.cat([tones(1.0), silence(2.0), tones(1.0, seed=1)])
    first, second = (one for one in listen(speech, 320, endpoint=0.5) if one.final)
    encoded = whole(speech)
    last = round(first.times[-1] / 0.04)
    frames_until = next(
        end for end in range(CHUNK, len(encoded), CHUNK) if (end - last - 1) * 0.04 >= 0.5
    )
    assert search(encoded[:frames_until])[0] == first.tokens
    tokens, frames = search(encoded[frames_until:])
    assert second.tokens == tokens
    assert second.times == pytest.approx([0.04 * (frames_until + frame) for frame in frames])
    assert first.heard < 3.0 < second.heard == 4.0
    assert [one.final for one in listen(silence(3), 320)] == []


def kept(item: object) -> int:
    """Bytes of the tensors and items of the lists that an object holds, models left out."""
    if isinstance(item, Tensor):
        return item.untyped_storage().nbytes()
    if isinstance(item, (list, tuple)):
        return len(item) + sum(map(kept, item))
    if isinstance(item, nn.Module) or not hasattr(item, "__dict__") or callable(item):
        return 0
    return sum(map(kept, vars(item).values()))


def test_the_state_does_not_grow() -> None:
    session = StreamingSession(student(), spell, RATE)
    sizes = []
    for _ in range(3):
        session.push(torch.cat([tones(2.0), silence(2.0)]))
        sizes.append(kept(session))
    assert sizes[0] == sizes[1] == sizes[2] > 1000
    session.push(torch.cat([silence(20)] * 2))
    assert kept(session) == sizes[0], "a long piece leaves nothing behind"


@pytest.mark.slow
def test_ten_minutes() -> None:
    session = StreamingSession(student(), spell, RATE)
    session.push(silence(4))
    size = kept(session)
    for _ in range(10):
        assert session.push(silence(60)) == []
    assert kept(session) == size


def test_global_mvn_streams(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    feats = rng.normal(-5, 3, (50, 16))
    stats = {"count": 50, "sum": feats.sum(0), "sum_square": (feats**2).sum(0)}
    np.savez(tmp_path / "stats.npz", **stats)
    conf = {
        "normalize": "global_mvn",
        "normalize_conf": {"stats_file": str(tmp_path / "stats.npz")},
    }
    made = tiny_student("transducer", **STREAMING, **conf).eval().float()
    speech, stream = tones(1.0), EncoderStream(made)
    chunks = [chunk for piece in speech.split(777) for chunk in stream.push(piece)]
    chunks += stream.push(torch.zeros(0), final=True)
    with torch.no_grad():
        expected, _ = made.encode(speech[None], torch.tensor([len(speech)]))
    torch.testing.assert_close(torch.cat(chunks, dim=1), expected, atol=1e-4, rtol=0)


def test_an_adapter_streams() -> None:
    made = tiny_student(
        "transducer", **STREAMING, postencoder="adapter", postencoder_conf={"size": 4}
    )
    nn.init.normal_(made.eval().postencoder.back.weight)  # a fresh one adds nothing
    speech = tones(1.1)
    chunks = EncoderStream(made).push(speech, final=True)
    with torch.no_grad():
        expected, _ = made.encode(speech[None], torch.tensor([len(speech)]))
    torch.testing.assert_close(torch.cat(chunks, dim=1), expected, atol=1e-4, rtol=0)


def test_students_that_cannot_stream_say_why() -> None:
    deaf = tiny_student("transducer", normalize="utterance_mvn", frontend="default",
                        frontend_conf={"n_mels": 16})  # fmt: skip
    with pytest.raises(UserError) as caught:
        StreamingSession(deaf, spell)
    assert [problem.split(":")[0] for problem in caught.value.problems] == [
        "frontend", "normalize", "encoder",
    ]  # fmt: skip
    assert "global_mvn or none" in caught.value.problems[1]
    with pytest.raises(UserError, match="model: "):
        StreamingSession(tiny_student("ctc", **STREAMING), spell)
    with pytest.raises(UserError, match="0 is full context"):
        StreamingSession(student(), spell, chunk_size=0)


def test_raw_pcm_in_odd_parts() -> None:
    samples = np.arange(-500, 500, dtype="<i2") * 60

    class Odd(io.BytesIO):
        def read1(self, size: int = -1) -> bytes:
            return super().read(min(size, 7))

    pieces = list(pcm_pieces(Odd(samples.tobytes() + b"x"), 100))
    assert max(map(len, pieces)) <= 4
    assert np.array_equal(np.concatenate(pieces), samples.astype(np.float32) / 32768)


def test_delays_are_counted_from_the_alignment(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [
        Recognised("a", [3], [0.2], 0.6, False),
        Recognised("a b", [3, 4], [0.2, 0.6], 1.0, False),
        Recognised("a b", [3, 4], [0.2, 0.6], 1.6, True),
        Recognised("c", [5], [2.0], 2.4, True),
    ]
    session = SimpleNamespace(push=lambda samples: made[:2], finish=lambda: made[2:])
    timed, latency = TimedUtterance(session), Latency()
    timed.push(silence(1))
    timed.finish()
    monkeypatch.setattr(latency_module, "align", lambda *_: [0.1, 0.3, 1.9])
    timed.add_to(latency, nn.Module(), silence(2.5), RATE)
    assert timed.tokens == [3, 4, 5] and latency.first_partials == [0.6]
    assert latency.emitted == pytest.approx([0.1, 0.3, 0.1])
    assert latency.shown == pytest.approx([0.5, 0.7, 0.5])
    assert latency.audio == 2.5 and 0 < latency.real_time_factor < 1
    assert "100 ms (median; 90 %: 260 ms)" in latency.lines()[2]
    monkeypatch.setattr(latency_module, "align", lambda *_: None)
    timed.add_to(latency, nn.Module(), silence(2.5), RATE)
    assert len(latency.shown) == 3 and "1 utterance(s) without" in latency.lines()[-1]


def test_forced_alignment() -> None:
    """Against the CTC's own best path, which aligns its own text."""
    made, speech = tiny_student("transducer", **STREAMING).eval(), tones(1.2)
    with torch.no_grad():
        made.encoder.chunk_size = 0
        encoded, _ = made.encode(speech[None], torch.tensor([len(speech)]))
        made.encoder.chunk_size = CHUNK
        made.ctc.ctc_lo.weight *= 30
        made.ctc.ctc_lo.bias[:] = -made.ctc.ctc_lo.weight @ encoded[0].mean(0)
        path = made.ctc.argmax(encoded)[0].tolist()
    begins, tokens = [], []
    for symbol, run in itertools.groupby(enumerate(path), key=lambda pair: pair[1]):
        frame = next(run)[0]
        if symbol != BLANK:
            tokens.append(symbol)
            begins.append(frame * 0.04)
    assert len(tokens) > 3
    assert align(made, speech, tokens, RATE) == pytest.approx(begins)
    assert made.encoder.chunk_size == CHUNK, "left as it was"
    assert align(made, speech, [3] * 40, RATE) is None
    made.ctc = None
    assert align(made, speech, tokens, RATE) is None


@pytest.fixture(scope="module")
def experiment(make_recipe) -> Path:
    """A student trained for one epoch, taught to talk; statistics are measured by training."""
    recipe = make_recipe("streaming")
    config = recipe.config("transducer", [], normalize="global_mvn", **STREAMING)
    exp = recipe.train(config, "exp")
    made, _ = load_student(exp, "valid.loss.ave.pth")
    torch.save(teach_to_talk(made).state_dict(), exp / "talks.pth")
    return exp


def stream(capsys, exp: Path, *more: object) -> tuple[list[list[str]], str]:
    capsys.readouterr()
    command = ["stream", "--exp", exp, "--checkpoint", "talks.pth", *more]
    assert cli.main([str(word) for word in command]) == 0
    printed = capsys.readouterr()
    return [line.split("\t") for line in printed.out.splitlines()], printed.err


def test_the_verb(experiment: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    speech = torch.cat([tones(1.0), silence(1.5), tones(0.7, seed=2)]).numpy()
    soundfile.write(tmp_path / "a.wav", speech, RATE, subtype="PCM_16")
    expected, report = stream(capsys, experiment, tmp_path / "a.wav", "--latency")
    assert {line[2] for line in expected} == {"partial", "final"}
    assert any(line[3].strip() for line in expected)
    assert "real-time factor" in report and "token shown" in report
    for piece in (20, 137, 1000):
        found, _ = stream(capsys, experiment, tmp_path / "a.wav", "--piece-ms", piece)
        assert [line[2:] for line in found] == [line[2:] for line in expected]
    pcm = soundfile.read(tmp_path / "a.wav", dtype="int16")[0].astype("<i2").tobytes()
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(pcm)))
    found, _ = stream(capsys, experiment)
    assert [line[2:] for line in found] == [line[2:] for line in expected]
    assert {line[0] for line in found} == {"-"}
    joined, _ = stream(capsys, experiment, tmp_path / "a.wav", "--endpoint", 0)
    assert [line[2] for line in joined].count("final") == 1
    other, _ = stream(capsys, experiment, tmp_path / "a.wav", "--chunk-size", 25)
    assert len(other) < len(expected)


def test_the_function_streams_as_the_verb_does(experiment: Path, tmp_path: Path, capsys) -> None:
    speech = torch.cat([tones(1.0), silence(1.5), tones(0.7, seed=2)]).numpy()
    soundfile.write(tmp_path / "a.wav", speech, RATE, subtype="PCM_16")
    expected, _ = stream(capsys, experiment, tmp_path / "a.wav")
    samples, _ = soundfile.read(tmp_path / "a.wav", dtype="float32")
    student = distill_asr.load_student(experiment, "talks.pth")
    session = student.stream()
    found = [one for piece in np.array_split(samples, 9) for one in session.push(piece)]
    found += session.finish()
    lines = [["final" if one.final else "partial", one.text] for one in found]
    assert lines == [line[2:] for line in expected]
    greedy = distill_asr.DecodeOptions("greedy", chunk_size=25)
    assert student.transcribe(samples, greedy).times
    assert student.model.encoder.chunk_size == CHUNK  # for the next one


def test_odd_audio(experiment: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    """One sample, a FLAC from a pipe, standard input of no bytes and of half a sample more."""
    speech = tones(1.0).numpy()
    soundfile.write(tmp_path / "a.wav", speech, RATE, subtype="PCM_16")
    soundfile.write(tmp_path / "one.wav", speech[:1], RATE)
    expected, _ = stream(capsys, experiment, tmp_path / "a.wav")
    assert stream(capsys, experiment, tmp_path / "one.wav")[0] == []
    soundfile.write(tmp_path / "f.flac", speech, RATE, subtype="PCM_16")
    content = bytearray((tmp_path / "f.flac").read_bytes())
    content[21] &= 0xF0  # the number of samples and the checksum are not known
    content[22:42] = bytes(20)
    (tmp_path / "f.flac").write_bytes(content)
    found, _ = stream(capsys, experiment, tmp_path / "f.flac")
    assert [line[2:] for line in found] == [line[2:] for line in expected]
    pcm = soundfile.read(tmp_path / "a.wav", dtype="int16")[0].astype("<i2").tobytes()
    for given, lines in ((b"", []), (pcm + b"\1", [line[2:] for line in expected])):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(given)))
        found, _ = stream(capsys, experiment)
        assert [line[2:] for line in found] == lines


def test_mistakes_with_the_verb(experiment: Path, tmp_path: Path, capsys) -> None:
    command = ["stream", "--exp", str(experiment), str(tmp_path / "none.wav"), "--piece-ms", "0"]
    assert cli.main([*command, "--chunk-size", "0", "--endpoint", "-1"]) == 1
    found = capsys.readouterr().err
    assert "4 problems" in found and "none.wav: no such file" in found
    soundfile.write(tmp_path / "b.wav", np.zeros((800, 2)), 8000)
    assert cli.main(["stream", "--exp", str(experiment), str(tmp_path / "b.wav")]) == 1
    assert "b.wav: not mono: 2 channels" in capsys.readouterr().err


def test_a_file_of_another_rate(experiment: Path, tmp_path: Path, capsys) -> None:
    """Audio from 8 kHz has the words of that audio prepared, in pieces of any length."""
    speech = torch.cat([tones(1.0), silence(1.5), tones(0.7, seed=2)]).numpy()
    low = resample(speech, RATE, 8000)
    soundfile.write(tmp_path / "low.wav", low, 8000, subtype="FLOAT")
    soundfile.write(tmp_path / "high.wav", resample(low, 8000, RATE), RATE, subtype="FLOAT")
    expected, _ = stream(capsys, experiment, tmp_path / "high.wav")
    assert any(line[3].strip() for line in expected)
    for piece in (20, 137, 1000):
        found, _ = stream(capsys, experiment, tmp_path / "low.wav", "--piece-ms", piece)
        assert [line[2:] for line in found] == [line[2:] for line in expected]


def test_decoding_with_other_chunks(experiment: Path, tmp_path: Path, capsys) -> None:
    data = experiment.parent / "dump" / "dev"
    command = ["decode", "--exp", experiment, "--data", data, "--checkpoint", "talks.pth"]
    command += ["--method", "greedy", "--output", tmp_path / "out"]
    lines = []
    for chunk in (None, 1, 0):
        more = [] if chunk is None else ["--chunk-size", chunk]
        assert cli.main([str(word) for word in [*command, *more]]) == 0
        lines.append((tmp_path / "out" / "nbest.jsonl").read_text().splitlines())
    assert len({tuple(found) for found in lines}) == 3
    for row in map(json.loads, lines[0]):
        (best,) = row["nbest"]
        assert row["step_ms"] == 40 and len(best["frames"]) == len(best["tokens"]) > 0
        assert best["frames"] == sorted(best["frames"]) and set(best["tokens"]) <= set(TOKENS)
    assert cli.main([str(word) for word in [*command, "--chunk-size", -1]]) == 1
    assert "expected frames, or 0 for full context" in capsys.readouterr().err
