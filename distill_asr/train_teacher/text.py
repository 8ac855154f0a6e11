"""A small text teacher: a masked language model, from sentences alone."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from tokenizers.trainers import UnigramTrainer
from transformers import (
    AutoConfig,
    AutoModelForMaskedLM,
    AutoTokenizer,
    BertTokenizer,
    DataCollatorForLanguageModeling,
    PreTrainedModel,
    PreTrainedTokenizerBase,
    PreTrainedTokenizerFast,
    Trainer,
    TrainingArguments,
    set_seed,
)

from distill_asr.errors import UserError
from distill_asr.io.tables import read_table, read_utf8
from distill_asr.train_teacher.settings import WORDS, TextSettings, seed
from distill_asr.train_teacher.trainer import TeacherTraining

WORDPIECE_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
UNIGRAM_SPECIAL = {
    "bos_token": "<s>", "pad_token": "<pad>", "eos_token": "</s>", "unk_token": "<unk>",
    "mask_token": "<mask>",
}  # fmt: skip
CHOICES = "choices.txt"  # beside the dev text: words to choose between, a choice a line
ENDS = ("bos", "pad", "eos")
SCORED_AT_A_TIME = 256
MOST_TOLD = 10  # sentences that one report names


class TextTeacherTraining(TeacherTraining[TextSettings]):
    """Trains on masked pieces; the share of masked words filled rightly measures it."""

    @cached_property
    def train(self) -> list[str]:
        """The training sentences."""
        return read_training_text(self.sets.train)

    @cached_property
    def dev(self) -> list[str]:
        """The sentences that perplexity is measured on."""
        return read_training_text(self.sets.dev)

    def content(self) -> object:  # noqa: D102
        return [self.train, self.dev]

    def make_tokenizer(self, folder: Path) -> PreTrainedTokenizerBase:
        """Train the tokenizer on the text."""
        vocabulary = self.settings.vocabulary
        words = vocabulary == WORDS
        tokenizer = wordpiece(self.train) if words else unigram(self.train, vocabulary)
        folder.mkdir(parents=True, exist_ok=True)
        tokenizer.save_pretrained(folder)
        return tokenizer

    def make_model(self, tokenizer: PreTrainedTokenizerBase) -> PreTrainedModel:
        """Give a model with random weights.

        Raises
        ------
        UserError : ``model`` of the settings is not what transformers takes.
        """
        set_seed(seed(self.settings))
        ids = {f"{one}_token_id": getattr(tokenizer, f"{one}_token_id") for one in ENDS}
        try:
            config = AutoConfig.for_model(**self.settings.model, vocab_size=len(tokenizer), **ids)
            return AutoModelForMaskedLM.from_config(config)
        except (TypeError, ValueError) as error:
            raise UserError(f"model: {error}") from error

    def make_trainer(  # noqa: D102
        self,
        model: PreTrainedModel,
        tokenizer: PreTrainedTokenizerBase,
        arguments: TrainingArguments,
    ) -> Trainer:
        train, dev = (encode_sentences(tokenizer, lines, model) for lines in (self.train, self.dev))
        mask = self.settings.mask
        return Trainer(
            model=model,
            args=arguments,
            train_dataset=train,
            eval_dataset=dev,
            data_collator=DataCollatorForLanguageModeling(tokenizer, mlm_probability=mask),
        )

    def facts(self, trainer: Trainer) -> dict[str, Any]:  # noqa: D102
        history = [one["eval_loss"] for one in trainer.state.log_history if "eval_loss" in one]
        return {
            "train_sentences": len(self.train),
            "pieces": trainer.model.config.vocab_size,
            "dev_perplexity": [round(math.exp(loss), 3) for loss in history],
        }

    def score(self, output: Path, path: str) -> dict[str, Any]:  # noqa: D102
        tokenizer = AutoTokenizer.from_pretrained(output)
        model = AutoModelForMaskedLM.from_pretrained(output)
        choices = read_choices(Path(self.sets.dev).parent / CHOICES)
        return fills(model, tokenizer, read_training_text(path), choices)

    def asked(self, path: str) -> int:
        """Every word is masked once."""
        return sum(len(line.split()) for line in read_training_text(path))


def read_training_text(path: str) -> list[str]:
    """Lines of a file, or the transcripts of a data directory.

    Raises
    ------
    UserError : it cannot be read, or has no lines.
    """
    if Path(path).is_dir():
        return list(read_table(Path(path) / "text").values())
    lines = read_utf8(path).split("\n")
    if not (found := [" ".join(line.split()) for line in lines if line.strip()]):
        raise UserError(f"{path}: no sentences; write one in each line")
    return found


def wordpiece(sentences: list[str]) -> PreTrainedTokenizerBase:
    """Every word of the text is a piece; other words are spelled in letters."""
    words = [word for word, _ in Counter(" ".join(sentences).lower().split()).most_common()]
    letters = sorted(set("".join(words)))
    pieces = (*WORDPIECE_SPECIAL, *words, *letters, *(f"##{letter}" for letter in letters))
    vocab = {piece: i for i, piece in enumerate(dict.fromkeys(pieces))}
    return BertTokenizer(vocab=vocab, strip_accents=False)  # a mark is part of its word


def unigram(sentences: list[str], pieces: int) -> PreTrainedTokenizerBase:
    """A tokenizer with pieces as XLM-R has them, a sentence between <s> and </s>.

    Parameters
    ----------
    sentences : to train it with.
    pieces : size of the vocabulary at most, special ones included.
    """
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


def encode_sentences(
    tokenizer: PreTrainedTokenizerBase, sentences: list[str], model: PreTrainedModel
) -> list[dict[str, list[int]]]:
    """Piece ids of each sentence.

    Parameters
    ----------
    tokenizer : of the teacher.
    sentences : as people write them.
    model : its number of positions is the limit.

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


def questions(
    tokenizer: PreTrainedTokenizerBase, sentences: list[str]
) -> Iterator[tuple[str, list[int], dict[int, int]]]:
    """Each word of each sentence masked in turn: the word, pieces, what is asked at which place.

    Parameters
    ----------
    tokenizer : a fast one, with a mask.
    sentences : as people write them.

    Returns
    -------
    For each word its lower-case text, the sentence's piece ids with the word masked, and the right
    piece id by place.
    """
    encoded = tokenizer(sentences)
    for number, sentence in enumerate(sentences):
        ids, words = encoded["input_ids"][number], encoded.word_ids(number)
        for word in dict.fromkeys(word for word in words if word is not None):
            places = [place for place, owner in enumerate(words) if owner == word]
            row = [tokenizer.mask_token_id if i in places else piece for i, piece in enumerate(ids)]
            spans = [encoded.token_to_chars(number, place) for place in places]
            name = sentence[spans[0].start : spans[-1].end].strip().lower()
            yield name, row, {place: ids[place] for place in places}


def fills(
    model: PreTrainedModel,
    tokenizer: PreTrainedTokenizerBase,
    sentences: list[str],
    choices: dict[str, list[str]],
) -> dict[str, Any]:
    """Share of masked words that the teacher finds, and of those of a choice that it takes.

    Parameters
    ----------
    model, tokenizer : the teacher.
    sentences : each word of each is masked in turn.
    choices : word -> words to choose between, itself among them; each one piece.
    """
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
    lines = (
        [line.lower().split() for line in read_training_text(str(path))] if path.is_file() else []
    )
    return {word: line for line in lines for word in line}
