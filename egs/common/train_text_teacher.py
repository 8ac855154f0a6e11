#!/usr/bin/env python3
"""Train a small text teacher, a masked language model, from sentences alone.

    train_text_teacher.py --config conf/teacher_bert.yaml --train data/text/train.txt \
        --dev data/text/dev.txt --test dump/test --output exp/teachers/bert

The output is an ordinary pretrained-model directory (safetensors, tokenizer) plus
teacher_report.json, which says the perplexity of masked pieces of the dev text after every epoch
and how often a masked word is filled rightly; where a file ``choices.txt`` lies beside the dev text
(words to choose between, a choice a line), also how often the right one of them is taken. A killed
run is continued by the same command; a finished one only scores sets it has not scored yet.

The YAML:

vocabulary : ``words`` (a WordPiece tokenizer that has every word, as BERT's has the frequent ones),
    or the number of pieces of a unigram tokenizer, as XLM-R's
model : model_type (bert, xlm-roberta ...) and arguments of its transformers config
mask : share of the pieces that are to be guessed
training : arguments of transformers.TrainingArguments
"""

import argparse
import json
import math
import os
import shutil
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill_asr.data.datadir import read_table
from distill_asr.errors import UserError
from distill_asr.io.files import write_text_atomic
from distill_asr.io.yaml import load_config

KEYS = ("vocabulary", "model", "mask", "training")
WORDS = "words"
WORDPIECE_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNIGRAM_SPECIAL = {
    "bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>",
    "mask_token": "<mask>",
}  # fmt: skip
REPORT = "teacher_report.json"
CHOICES = "choices.txt"
SCORED_AT_A_TIME = 256
MOST_TOLD = 10  # sentences that one report names


def read_settings(path: str) -> dict[str, Any]:
    """Read and check the YAML described above."""
    settings = load_config(path)
    problems = [f"{path}: unknown key {k!r}; allowed: {', '.join(KEYS)}"
                for k in settings if k not in KEYS]  # fmt: skip
    for key in ("model", "training"):
        if not isinstance(settings.get(key), dict):
            problems.append(f"{path}: {key}: expected 'name: value' lines")
    if isinstance(settings.get("model"), dict) and "model_type" not in settings["model"]:
        problems.append(f"{path}: model: no model_type, such as bert or xlm-roberta")
    vocabulary = settings.get("vocabulary")
    if vocabulary != WORDS and not (isinstance(vocabulary, int) and vocabulary > 0):
        problems.append(f"{path}: vocabulary: given {vocabulary!r}, expected {WORDS} or a number")
    mask = settings.get("mask")
    if not isinstance(mask, float) or not 0 < mask < 1:
        problems.append(f"{path}: mask: given {mask!r}, expected a share such as 0.15")
    if problems:
        raise UserError(problems)
    return settings


def read_sentences(path: str) -> list[str]:
    """Lines of a file, or the transcripts of a data directory."""
    if Path(path).is_dir():
        return list(read_table(Path(path) / "text").values())
    try:
        lines = Path(path).read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}") from error
    if not (found := [" ".join(line.split()) for line in lines if line.strip()]):
        raise UserError(f"{path}: no sentences")
    return found


def make_tokenizer(sentences: list[str], vocabulary: str | int, folder: Path) -> Any:
    """The tokenizer, trained on the text and saved to ``folder``."""
    make = wordpiece if vocabulary == WORDS else unigram
    tokenizer = make(sentences, vocabulary)
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save_pretrained(folder)
    return tokenizer


def wordpiece(sentences: list[str], _: str | int) -> Any:
    """Every word of the text is a piece; other words are spelled in letters."""
    from transformers import BertTokenizer

    words = [word for word, _ in Counter(" ".join(sentences).lower().split()).most_common()]
    letters = sorted(set("".join(words)))
    pieces = (*WORDPIECE_SPECIAL, *words, *letters, *(f"##{letter}" for letter in letters))
    return BertTokenizer(vocab={piece: i for i, piece in enumerate(dict.fromkeys(pieces))})


