"""Transcribed audio as a speech teacher's trainer reads it."""

from __future__ import annotations

from typing import Any

import numpy as np
import soundfile
import torch
from transformers import PreTrainedTokenizerBase, Wav2Vec2FeatureExtractor

from distill_asr.data.datadir import DataDir
from distill_asr.data.noise import add_noise, babble, pink_noise, white_noise
from distill_asr.data.record import prepared_audio_identity
from distill_asr.errors import UserError
from distill_asr.io.audio import SAMPLE_RATE, BadAudioError, read_audio, resample
from distill_asr.io.identity import CACHE
from distill_asr.train_teacher.settings import Noise

TALKERS = 6  # of babble
IGNORED = -100  # label of padding, in transformers


class Utterances(torch.utils.data.Dataset):
    """Audio and labels of a data directory, read when asked for.

    ``noise`` adds white noise, pink noise or babble of other utterances, anew each time; ``speed``
    (limits of a factor) plays them faster or slower, which also makes new voices.
    """

    def __init__(
        self,
        data: DataDir,
        tokenizer: PreTrainedTokenizerBase,
        extractor: Wav2Vec2FeatureExtractor,
        noise: Noise | None = None,
        speed: list[float] | None = None,
    ) -> None:
        self.data = data
        self.keys = list(data.wav)
        self._tokenizer = tokenizer
        self._extractor = extractor
        self._noise = noise
        self._speed = speed

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, index: int) -> dict[str, Any]:
        key = self.keys[index]
        samples = self._read(key)
        if self._speed or self._noise:
            samples = self._augmented(samples)
        values = self._extractor(samples, sampling_rate=SAMPLE_RATE).input_values[0]
        return {
            "input_values": values.astype(np.float32),
            "labels": self._tokenizer(self.data.text[key]).input_ids,
        }

    def _read(self, key: str) -> np.ndarray:
        try:
            samples, facts = read_audio(self.data.wav[key])
        except BadAudioError as bad:
            raise UserError(f"{self.data.path}/wav.scp: {key}: {bad.detail}") from bad
        if facts.rate != SAMPLE_RATE:
            raise UserError(
                f"{self.data.path}/wav.scp: {key}: {facts.rate} Hz, expected {SAMPLE_RATE} Hz; "
                "run `distill-asr prepare` and train on the dump directory"
            )
        return samples

    def _augmented(self, samples: np.ndarray) -> np.ndarray:
        # drawn from torch's generator, whose state is part of a checkpoint
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        if self._speed:
            rate = round(SAMPLE_RATE * rng.uniform(*self._speed))
            samples = resample(samples, rate, SAMPLE_RATE)
        if self._noise and rng.random() < self._noise.share:
            samples = self._with_noise(samples, rng, self._noise.snr)
        return samples

    def _with_noise(
        self, samples: np.ndarray, rng: np.random.Generator, snr: list[float]
    ) -> np.ndarray:
        kind = rng.integers(3)
        if kind == 0:
            noise = white_noise(len(samples), rng)
        elif kind == 1:
            noise = pink_noise(len(samples), rng)
        else:
            others = rng.choice(len(self.keys), size=min(TALKERS, len(self.keys)), replace=False)
            voices = [self._read(self.keys[other]) for other in others]
            noise = babble(voices, len(samples), rng, TALKERS)
        return add_noise(samples, noise, float(rng.uniform(*snr)))

    def num_samples(self) -> list[int]:
        """Length of each utterance, from utt2num_samples or else the headers."""
        if self.data.num_samples:
            return [self.data.num_samples[key] for key in self.keys]
        return [soundfile.info(self.data.wav[key]).frames for key in self.keys]


def read_labelled(folder: str) -> DataDir:
    """Read a data directory that must have text.

    Raises
    ------
    UserError : it is damaged, or has no text.
    """
    data = DataDir.read(folder)
    if data.text is None:
        raise UserError(f"{folder}/text: no such file; a teacher is trained on transcribed audio")
    prepared_audio_identity(data.wav, data.path / CACHE)  # which compares it with what was written
    return data


def collate(items: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
    """Pad to the longest: input_values [B, N], attention_mask [B, N], labels [B, U]."""
    longest = max(len(item["input_values"]) for item in items)
    most = max(len(item["labels"]) for item in items)
    values = torch.zeros(len(items), longest)
    mask = torch.zeros(len(items), longest, dtype=torch.long)
    labels = torch.full((len(items), most), IGNORED)
    for row, item in enumerate(items):
        values[row, : len(item["input_values"])] = torch.from_numpy(item["input_values"])
        mask[row, : len(item["input_values"])] = 1
        labels[row, : len(item["labels"])] = torch.tensor(item["labels"])
    return {"input_values": values, "attention_mask": mask, "labels": labels}
