"""Recognisers of transformers: the library's own words and scores, alone and in any batch."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers

from distill_asr.errors import UserError
from distill_asr.pretrained.probing import noise
from distill_asr.pretrained.recognisers import PretrainedRecogniser, load_recogniser
from distill_asr.pretrained.request import ModelRequest
from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.speech_recognisers import (
    LETTERS_OF,
    save_ctc,
    save_moonshine,
    save_parakeet,
    save_whisper,
)

PARAKEETS = ("ctc", "rnnt", "tdt")


def load(path: Path, language: str | None = None, task: str = "transcribe") -> PretrainedRecogniser:
    return load_recogniser(ModelRequest(str(path), "t.yaml"), language, task, "cpu")


def audio(*seconds: float) -> list[np.ndarray]:
    return [noise(round(16000 * one)) * (i + 1) for i, one in enumerate(seconds)]


@pytest.fixture(scope="module")
def models(tmp_path_factory) -> dict[str, tuple[Path, str | None]]:
    root = tmp_path_factory.mktemp("models")
    return {
        "whisper": (save_whisper(root / "whisper"), "ru"),
        "english": (save_whisper(root / "english", multilingual=False), None),
        "moonshine": (save_moonshine(root / "moonshine"), None),
        "group": (save_ctc(root / "group"), None),
        "layer": (save_ctc(root / "layer", norm="layer"), None),
        **{kind: (save_parakeet(root / kind, kind), None) for kind in PARAKEETS},
    }


@pytest.mark.parametrize("name", ["whisper", "english", "moonshine", "group", "layer", *PARAKEETS])
def test_the_same_alone_and_in_a_batch(models, name: str) -> None:
    recogniser = load(*models[name])
    waveforms = audio(1.2, 0.5, 0.9)
    together = recogniser.recognise(waveforms)
    for waveform, heard in zip(waveforms, together, strict=True):
        (alone,) = recogniser.recognise([waveform])
        assert (alone.words, alone.tokens, alone.finished) == (
            heard.words,
            heard.tokens,
            heard.finished,
        )
        assert alone.score == pytest.approx(heard.score, abs=1e-3)
        assert heard.score < 0 and heard.tokens > 0


def test_whisper_writes_what_the_library_does(models) -> None:
    path, _ = models["whisper"]
    model = transformers.WhisperForConditionalGeneration.from_pretrained(path).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
    prompt = ["<|startoftranscript|>", "<|ru|>", "<|transcribe|>", "<|notimestamps|>"]
    ids = [LETTERS_OF[token] for token in prompt]
    (waveform,) = audio(1.0)
    features = extractor(
        waveform, sampling_rate=16000, return_tensors="pt", padding="max_length", max_length=24000
    ).input_features
    score, end, tokens = 0.0, LETTERS_OF["<|endoftext|>"], []
    with torch.inference_mode():
        while len(ids) < 24:
            logits = model(features, decoder_input_ids=torch.tensor([ids])).logits[0, -1]
            best, token = logits.log_softmax(-1).max(-1)
            score += float(best)
            tokens.append(int(token))
            ids.append(int(token))
            if ids[-1] == end:
                break
    (heard,) = load(path, "ru").recognise([waveform])
    letters = {number: token for token, number in LETTERS_OF.items()}
    words = "".join(letters[token] for token in tokens if not letters[token].startswith("<"))
    assert heard.words == words
    assert heard.score == pytest.approx(score, abs=1e-3)
    assert (heard.tokens, heard.finished) == (len(tokens), tokens[-1] == end)


def test_language_and_task_decide_words_and_fingerprint(models) -> None:
    path, _ = models["whisper"]
    found = [load(path, "ru"), load(path, "en"), load(path, "ru", "translate")]
    assert len({one.fingerprint for one in found}) == 3
    assert load(path, "ru").fingerprint == found[0].fingerprint


@pytest.mark.parametrize("norm", ["group", "layer"])
def test_ctc_writes_the_best_path(models, norm: str) -> None:
    path, _ = models[norm]
    model = transformers.Wav2Vec2ForCTC.from_pretrained(path).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
    (waveform,) = audio(1.0)
    inputs = extractor(waveform, sampling_rate=16000, return_tensors="pt")
    with torch.inference_mode():
        best, tokens = model(inputs.input_values).logits[0].log_softmax(-1).max(-1)
    (heard,) = load(path).recognise([waveform])
    runs = [token for token, _ in groupby(tokens.tolist()) if token != 0]
    names = ["", "", "", "<unk>", " ", *"abcdefgh"]
    assert heard.words == "".join(names[token] for token in runs).strip()
    assert heard.tokens == len(runs)
    assert heard.score == pytest.approx(float(best.sum()), abs=1e-2)


@pytest.mark.parametrize("kind", ["rnnt", "tdt"])
def test_a_transducer_walks_through_the_frames(models, kind: str) -> None:
    path, _ = models[kind]
    model = getattr(transformers, f"ParakeetFor{kind.upper()}").from_pretrained(path).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
    (waveform,) = audio(1.6)
    inputs = extractor([waveform], sampling_rate=16000, return_tensors="pt")
    blank, count = model.config.blank_token_id, model.config.vocab_size
    written, score, frame, here = [], 0.0, 0, 0
    with torch.inference_mode():
        encoded = model.get_audio_features(**inputs)
        frames = encoded.pooler_output[0, : encoded.attention_mask.sum()]
        while frame < len(frames):
            predicted = model.decoder(torch.tensor([[blank, *written]]))[0, -1]
            logits = model.joint(predicted, frames[frame])
            best, symbol = logits[:count].log_softmax(-1).max(-1)
            score, step = score + float(best), int(symbol == blank)
            if kind == "tdt":
                best, duration = logits[count:].log_softmax(-1).max(-1)
                score, step = score + float(best), max(int(duration), step)
            written += [] if symbol == blank else [int(symbol)]
            here = 0 if step else here + 1
            if here == model.config.max_symbols_per_step:
                here, step = 0, 1
            frame += step
    (heard,) = load(path).recognise([waveform])
    names = ["<unk>", *"abcdefgh"]
    assert heard.words == "".join(names[token] for token in written) and written
    assert (heard.tokens, heard.finished) == (len(written), True)
    assert heard.score == pytest.approx(score, abs=1e-3)


def test_parakeets_ctc_writes_what_the_library_does(models) -> None:
    path, _ = models["ctc"]
    model = transformers.ParakeetForCTC.from_pretrained(path).eval()
    extractor = transformers.AutoFeatureExtractor.from_pretrained(path)
    tokenizer = transformers.AutoTokenizer.from_pretrained(path)
    waveforms = audio(1.6, 0.8)
    inputs = extractor(waveforms, sampling_rate=16000, return_tensors="pt")
    expected = tokenizer.batch_decode(model.generate(**inputs))
    found = load(path).recognise(waveforms)
    assert [heard.words for heard in found] == expected and all(expected)


def test_audio_too_short_for_a_frame_has_no_words(models) -> None:
    recogniser = load(*models["group"])
    short, long = recogniser.recognise([noise(100), noise(16000)])
    assert (short.words, short.tokens) == ("", 0) and long.tokens > 0


def test_mistakes(models, tmp_path: Path) -> None:
    def said(*arguments: str | None) -> str:
        with pytest.raises(UserError) as caught:
            load(*arguments)
        return "\n".join(caught.value.problems)

    path, _ = models["whisper"]
    assert "language: missing;" in said(path) and "knows 2" in said(path)
    assert "language: 'rus' is none of the 2 codes that" in said(path, "rus")
    assert "did you mean 'ru'?" in said(path, "rus")
    assert "writes English alone" in said(models["english"][0], "ru")
    assert "cannot be asked for a language" in said(models["group"][0], "ru")
    assert "neither a usable local directory" in said(tmp_path / "none", "ru")
    sew = save_speech_model(tmp_path / "data2vec", "unispeech-sat")
    assert "tokenizer cannot be loaded" in said(sew)