def unigram(sentences: list[str], pieces: str | int) -> Any:
    """Pieces as XLM-R has them, a sentence between <s> and </s>."""
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from tokenizers.trainers import UnigramTrainer
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.Unigram())
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    special = list(UNIGRAM_SPECIAL.values())
    trainer = UnigramTrainer(
        vocab_size=pieces, special_tokens=special, unk_token="<unk>", show_progress=False
    )
    tokenizer.train_from_iterator(sentences, trainer)
    ends = [(one, special.index(one)) for one in ("<s>", "</s>")]
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=ends
    )
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, **UNIGRAM_SPECIAL)


def make_model(settings: dict[str, Any], tokenizer: Any) -> Any:
    """A model with random weights (seeded by ``training.seed``)."""
    from transformers import AutoConfig, AutoModelForMaskedLM, set_seed

    set_seed(settings["training"].get("seed", 42))
    ids = {
        f"{one}_token_id": getattr(tokenizer, f"{one}_token_id") for one in ("bos", "pad", "eos")
    }
    try:
        config = AutoConfig.for_model(**settings["model"], vocab_size=len(tokenizer), **ids)
        return AutoModelForMaskedLM.from_config(config)
    except (TypeError, ValueError) as error:
        raise UserError(f"model: {error}") from error


def encode(tokenizer: Any, sentences: list[str], model: Any) -> list[dict[str, list[int]]]:
    """Piece ids of each sentence.

    Raises
    ------
    UserError : sentences longer than the model has positions.
    """
    ids = tokenizer(sentences)["input_ids"]
    places = model.config.max_position_embeddings
    if "roberta" in model.config.model_type:
        places -= model.config.pad_token_id + 1  # its positions begin behind that of padding
    problems = [
        f"{sentence!r}: {len(row)} pieces, expected at most {places}; raise max_position_embeddings"
        for sentence, row in zip(sentences, ids, strict=True)
        if len(row) > places
    ]
    if problems:
        more = [f"and {len(problems) - MOST_TOLD} more"] if len(problems) > MOST_TOLD else []
        raise UserError(problems[:MOST_TOLD] + more)
    return [{"input_ids": row} for row in ids]


