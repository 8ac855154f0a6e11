"""Whisper transcribes recordings, to find those that do not match their text.

A first pass uses a window little longer than the recording, which costs a third of the model's
30 s. Recordings whose transcript differs from the text pass again, through the whole window.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import transformers

from distill_asr.corpora.generated import SAMPLING_RATE
from distill_asr.corpora.human.mismatched import Reading, character_error
from distill_asr.errors import UserError
from distill_asr.io.progress import Bar
from distill_asr.pretrained.loading import quiet
from distill_asr.pretrained.request import locate_model

_WINDOWS = (5, 10, 15, 30)  # seconds
MULTILINGUAL = 51865  # pieces; models of English alone have fewer
_AT_ONCE = 8
TOKENS_A_SECOND = 8  # more than any speaker speaks; a decoder that loops is stopped

_DIGIT = re.compile(r"\d")
_LANGUAGE = re.compile(r"<\|[a-z]{2,3}\|>")


class WhisperReader:
    """A Whisper model that transcribes.

    Raises
    ------
    UserError : the model does not exist, or is not a Whisper.
    """

    def __init__(self, model: str) -> None:
        place = locate_model(model)
        try:
            self._processor = transformers.WhisperProcessor.from_pretrained(place)
            loaded = transformers.WhisperForConditionalGeneration.from_pretrained(place)
        except (OSError, ValueError, TypeError) as error:
            reason = str(error).strip().splitlines()[0]
            raise UserError(
                f"--check-with {model}: no Whisper there ({reason}); expected a hub id such as "
                "openai/whisper-base, or a directory"
            ) from error
        self._model = loaded.eval()
        self._positions = loaded.model.encoder.embed_positions.weight.detach()
        self._languages = _tell_languages(loaded, self._processor.tokenizer)

    def require_language(self, language: str) -> None:
        """Raise UserError for a language that the model does not support."""
        if self._languages and _code(language) not in self._languages:
            raise UserError(
                f"--check-with: Whisper does not know the language {language!r}; leave the check "
                f"out for it; known: {' '.join(sorted(self._languages))}"
            )

    @torch.inference_mode()
    def read(self, waveforms: Sequence[np.ndarray], language: str, window: int) -> list[str]:
        """Transcribe waveforms.

        Parameters
        ----------
        waveforms : float32 [N] at 16 kHz each, no longer than the window.
        language : code; models of English alone do not look at it.
        window : seconds that the encoder takes; waveforms are padded to it.
        """
        self._cut(window)
        features = self._processor.feature_extractor(
            list(waveforms),
            sampling_rate=SAMPLING_RATE,
            padding="max_length",
            max_length=window * SAMPLING_RATE,
            return_tensors="pt",
        ).input_features
        forced = {"language": _code(language), "task": "transcribe"} if self._languages else {}
        longest = max(map(len, waveforms)) / SAMPLING_RATE
        with quiet():  # of limits that the model's own settings have as well
            tokens = self._model.generate(
                features,
                attention_mask=torch.ones(features.shape[0], features.shape[2], dtype=torch.int64),
                max_new_tokens=20 + round(TOKENS_A_SECOND * longest),
                **forced,
            )
        return self._processor.tokenizer.batch_decode(tokens, skip_special_tokens=True)

    def _cut(self, window: int) -> None:
        """Limit the encoder to ``window`` seconds: the first positions, as many as that takes."""
        encoder = self._model.model.encoder
        count = len(self._positions) * window // _WINDOWS[-1]
        encoder.embed_positions = torch.nn.Embedding.from_pretrained(self._positions[:count])
        self._model.config.max_source_positions = count
        encoder.config.max_source_positions = count


def read_all(
    reader: WhisperReader,
    language: str,
    recordings: Mapping[str, tuple[str, str]],
    load: Callable[[str], np.ndarray],
    words: Callable[[str], str],
    limit: float,
    name: str,
) -> list[Reading]:
    """Read recordings of one language.

    Parameters
    ----------
    reader : the model.
    language : its code.
    recordings : path and text by utterance.
    load : path -> samples.
    words : a text as it is compared.
    limit : character error rate above which a recording is read through the whole window as well.
    name : of the set.
    """
    reader.require_language(language)
    found = {}
    sounds = {key: load(path) for key, (path, _) in recordings.items()}
    with Bar(total=len(sounds), desc=f"read {name}", unit="utt", mininterval=1) as bar:
        for window, keys in _batches(sounds):
            for key, heard in zip(
                keys, reader.read([sounds[key] for key in keys], language, window), strict=True
            ):
                found[key] = _reading(key, name, recordings[key][1], heard, words)
            bar.update(len(keys))
    again = [key for key, one in found.items() if one.cer > limit]
    for start in Bar(range(0, len(again), _AT_ONCE), desc=f"read {name} again", mininterval=1):
        keys = again[start : start + _AT_ONCE]
        texts = reader.read([sounds[key] for key in keys], language, _WINDOWS[-1])
        for key, heard in zip(keys, texts, strict=True):
            second = _reading(key, name, recordings[key][1], heard, words)
            found[key] = min(found[key], second, key=lambda one: one.cer)
    return list(found.values())


def _reading(key: str, name: str, text: str, heard: str, words: Callable[[str], str]) -> Reading:
    text, heard = words(text), words(heard)
    return Reading(key, character_error(text, heard), name, text, heard)


def _batches(sounds: Mapping[str, np.ndarray]) -> Iterator[tuple[int, list[str]]]:
    """Recordings of similar length, with the window they fit into; longer ones are left out."""
    for before, window in zip((0, *_WINDOWS), _WINDOWS, strict=False):
        lower, upper = (max(0, one - 1) * SAMPLING_RATE for one in (before, window))
        upper = window * SAMPLING_RATE if window == _WINDOWS[-1] else upper
        keys = sorted(key for key, sound in sounds.items() if lower < len(sound) <= upper)
        for start in range(0, len(keys), _AT_ONCE):
            yield window, keys[start : start + _AT_ONCE]


def _tell_languages(model: Any, tokenizer: Any) -> set[str]:
    """Fill a generation config from the tokenizer; copies of models come with another's, or none.

    Returns
    -------
    Codes of the languages; empty for a model of English alone.
    """
    vocabulary, config = tokenizer.get_vocab(), model.generation_config
    config.decoder_start_token_id = vocabulary["<|startoftranscript|>"]
    config.eos_token_id = config.pad_token_id = vocabulary["<|endoftext|>"]
    config.max_length = None  # `read` limits the number of tokens
    config.no_timestamps_token_id = vocabulary["<|notimestamps|>"]
    config.is_multilingual = model.config.vocab_size >= MULTILINGUAL
    config.lang_to_id = {
        name: number for name, number in vocabulary.items() if _LANGUAGE.fullmatch(name)
    }
    # numbers as words, as transcripts have them
    config.suppress_tokens = [
        number for piece, number in vocabulary.items() if _DIGIT.search(piece)
    ]
    config.task_to_id = {"transcribe": vocabulary["<|transcribe|>"]}
    return {name.strip("<|>") for name in config.lang_to_id} if config.is_multilingual else set()


def _code(language: str) -> str:
    return language.replace("_", "-").split("-")[0].split("@")[0]
