"""A small speech teacher: a transformers model with a CTC head, from a Kaldi data directory."""

from __future__ import annotations

import json
import tempfile
import time
from functools import cached_property
from pathlib import Path
from typing import Any

import jiwer
import numpy as np
import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModelForCTC,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    Trainer,
    TrainingArguments,
    Wav2Vec2CTCTokenizer,
    Wav2Vec2FeatureExtractor,
    set_seed,
)
from transformers.trainer_pt_utils import LengthGroupedSampler

from distill_asr.data.datadir import DataDir
from distill_asr.errors import UserError
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.io.files import write_text_atomic
from distill_asr.train_teacher.settings import SpeechSettings, seed
from distill_asr.train_teacher.trainer import TeacherTraining
from distill_asr.train_teacher.utterances import (
    IGNORED,
    Utterances,
    collate,
    read_labelled,
)

MEL_LIMITS = (80.0, 7600.0)  # Hz, of the filters that the first convolution may start as
# one utterance at a time, without padding: as the dump will see them
_SCORING = {"use_cpu": True, "report_to": "none", "per_device_eval_batch_size": 1}


class SpeechTeacherTraining(TeacherTraining[SpeechSettings]):
    """Trains on letters; greedy decoding measures it."""

    defaults = _SCORING

    @cached_property
    def data(self) -> DataDir:
        """The training set."""
        return read_labelled(self.sets.train)

    @cached_property
    def extractor(self) -> Wav2Vec2FeatureExtractor:
        """Brings audio to what the model reads."""
        return Wav2Vec2FeatureExtractor(
            do_normalize=self.settings.normalize, return_attention_mask=True
        )

    def content(self) -> object:  # noqa: D102
        return self.data.text

    def make_tokenizer(self, folder: Path) -> PreTrainedTokenizerBase:
        """Make a character tokeniser of the training text or of ``init``.

        Raises
        ------
        UserError : letters that ``init`` does not know.
        """
        self.extractor.save_pretrained(folder)
        letters = sorted(set("".join(self.data.text.values())) - {" "})
        if (init := self.settings.init) is not None:
            tokenizer = AutoTokenizer.from_pretrained(init)
            if unknown := sorted(set(letters) - set(tokenizer.get_vocab())):
                raise UserError(
                    f"{self.data.path}/text: init {init} does not know {' '.join(unknown)}; "
                    "train it on text with these letters, or leave out `init`"
                )
            tokenizer.save_pretrained(folder)
            return tokenizer
        vocabulary = {token: i for i, token in enumerate(["<pad>", "<unk>", "|", *letters])}
        path = folder / "vocab.json"
        write_text_atomic(path, json.dumps(vocabulary, ensure_ascii=False))
        tokenizer = Wav2Vec2CTCTokenizer(str(path), bos_token=None, eos_token=None)
        tokenizer.save_pretrained(folder)
        return tokenizer

    def make_model(self, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
        """Give a model with random weights, or those of ``init``."""
        settings = self.settings
        set_seed(seed(settings))
        config = AutoConfig.for_model(
            settings.model_type,
            vocab_size=len(tokenizer),
            pad_token_id=tokenizer.pad_token_id,
            bos_token_id=None,
            eos_token_id=None,
            ctc_zero_infinity=True,
            **settings.model,
        )
        if settings.init is not None:
            return AutoModelForCTC.from_pretrained(settings.init, config=config, dtype="float32")
        model = AutoModelForCTC.from_config(config)
        if settings.first_conv == "mel":
            init_mel_filters(model.base_model.feature_extractor.conv_layers[0].conv.weight)
        return model

    def make_trainer(  # noqa: D102
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        arguments: TrainingArguments,
    ) -> Trainer:
        augment = {"noise": self.settings.noise, "speed": self.settings.speed}
        train = Utterances(self.data, tokenizer, self.extractor, **augment)
        dev = Utterances(read_labelled(self.sets.dev), tokenizer, self.extractor)
        self._started = time.time()
        return CtcTrainer(model, tokenizer, arguments, train, dev)

    def facts(self, trainer: Trainer) -> dict[str, Any]:  # noqa: D102
        utterances = trainer.train_dataset
        return {
            "train_utterances": len(utterances),
            "train_minutes": round(sum(utterances.num_samples()) / SAMPLE_RATE / 60, 1),
            "epochs": trainer.state.epoch,
            "seconds_since_last_start": round(time.time() - self._started, 1),
            "history": [line for line in trainer.state.log_history if "eval_wer" in line],
        }

    def save_model(self, model: PreTrainedModel, folder: Path) -> None:
        """Write the weights in the precision that the settings name."""
        model.to(getattr(torch, self.settings.weights)).save_pretrained(folder)

    def score(self, output: Path, path: str) -> dict[str, Any]:
        """WER and CER of one data directory."""
        tokenizer = AutoTokenizer.from_pretrained(output)
        model = AutoModelForCTC.from_pretrained(output, dtype=torch.float32)
        extractor = AutoFeatureExtractor.from_pretrained(output)
        data = Utterances(read_labelled(path), tokenizer, extractor)
        with tempfile.TemporaryDirectory() as scratch:
            arguments = TrainingArguments(output_dir=scratch, **_SCORING)
            metrics = CtcTrainer(model, tokenizer, arguments).predict(data).metrics
        rates = {"wer": metrics["test_wer"], "cer": metrics["test_cer"]}
        return {"utterances": len(data), **rates}

    def asked(self, path: str) -> int:  # noqa: D102
        return len(read_labelled(path).wav)


class CtcTrainer(Trainer):
    """Batches utterances of about the same length, and measures error rates."""

    def __init__(
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        arguments: TrainingArguments,
        train: Utterances | None = None,
        dev: Utterances | None = None,
    ) -> None:
        super().__init__(
            model=model,
            args=arguments,
            data_collator=collate,
            train_dataset=train,
            eval_dataset=dev,
            compute_metrics=lambda output: error_rates(output, tokenizer),
            preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(dim=-1),
        )

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        lengths = self.train_dataset.num_samples()
        return LengthGroupedSampler(self.args.train_batch_size, lengths=lengths)


def init_mel_filters(weight: torch.Tensor) -> None:
    """Fill weight [C, 1, K] with windowed sines: C / 4 mel-spaced bands, four phases each.

    Rectified and summed, four phases a quarter period apart give the energy of a band whatever the
    position of the window, so training starts from a usable spectrum. They stay trainable.
    """
    channels, _, width = weight.shape
    bands = -(-channels // 4)
    mels = np.linspace(*(2595 * np.log10(1 + np.array(MEL_LIMITS) / 700)), bands)
    hertz = 700 * (10 ** (mels / 2595) - 1)
    moments = (np.arange(width) - (width - 1) / 2) / SAMPLE_RATE
    filters = [
        np.hanning(width) * np.cos(2 * np.pi * frequency * moments + quarter * np.pi / 2)
        for quarter in range(4)
        for frequency in hertz
    ][:channels]
    # speech falls with frequency: lift the high bands as pre-emphasis would
    lift = np.sqrt(np.tile(hertz, 4)[:channels] / 1000)
    bank = np.stack(filters) * (lift / np.linalg.norm(filters, axis=1))[:, None]
    with torch.no_grad():
        weight.copy_(torch.from_numpy(bank)[:, None])


def error_rates(output: Any, tokenizer: PreTrainedTokenizerBase) -> dict[str, float]:
    """WER and CER in per cent, greedy decoding.

    Parameters
    ----------
    output : of transformers' prediction: best ids and labels, padded with ``IGNORED``.
    tokenizer : of the teacher.
    """
    blank = tokenizer.pad_token_id
    best = np.where(output.predictions == IGNORED, blank, output.predictions)
    wanted = np.where(output.label_ids == IGNORED, blank, output.label_ids)
    found = [tokenizer.decode(row) for row in best]
    true = [tokenizer.decode(row, group_tokens=False) for row in wanted]
    return {
        "wer": round(100 * jiwer.wer(true, found), 2),
        "cer": round(100 * jiwer.cer(true, found), 2),
    }
