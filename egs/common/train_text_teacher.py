#!/usr/bin/env python3
"""Train a small text teacher: a BERT that fills masked words, from sentences alone.

    train_text_teacher.py --config conf/teacher_bert.yaml --train data/text/train.txt \
        --dev data/text/dev.txt --test dump/test --output exp/teachers/bert

The output is an ordinary pretrained-model directory (safetensors, tokeniser) plus
teacher_report.json, which says how often the teacher fills a masked word rightly; where a file
``choices.txt`` lies beside the dev text (words to choose between, a choice a line), also how often
it takes the right one of them. It takes a minute or two, so a killed run begins again; a finished
one only scores sets it has not scored yet. The YAML:

model : arguments of transformers.BertConfig; the vocabulary, whole words, follows from the text
masked : share of the words that are masked, whole, drawn anew in every pass
training : epochs, batch_size, learning_rate, warmup_steps, weight_decay, seed
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from distill_asr.config import load_config
from distill_asr.data.datadir import read_table
from distill_asr.errors import UserError
from distill_asr.files import write_text_atomic

KEYS = ("model", "masked", "training")
TRAINING = ("epochs", "batch_size", "learning_rate", "warmup_steps", "weight_decay", "seed")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
REPORT = "teacher_report.json"
CHOICES = "choices.txt"
IGNORED = -100  # label of what is not asked, in transformers
KEPT, RANDOM = 0.1, 0.1  # shares of the masked words that stay, or become any other
SCORED_AT_A_TIME = 256


def read_settings(path: str) -> dict[str, Any]:
    """Read and check the YAML described above."""
    settings = load_config(path)
    problems = [f"{path}: unknown key {k!r}; allowed: {', '.join(KEYS)}"
                for k in settings if k not in KEYS]  # fmt: skip
    for key in ("model", "training"):
        if not isinstance(settings.get(key), dict):
            problems.append(f"{path}: {key}: expected 'name: value' lines")
    training = settings.get("training")
    if isinstance(training, dict) and set(training) != set(TRAINING):
        problems.append(f"{path}: training: expected exactly {', '.join(TRAINING)}")
    masked = settings.get("masked")
    if not isinstance(masked, float) or not 0 < masked < 1:
        problems.append(f"{path}: masked: given {masked!r}, expected a share such as 0.15")
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
    if not (found := [line.strip() for line in lines if line.strip()]):
        raise UserError(f"{path}: no sentences")
    return found


def make_tokenizer(sentences: list[str], folder: Path) -> Any:
    """WordPiece with every word of the text, and letters for other words; saved to ``folder``."""
    from transformers import BertTokenizer

    words = [word for word, _ in Counter(" ".join(sentences).lower().split()).most_common()]
    letters = sorted(set("".join(words)))
    pieces = dict.fromkeys([*SPECIAL, *words, *letters, *(f"##{letter}" for letter in letters)])
    tokenizer = BertTokenizer(vocab={piece: number for number, piece in enumerate(pieces)})
    tokenizer.save_pretrained(folder)
    return tokenizer


def encode(tokenizer: Any, sentences: list[str]) -> list[tuple[list[int], list[int | None]]]:
    """Piece ids of each sentence, and the number of the word that each piece is of."""
    encoded = tokenizer(sentences)
    rows = range(len(sentences))
    return [(encoded["input_ids"][row], encoded.word_ids(row)) for row in rows]


def padded(rows: list[list[int]], fill: int) -> Any:
    """[B, S]."""
    import torch

    longest = max(map(len, rows))
    return torch.tensor([row + [fill] * (longest - len(row)) for row in rows])


def mask_words(items: list, tokenizer: Any, share: float) -> tuple[Any, Any]:
    """Inputs [B, S] with whole words masked, at least one a sentence, and labels [B, S]."""
    import torch

    inputs, labels = [], []
    for ids, words in items:
        count = max(word for word in words if word is not None) + 1
        drawn = torch.rand(count)
        asked = {i for i in range(count) if drawn[i] < share} or {int(drawn.argmin())}
        kinds = {word: float(torch.rand(())) for word in asked}
        row, goal = list(ids), [IGNORED] * len(ids)
        for place, word in enumerate(words):
            if word not in asked:
                continue
            goal[place] = ids[place]
            if kinds[word] < RANDOM:
                row[place] = int(torch.randint(len(SPECIAL), len(tokenizer), (1,)))
            elif kinds[word] >= RANDOM + KEPT:
                row[place] = tokenizer.mask_token_id
        inputs.append(row)
        labels.append(goal)
    return padded(inputs, tokenizer.pad_token_id), padded(labels, IGNORED)


def train_teacher(settings: dict[str, Any], args: argparse.Namespace) -> None:
    """Train in one go, then put the finished directory in its place."""
    import torch
    from transformers import BertConfig, BertForMaskedLM

    output = Path(args.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{output.name}.", suffix=".tmp", dir=output.parent))
    try:
        draft.chmod(0o755)
        sentences = read_sentences(args.train)
        torch.manual_seed(settings["training"]["seed"])
        tokenizer = make_tokenizer(sentences, draft)
        model = BertForMaskedLM(BertConfig(vocab_size=len(tokenizer), **settings["model"]))
        history = fit(model, tokenizer, encode(tokenizer, sentences), settings)
        model.save_pretrained(draft)
        (draft / "model.safetensors").chmod(0o644)  # safetensors makes it private
        report = {
            "config": settings,
            "parameters": model.num_parameters(),
            "train_sentences": len(sentences),
            "loss": history,
            "scores": {},
        }
        write_text_atomic(draft / REPORT, json.dumps(report, indent=1) + "\n")
        shutil.rmtree(output, ignore_errors=True)
        os.replace(draft, output)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def fit(model: Any, tokenizer: Any, items: list, settings: dict[str, Any]) -> list[float]:
    """Masked-word training with a linear warm-up and decay; the mean loss of each epoch."""
    import torch
    from tqdm import tqdm
    from transformers import get_linear_schedule_with_warmup

    training = settings["training"]
    size, epochs = training["batch_size"], training["epochs"]
    steps = epochs * -(-len(items) // size)
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=training["learning_rate"], weight_decay=training["weight_decay"]
    )
    schedule = get_linear_schedule_with_warmup(optimizer, training["warmup_steps"], steps)
    model.train()
    history = []
    for _ in tqdm(range(epochs), desc="epochs"):
        order, losses = torch.randperm(len(items)).tolist(), []
        for first in range(0, len(items), size):
            batch = [items[i] for i in order[first : first + size]]
            inputs, labels = mask_words(batch, tokenizer, settings["masked"])
            attention = (inputs != tokenizer.pad_token_id).long()
            loss = model(input_ids=inputs, attention_mask=attention, labels=labels).loss
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(loss.item())
        history.append(round(sum(losses) / len(losses), 4))
    return history


def questions(items: list, mask: int) -> Iterator[tuple[int, list[int], dict[int, int]]]:
    """Each word of each sentence masked in turn: number of the word, pieces, what is asked."""
    for ids, words in items:
        for word in dict.fromkeys(word for word in words if word is not None):
            places = [place for place, owner in enumerate(words) if owner == word]
            row = [mask if place in places else piece for place, piece in enumerate(ids)]
            yield word, row, {place: ids[place] for place in places}


def fills(model: Any, tokenizer: Any, sentences: list[str], choices: dict) -> dict[str, Any]:
    """Share of masked words that the teacher finds, and of those of a choice that it takes.

    ``choices``: word -> words to choose between, itself among them; each one piece.
    """
    import torch

    names, rows, wanted = [], [], []
    items = encode(tokenizer, sentences)
    for sentence, item in zip(sentences, items, strict=True):
        split = sentence.lower().split()
        for word, row, asked in questions([item], tokenizer.mask_token_id):
            names.append(split[word] if word < len(split) else "")
            rows.append(row)
            wanted.append(asked)
    right, taken = [], []
    model.eval()
    for first in range(0, len(rows), SCORED_AT_A_TIME):
        part = slice(first, first + SCORED_AT_A_TIME)
        inputs = padded(rows[part], tokenizer.pad_token_id)
        with torch.inference_mode():
            attention = (inputs != tokenizer.pad_token_id).long()
            logits = model(input_ids=inputs, attention_mask=attention).logits
        for name, row, asked in zip(names[part], logits, wanted[part], strict=True):
            right.append(all(int(row[place].argmax()) == piece for place, piece in asked.items()))
            if name in choices and len(asked) == 1:
                scores = row[next(iter(asked))]
                ids = tokenizer.convert_tokens_to_ids(choices[name])
                taken.append(choices[name][int(scores[ids].argmax())] == name)
    scores = {"words": len(right), "right": sum(right) / max(1, len(right))}
    return scores | {"choices": len(taken), "choices_right": sum(taken) / max(1, len(taken))}


def read_choices(path: Path) -> dict[str, list[str]]:
    """Each word of the file with the words of its line."""
    lines = [line.lower().split() for line in read_sentences(str(path))] if path.is_file() else []
    return {word: line for line in lines for word in line}


def score(args: argparse.Namespace) -> dict[str, Any]:
    """Score the sets that the report lacks with the weights on disk; give the report."""
    from transformers import AutoTokenizer, BertForMaskedLM

    output = Path(args.output)
    report = json.loads((output / REPORT).read_text(encoding="utf-8"))
    sets = [one for one in (args.dev, *args.test) if Path(one).stem not in report["scores"]]
    if not sets:
        return report
    choices = read_choices(Path(args.dev).parent / CHOICES)
    tokenizer = AutoTokenizer.from_pretrained(output)
    model = BertForMaskedLM.from_pretrained(output)
    for one in sets:
        report["scores"][Path(one).stem] = fills(model, tokenizer, read_sentences(one), choices)
        write_text_atomic(output / REPORT, json.dumps(report, indent=1) + "\n")
    return report


def main(argv: list[str] | None = None) -> int:
    """Train unless done, score, print how well masked words are filled."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", required=True, help="YAML: model, masked, training")
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
    for name, found in report["scores"].items():
        line = f"{args.output}: {name}: fills {found['right']:.1%} of {found['words']} masked words"
        if found["choices"]:
            line += f", chooses rightly in {found['choices_right']:.1%} of {found['choices']} cases"
        print(line)
    return 0


if __name__ == "__main__":
    sys.exit(main())
