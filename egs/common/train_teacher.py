#!/usr/bin/env python3
"""Train a small speech teacher: a transformers model with a CTC head, from a Kaldi data directory.

    train_teacher.py --config conf/teacher_hubert.yaml --train data/teacher_train \
        --dev data/teacher_dev --test data/test_clean --output exp/teachers/hubert

The output is an ordinary pretrained-model directory (safetensors, feature extractor, tokeniser)
plus teacher_report.json. A killed run is continued by the same command; a finished one only scores
sets it has not scored yet. The training YAML has these keys (and may ``extends`` another):

model_type : a wav2vec 2.0-like family of transformers that has a CTC model (hubert, wavlm ...)
model : arguments of its config; the vocabulary follows from the training text
first_conv : ``mel`` starts the first convolution as mel-spaced filters, otherwise it is random
init : directory of a trained teacher of the same architecture to fine-tune, letters and all
normalize : whether the feature extractor brings each utterance to zero mean and unit variance
noise : ``share`` of the training utterances that get more noise each time, ``snr`` limits in dB
speed : limits of a factor by which each training utterance is sped up, pitch and all, each time
training : arguments of transformers.TrainingArguments
weights : float32 or float16, what is written
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.data.datadir import DataDir
from distill_asr.data.noise import add_noise, babble, pink_noise, white_noise
from distill_asr.errors import UserError
from distill_asr.io.audio import BadAudioError, read_audio, resample
from distill_asr.io.files import write_text_atomic
from distill_asr.io.yaml import load_config

SAMPLE_RATE = 16000
KEYS = "model_type model first_conv init normalize noise speed training weights".split()
REPORT = "teacher_report.json"
TALKERS = 6  # of babble
IGNORED = -100  # label of padding, in transformers


class Utterances:
    """Audio and labels of a data directory, read when asked for.

    ``noise`` (``share`` of the utterances, ``snr`` limits in dB) adds white noise, pink noise or
    babble of other utterances, anew each time; ``speed`` (limits of a factor) plays them faster or
    slower, which also makes voices that nobody has.
    """

    def __init__(
        self,
        folder: str,
        tokenizer: Any,
        extractor: Any,
        noise: dict[str, Any] | None = None,
        speed: list[float] | None = None,
    ) -> None:
        self.data = read_labelled(folder)
        self.keys = list(self.data.wav)
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
        import torch

        # drawn from torch's generator, whose state is part of a checkpoint
        rng = np.random.default_rng(int(torch.randint(2**31, ())))
        if self._speed:
            rate = round(SAMPLE_RATE * rng.uniform(*self._speed))
            samples = resample(samples, rate, SAMPLE_RATE)
        if self._noise and rng.random() < self._noise["share"]:
            samples = self._with_noise(samples, rng)
        return samples

    def _with_noise(self, samples: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        kind = rng.integers(3)
        if kind == 0:
            noise = white_noise(len(samples), rng)
        elif kind == 1:
            noise = pink_noise(len(samples), rng)
        else:
            others = rng.choice(len(self.keys), size=min(TALKERS, len(self.keys)), replace=False)
            voices = [self._read(self.keys[other]) for other in others]
            noise = babble(voices, len(samples), rng, TALKERS)
        return add_noise(samples, noise, float(rng.uniform(*self._noise["snr"])))

    def num_samples(self) -> list[int]:
        """Length of each utterance, from utt2num_samples or else the headers."""
        import soundfile

        if self.data.num_samples:
            return [self.data.num_samples[key] for key in self.keys]
        return [soundfile.info(self.data.wav[key]).frames for key in self.keys]


def read_labelled(folder: str) -> DataDir:
    """Read a data directory that must have text."""
    data = DataDir.read(folder)
    if data.text is None:
        raise UserError(f"{folder}/text: no such file; a teacher is trained on transcribed audio")
    return data


def collate(items: list[dict[str, Any]]) -> dict[str, Any]:
    """Pad to the longest: input_values [B, N], attention_mask [B, N], labels [B, U]."""
    import torch

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


def read_settings(path: str) -> dict[str, Any]:
    """Read and check the YAML described above."""
    from transformers import CONFIG_MAPPING, MODEL_FOR_CTC_MAPPING

    settings = load_config(path)
    problems = [
        f"{path}: unknown key {key!r}; allowed: {', '.join(KEYS)}"
        for key in settings
        if key not in KEYS
    ]
    families = [name for name, kind in CONFIG_MAPPING.items() if kind in MODEL_FOR_CTC_MAPPING]
    if settings.get("model_type") not in families:
        given = settings.get("model_type")
        problems.append(f"{path}: model_type: given {given!r}, allowed: {', '.join(families)}")
    for key, allowed in (("first_conv", ("mel", None)), ("weights", ("float32", "float16", None))):
        if settings.get(key) not in allowed:
            problems.append(f"{path}: {key}: given {settings[key]!r}, allowed: {allowed}")
    noise = settings.get("noise")
    if noise is not None and (not isinstance(noise, dict) or set(noise) != {"share", "snr"}):
        problems.append(f"{path}: noise: given {noise!r}, expected {{share: 0.5, snr: [0, 20]}}")
    speed = settings.get("speed")
    if speed is not None and (not isinstance(speed, list) or len(speed) != 2):
        problems.append(f"{path}: speed: given {speed!r}, expected two factors such as [0.9, 1.1]")
    init = settings.get("init")
    if init is not None and not (Path(str(init)) / "model.safetensors").is_file():
        problems.append(f"{path}: init: no model.safetensors in {init}; train that teacher first")
    for key in ("model", "training"):
        if not isinstance(settings.get(key), dict):
            problems.append(f"{path}: {key}: expected 'name: value' lines")
    if problems:
        raise UserError(problems)
    return settings


def make_tokenizer(settings: dict[str, Any], data: DataDir, folder: Path) -> Any:
    """A character tokeniser of the training text or of ``init``, saved to ``folder``."""
    from transformers import AutoTokenizer, Wav2Vec2CTCTokenizer

    letters = sorted(set("".join(data.text.values())) - {" "})
    if settings.get("init"):
        tokenizer = AutoTokenizer.from_pretrained(settings["init"])
        if unknown := sorted(set(letters) - set(tokenizer.get_vocab())):
            raise UserError(
                f"{data.path}/text: init {settings['init']} does not know {' '.join(unknown)}; "
                "train it on text with these letters, or leave out `init`"
            )
        tokenizer.save_pretrained(folder)
        return tokenizer
    vocabulary = {token: i for i, token in enumerate(["<pad>", "<unk>", "|", *letters])}
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "vocab.json"
    write_text_atomic(path, json.dumps(vocabulary, ensure_ascii=False))
    tokenizer = Wav2Vec2CTCTokenizer(str(path), bos_token=None, eos_token=None)
    tokenizer.save_pretrained(folder)
    return tokenizer


def make_model(settings: dict[str, Any], tokenizer: Any) -> Any:
    """A model with random weights (seeded by ``training.seed``)."""
    from transformers import AutoConfig, AutoModelForCTC, set_seed

    set_seed(settings["training"].get("seed", 42))
    config = AutoConfig.for_model(
        settings["model_type"],
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
        eos_token_id=None,
        ctc_zero_infinity=True,
        **settings["model"],
    )
    if settings.get("init"):
        return AutoModelForCTC.from_pretrained(settings["init"], config=config, dtype="float32")
    model = AutoModelForCTC.from_config(config)
    if settings.get("first_conv") == "mel":
        init_mel_filters(model.base_model.feature_extractor.conv_layers[0].conv.weight)
    return model


def init_mel_filters(weight: Any) -> None:
    """Fill weight [C, 1, K] with windowed sines: C / 4 mel-spaced bands, four phases each.

    Rectified and summed, four phases a quarter period apart give the energy of a band whatever the
    position of the window, so training starts from a usable spectrum. They stay trainable.
    """
    import torch

    channels, _, width = weight.shape
    bands = -(-channels // 4)
    mels = np.linspace(*(2595 * np.log10(1 + np.array([80.0, 7600.0]) / 700)), bands)
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


def training_arguments(given: dict[str, Any], checkpoints: Path, evaluate: bool) -> Any:
    """transformers.TrainingArguments with this stage's defaults."""
    from transformers import TrainingArguments

    defaults = {
        "use_cpu": True,
        "report_to": "none",
        "save_strategy": "epoch",
        "eval_strategy": "epoch" if evaluate else "no",
        "logging_strategy": "epoch",
        "save_total_limit": 1,
        "per_device_eval_batch_size": 1,  # no padding: as the dump will see them
    }
    try:
        return TrainingArguments(output_dir=str(checkpoints), **(defaults | given))
    except (TypeError, ValueError) as error:
        raise UserError(f"training: {error}") from error


