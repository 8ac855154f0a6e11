#!/usr/bin/env python3
"""Train a small masked language model of the XLM-R family from plain text, a sentence a line.

    train_text_teacher.py --config conf/text_teacher.yaml --text data/text/train.txt \
        --dev data/text/dev.txt --output exp/models/xlmr

The output is an ordinary pretrained-model directory (safetensors, tokenizer) plus
teacher_report.json. A killed run is continued by the same command. Keys of the YAML:

vocabulary : pieces of the unigram tokenizer, which is trained first
model : arguments of XLMRobertaConfig; the vocabulary is the tokenizer's
mask : share of the pieces that are to be guessed
training : arguments of transformers.TrainingArguments
"""

import argparse
import json
import math
import os
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from distill_asr.config import load_config
from distill_asr.errors import UserError
from distill_asr.files import write_text_atomic

KEYS = ("vocabulary", "model", "mask", "training")
SPECIAL = ("<s>", "<pad>", "</s>", "<unk>")
MASK = "<mask>"
REPORT = "teacher_report.json"


def read_settings(path: str) -> dict[str, Any]:
    """Read and check the YAML described above."""
    settings = load_config(path)
    problems = [
        f"{path}: unknown key {key!r}; allowed: {', '.join(KEYS)}"
        for key in settings
        if key not in KEYS
    ]
    for key, kind in zip(KEYS, (int, dict, float, dict), strict=True):
        if not isinstance(settings.get(key), kind):
            given = settings.get(key)
            problems.append(f"{path}: {key}: given {given!r}, expected {kind.__name__}")
    if problems:
        raise UserError(problems)
    return settings


def read_lines(paths: list[str]) -> list[str]:
    """Sentences of all files."""
    absent = [f"{path}: no such file" for path in paths if not Path(path).is_file()]
    if absent:
        raise UserError(absent)
    texts = [Path(path).read_text(encoding="utf-8").split("\n") for path in paths]
    lines = [" ".join(line.split()) for text in texts for line in text]
    lines = [line for line in lines if line]
    if not lines:
        raise UserError(f"{', '.join(paths)}: no sentence there")
    return lines


def make_tokenizer(lines: list[str], pieces: int, folder: Path) -> Any:
    """A unigram tokenizer as XLM-R's, saved to ``folder``."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=pieces,
        special_tokens=[*SPECIAL, MASK],
        unk_token="<unk>",
        show_progress=False,
    )
    tokenizer.train_from_iterator(lines, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    names = ("bos_token", "pad_token", "eos_token", "unk_token")
    wrapped = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, mask_token=MASK, **dict(zip(names, SPECIAL, strict=True))
    )
    folder.mkdir(parents=True, exist_ok=True)
    wrapped.save_pretrained(folder)
    return wrapped


def make_model(settings: dict[str, Any], tokenizer: Any) -> Any:
    """A model with random weights (seeded by ``training.seed``)."""
    from transformers import XLMRobertaConfig, XLMRobertaForMaskedLM, set_seed

    set_seed(settings["training"].get("seed", 42))
    ids = {
        f"{name}_token_id": getattr(tokenizer, f"{name}_token_id") for name in ("bos", "pad", "eos")
    }
    config = XLMRobertaConfig(vocab_size=len(tokenizer), **ids, **settings["model"])
    return XLMRobertaForMaskedLM(config)


def make_trainer(
    settings: dict[str, Any], model: Any, tokenizer: Any, sets: list[list[str]], checkpoints: Path
) -> Any:
    """A transformers.Trainer; the dev loss is measured after every epoch."""
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    longest = model.config.max_position_embeddings - 2
    train, dev = (
        [
            {"input_ids": ids}
            for ids in tokenizer(lines, truncation=True, max_length=longest)["input_ids"]
        ]
        for lines in sets
    )
    defaults = {
        "report_to": "none",
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "logging_strategy": "epoch",
        "save_total_limit": 1,
        "disable_tqdm": True,
    }
    try:
        arguments = TrainingArguments(
            output_dir=str(checkpoints), **(defaults | settings["training"])
        )
    except (TypeError, ValueError) as error:
        raise UserError(f"training: {error}") from error
    collate = DataCollatorForLanguageModeling(tokenizer, mlm_probability=settings["mask"])
    return Trainer(
        model=model,
        args=arguments,
        train_dataset=train,
        eval_dataset=dev,
        data_collator=collate,
    )


def last_checkpoint(folder: Path) -> str | None:
    """The newest complete checkpoint."""
    found = sorted(folder.glob("checkpoint-*"), key=lambda one: int(one.name.split("-")[1]))
    whole = [one for one in found if (one / "trainer_state.json").is_file()]  # written last
    return str(whole[-1]) if whole else None


def train(settings: dict[str, Any], args: argparse.Namespace) -> None:
    """Train, then put the whole output directory into place with one rename."""
    output = Path(args.output)
    draft = output.with_name(output.name + ".tmp")
    checkpoints = output.with_name(output.name + ".checkpoints")
    shutil.rmtree(draft, ignore_errors=True)
    sets = [read_lines(args.text), read_lines(args.dev)]
    refuse_changed(settings, sets, checkpoints)
    tokenizer = make_tokenizer(sets[0], settings["vocabulary"], draft)
    model = make_model(settings, tokenizer)
    trainer = make_trainer(settings, model, tokenizer, sets, checkpoints)
    start = time.time()
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    history = [one for one in trainer.state.log_history if "eval_loss" in one]
    report = {
        "config": settings,
        "parameters": model.num_parameters(),
        "sentences": len(sets[0]),
        "pieces": len(tokenizer),
        "seconds_since_last_start": round(time.time() - start, 1),
        "dev_perplexity": [round(math.exp(one["eval_loss"]), 2) for one in history],
    }
    model.save_pretrained(draft)
    write_text_atomic(draft / REPORT, json.dumps(report, indent=1) + "\n")
    shutil.rmtree(output, ignore_errors=True)
    os.replace(draft, output)
    shutil.rmtree(checkpoints)


def refuse_changed(settings: dict[str, Any], sets: list[list[str]], checkpoints: Path) -> None:
    """Remember what is trained; raise UserError when checkpoints are of something else."""
    now = json.dumps([settings, sets])
    record = checkpoints / "settings.json"
    if record.exists() and record.read_text(encoding="utf-8") != now:
        raise UserError(
            f"{checkpoints}: begun with another config or other text; remove it to start anew"
        )
    write_text_atomic(record, now)


def main(argv: list[str] | None = None) -> int:
    """Train unless done; print the perplexity of masked pieces on the dev text."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="YAML: tokenizer, model, training")
    parser.add_argument("--text", nargs="+", required=True, help="text files, a sentence a line")
    parser.add_argument("--dev", nargs="+", required=True, help="measured after every epoch")
    parser.add_argument("--output", required=True, help="directory of the finished teacher")
    args = parser.parse_args(argv)
    try:
        settings = read_settings(args.config)
        if (Path(args.output) / REPORT).exists():
            print(f"{args.output}: trained before, remove it to train anew")
        else:
            train(settings, args)
    except UserError as error:
        print("\n".join(error.problems), file=sys.stderr)
        return 1
    report = json.loads((Path(args.output) / REPORT).read_text(encoding="utf-8"))
    perplexity = ", ".join(map(str, report["dev_perplexity"]))
    print(
        f"{args.output}: {report['sentences']} sentences, perplexity on dev by epoch: {perplexity}"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