def make_trainer(
    settings: dict[str, Any], model: Any, tokenizer: Any, sets: list[list[str]], checkpoints: Path
) -> Any:
    """A transformers.Trainer; the dev loss is measured after every epoch."""
    from transformers import DataCollatorForLanguageModeling, Trainer, TrainingArguments

    train, dev = (encode(tokenizer, lines, model) for lines in sets)
    defaults = {
        "report_to": "none",
        "save_strategy": "epoch",
        "eval_strategy": "epoch",
        "logging_strategy": "epoch",
        "save_total_limit": 1,
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


def train_teacher(settings: dict[str, Any], args: argparse.Namespace) -> None:
    """Train, then put the whole output directory into place with one rename."""
    output = Path(args.output)
    draft = output.with_name(output.name + ".tmp")
    checkpoints = output.with_name(output.name + ".checkpoints")
    shutil.rmtree(draft, ignore_errors=True)
    sets = [read_sentences(args.train), read_sentences(args.dev)]
    refuse_changed(settings, sets, checkpoints)
    tokenizer = make_tokenizer(sets[0], settings["vocabulary"], draft)
    model = make_model(settings, tokenizer)
    trainer = make_trainer(settings, model, tokenizer, sets, checkpoints)
    trainer.train(resume_from_checkpoint=last_checkpoint(checkpoints))
    history = [one["eval_loss"] for one in trainer.state.log_history if "eval_loss" in one]
    report = {
        "config": settings,
        "parameters": model.num_parameters(),
        "train_sentences": len(sets[0]),
        "pieces": len(tokenizer),
        "dev_perplexity": [round(math.exp(loss), 3) for loss in history],
        "scores": {},
    }
    model.save_pretrained(draft)
    (draft / "model.safetensors").chmod(0o644)  # safetensors makes it private
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


def questions(tokenizer: Any, sentences: list[str]) -> Iterator[tuple[str, list[int], dict]]:
    """Each word of each sentence masked in turn: the word, pieces, what is asked at which place."""
    encoded = tokenizer(sentences)
    for number, sentence in enumerate(sentences):
        ids, words = encoded["input_ids"][number], encoded.word_ids(number)
        for word in dict.fromkeys(word for word in words if word is not None):
            places = [place for place, owner in enumerate(words) if owner == word]
            row = [tokenizer.mask_token_id if i in places else piece for i, piece in enumerate(ids)]
            spans = [encoded.token_to_chars(number, place) for place in places]
            name = sentence[spans[0].start : spans[-1].end].strip().lower()
            yield name, row, {place: ids[place] for place in places}


def fills(model: Any, tokenizer: Any, sentences: list[str], choices: dict) -> dict[str, Any]:
    """Share of masked words that the teacher finds, and of those of a choice that it takes.

    ``choices``: word -> words to choose between, itself among them; each one piece.
    """
    import torch

    asked = list(questions(tokenizer, sentences))
    right, taken = [], []
    model.eval()
    for first in range(0, len(asked), SCORED_AT_A_TIME):
        part = asked[first : first + SCORED_AT_A_TIME]
        batch = tokenizer.pad({"input_ids": [row for _, row, _ in part]}, return_tensors="pt")
        with torch.inference_mode():
            logits = model(**batch).logits
        for (name, _, wanted), scores in zip(part, logits, strict=True):
            right.append(all(int(scores[i].argmax()) == piece for i, piece in wanted.items()))
            if name in choices and len(wanted) == 1:
                ids = tokenizer.convert_tokens_to_ids(choices[name])
                best = int(scores[next(iter(wanted))][ids].argmax())
                taken.append(choices[name][best] == name)
    scores = {"words": len(right), "right": sum(right) / max(1, len(right))}
    return scores | {"choices": len(taken), "choices_right": sum(taken) / max(1, len(taken))}


def read_choices(path: Path) -> dict[str, list[str]]:
    """Each word of the file with the words of its line."""
    lines = [line.lower().split() for line in read_sentences(str(path))] if path.is_file() else []
    return {word: line for line in lines for word in line}


def score(args: argparse.Namespace) -> dict[str, Any]:
    """Score the sets that the report lacks with the weights on disk; give the report."""
    from transformers import AutoModelForMaskedLM, AutoTokenizer

    output = Path(args.output)
    report = json.loads((output / REPORT).read_text(encoding="utf-8"))
    sets = [one for one in (args.dev, *args.test) if Path(one).stem not in report["scores"]]
    if not sets:
        return report
    choices = read_choices(Path(args.dev).parent / CHOICES)
    tokenizer = AutoTokenizer.from_pretrained(output)
    model = AutoModelForMaskedLM.from_pretrained(output)
    for one in sets:
        report["scores"][Path(one).stem] = fills(model, tokenizer, read_sentences(one), choices)
        write_text_atomic(output / REPORT, json.dumps(report, indent=1) + "\n")
    return report


def main(argv: list[str] | None = None) -> int:
    """Train unless done, score, print how well masked words are filled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="YAML: vocabulary, model, mask, training")
    parser.add_argument("--train", required=True, help="sentences, a line each")
    parser.add_argument("--dev", required=True, help="others, to measure with")
    parser.add_argument("--test", action="append", default=[], help="data dir; repeatable")
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
    perplexity = report["dev_perplexity"][-1]
    print(f"{args.output}: {report['train_sentences']} sentences, dev perplexity {perplexity:.2f}")
    for name, found in report["scores"].items():
        line = f"{args.output}: {name}: fills {found['right']:.1%} of {found['words']} masked words"
        if found["choices"]:
            line += f", chooses rightly in {found['choices_right']:.1%} of {found['choices']} cases"
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