def make_trainer(
    settings: dict[str, Any],
    model: Any,
    tokenizer: Any,
    train: Utterances | None,
    dev: Utterances | None,
    checkpoints: Path,
) -> Any:
    """A transformers.Trainer that batches by length and scores one utterance at a time."""
    from transformers import Trainer
    from transformers.trainer_pt_utils import LengthGroupedSampler

    class CtcTrainer(Trainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
            batch = self.args.train_batch_size
            return LengthGroupedSampler(batch, lengths=train.num_samples())

    return CtcTrainer(
        model=model,
        args=training_arguments(settings["training"], checkpoints, dev is not None),
        data_collator=collate,
        train_dataset=train,
        eval_dataset=dev,
        compute_metrics=lambda output: error_rates(output, tokenizer),
        preprocess_logits_for_metrics=lambda logits, labels: logits.argmax(dim=-1),
    )


def error_rates(output: Any, tokenizer: Any) -> dict[str, float]:
    """WER and CER in per cent, greedy decoding."""
    import jiwer

    blank = tokenizer.pad_token_id
    best = np.where(output.predictions == IGNORED, blank, output.predictions)
    wanted = np.where(output.label_ids == IGNORED, blank, output.label_ids)
    said = [tokenizer.decode(row) for row in best]
    true = [tokenizer.decode(row, group_tokens=False) for row in wanted]
    return {
        "wer": round(100 * jiwer.wer(true, said), 2),
        "cer": round(100 * jiwer.cer(true, said), 2),
    }


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint; incomplete ones, left by a kill, are removed."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.split("-")[1]))
    for one in reversed(found):
        try:
            json.loads((one / "trainer_state.json").read_text())  # written last
        except (FileNotFoundError, json.JSONDecodeError):
            shutil.rmtree(one)
        else:
            return str(one)
    return None


def train_teacher(settings: dict[str, Any], args: argparse.Namespace) -> None:
    """Train, then put the whole output directory into place with one rename."""
    import torch
    from transformers import Wav2Vec2FeatureExtractor

    output = Path(args.output)
    draft = output.with_name(output.name + ".tmp")
    checkpoints = output.with_name(output.name + ".checkpoints")
    shutil.rmtree(draft, ignore_errors=True)
    tokenizer = make_tokenizer(settings, read_labelled(args.train), draft)
    normalize = settings.get("normalize", True)
    extractor = Wav2Vec2FeatureExtractor(do_normalize=normalize, return_attention_mask=True)
    extractor.save_pretrained(draft)
    augment = {key: settings.get(key) for key in ("noise", "speed")}
    train = Utterances(args.train, tokenizer, extractor, **augment)
    dev = Utterances(args.dev, tokenizer, extractor)
    refuse_changed(settings, train, checkpoints)
    model = make_model(settings, tokenizer)
    trainer = make_trainer(settings, model, tokenizer, train, dev, checkpoints)
    start = time.time()
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    report = {
        "config": settings,
        "parameters": model.num_parameters(),
        "train_utterances": len(train),
        "train_minutes": round(sum(train.num_samples()) / SAMPLE_RATE / 60, 1),
        "epochs": trainer.state.epoch,
        "seconds_since_last_start": round(time.time() - start, 1),
        "history": [line for line in trainer.state.log_history if "eval_wer" in line],
        "scores": {},
    }
    model.to(getattr(torch, settings.get("weights") or "float32")).save_pretrained(draft)
    (draft / "model.safetensors").chmod(0o644)  # safetensors makes it private
    write_text_atomic(draft / REPORT, json.dumps(report, indent=1) + "\n")
    shutil.rmtree(output, ignore_errors=True)
    os.replace(draft, output)
    shutil.rmtree(checkpoints)


def refuse_changed(settings: dict[str, Any], train: Utterances, checkpoints: Path) -> None:
    """Remember what is trained; raise UserError when checkpoints are of something else."""
    now = json.dumps({"settings": settings, "text": train.data.text}, sort_keys=True)
    record = checkpoints / "settings.json"
    if record.exists() and record.read_text(encoding="utf-8") != now:
        raise UserError(
            f"{checkpoints}: begun with another config or other data; remove it to start anew"
        )
    write_text_atomic(record, now)


def score(args: argparse.Namespace) -> dict[str, Any]:
    """Score the sets that the report lacks with the weights on disk; give the report."""
    import torch
    from transformers import AutoFeatureExtractor, AutoModelForCTC, AutoTokenizer

    output = Path(args.output)
    report = json.loads((output / REPORT).read_text(encoding="utf-8"))
    folders = [one for one in (args.dev, *args.test) if Path(one).name not in report["scores"]]
    if not folders:
        return report
    tokenizer = AutoTokenizer.from_pretrained(output)
    extractor = AutoFeatureExtractor.from_pretrained(output)
    model = AutoModelForCTC.from_pretrained(output, dtype=torch.float32)
    with tempfile.TemporaryDirectory() as scratch:
        scorer = make_trainer({"training": {}}, model, tokenizer, None, None, Path(scratch))
        for folder in folders:
            data = Utterances(folder, tokenizer, extractor)
            metrics = scorer.predict(data).metrics
            report["scores"][Path(folder).name] = {
                "utterances": len(data),
                "wer": metrics["test_wer"],
                "cer": metrics["test_cer"],
            }
            write_text_atomic(output / REPORT, json.dumps(report, indent=1) + "\n")
    return report


def main(argv: list[str] | None = None) -> int:
    """Train unless done, score, print the error rates."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="YAML: family, model, training arguments")
    parser.add_argument("--train", required=True, help="Kaldi data directory, 16 kHz, with text")
    parser.add_argument("--dev", required=True, help="scored after every epoch")
    parser.add_argument("--test", action="append", default=[], help="scored at the end; repeatable")
    parser.add_argument("--output", required=True, help="directory of the finished teacher")
    parser.add_argument("--nthreads", type=int, default=1, help="small models gain little")
    args = parser.parse_args(argv)
    import torch

    torch.set_num_threads(args.nthreads)
    try:
        settings = read_settings(args.config)
        if (Path(args.output) / REPORT).exists():
            print(f"{args.output}: trained before, remove it to train anew")
        else:
            train_teacher(settings, args)
        report = score(args)
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    for name, rates in report["scores"].items():
        print(f"{args.output}: {name}: WER {rates['wer']} %, CER {rates['cer']} %")
    return 0


if __name__ == "__main__":
    sys.exit(main())
