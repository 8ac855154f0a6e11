"""Tiny random text models in transformers' on-disk form, to try teachers without a download."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

_WORDS = ("a", "b", "c", "d", "ab", "cd", "##a", "##b", "##c", "##d")
_SMALL = {
    "hidden_size": 16,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
}


def save_text_model(
    directory: Path,
    family: str = "bert",
    *,
    words: Sequence[str] = (),
    seed: int = 0,
    **options: Any,
) -> Path:
    """Save a model of three layers and width 16 with its tokenizer; give the directory.

    Parameters
    ----------
    directory : where; it is made.
    family : a key of ``FAMILIES``. Pieces are words of a, b, c, d in bert, and smaller in others.
    words : other pieces, of bert alone.
    seed : same seed, same weights.
    options : more of the model's config.
    """
    import torch
    import transformers

    directory = Path(directory)
    directory.mkdir(parents=True, exist_ok=True)
    config_name, model_name, write_tokenizer = FAMILIES[family]
    given = (words,) if words else ()
    pieces, special = write_tokenizer(directory, *given)
    shape = _SMALL | {"vocab_size": pieces, "num_key_value_heads": 1} | special
    config = getattr(transformers, config_name)(**(shape | options))
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, model_name)(config)
        for parameter in model.parameters():
            parameter.data += 0.1 * torch.randn_like(parameter)  # biases and norms are born plain
    model.save_pretrained(directory)
    return directory


def _write_wordpiece(directory: Path, words: Sequence[str] = _WORDS) -> tuple[int, dict[str, int]]:
    """As BERT comes: vocab.txt."""
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    (directory / "vocab.txt").write_text("".join(f"{piece}\n" for piece in pieces))
    return len(pieces), {"pad_token_id": 0}


def _write_bytes(directory: Path, special: dict[str, int]) -> int:
    """As GPT-2 and RoBERTa come: vocab.json, and merges.txt."""
    from tokenizers.pre_tokenizers import ByteLevel

    pieces = dict(special)
    for piece in [*sorted(ByteLevel.alphabet()), "ab", "cd"]:
        pieces[piece] = len(pieces)
    (directory / "vocab.json").write_text(json.dumps(pieces))
    (directory / "merges.txt").write_text("#version: 0.2\na b\nc d\n")
    return len(pieces)


def _write_gpt2(directory: Path) -> tuple[int, dict[str, int]]:
    """No padding, no piece at either end."""
    count = _write_bytes(directory, {"<|endoftext|>": 0})
    return count, {"bos_token_id": 0, "eos_token_id": 0}


def _write_roberta(directory: Path) -> tuple[int, dict[str, int]]:
    special = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3, "<mask>": 4}
    count = _write_bytes(directory, special)
    return count, {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


def _write_unigram(directory: Path) -> tuple[int, dict[str, int]]:
    """As XLM-R comes today: tokenizer.json of a sentencepiece unigram model."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors

    special = ["<s>", "<pad>", "</s>", "<unk>"]
    pieces = [*special, *(f"▁{word}" for word in "abcd"), *"abcd", "▁ab", "▁cd", "<mask>"]
    scores = [(piece, -float(place)) for place, piece in enumerate(pieces)]
    tokenizer = Tokenizer(models.Unigram(scores, unk_id=3))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.add_special_tokens([*special, "<mask>"])
    tokenizer.save(str(directory / "tokenizer.json"))
    names = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    _write_json(directory, names)
    return len(pieces), {"bos_token_id": 0, "pad_token_id": 1, "eos_token_id": 2}


def _write_llama(directory: Path) -> tuple[int, dict[str, int]]:
    """A piece at the beginning, no padding."""
    from tokenizers import processors

    begin = processors.TemplateProcessing(single="<|begin|> $A", special_tokens=[("<|begin|>", 0)])
    count = _write_byte_pairs(directory, ["<|begin|>", "<|end|>"], begin)
    names = {"bos_token": "<|begin|>", "eos_token": "<|end|>"}
    _write_json(directory, {**names, "tokenizer_class": "PreTrainedTokenizerFast"})
    return count, {"bos_token_id": 0, "eos_token_id": 1}


def _write_qwen(directory: Path) -> tuple[int, dict[str, int]]:
    """No piece at either end; padding is the end of text."""
    return _write_byte_pairs(directory, ["<|endoftext|>"]), {"eos_token_id": 0}


def _write_byte_pairs(directory: Path, special: list[str], template: Any = None) -> int:
    """As Llama and Qwen come: tokenizer.json of pairs of bytes."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    pieces = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet()), "ab", "cd"]
    numbers = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.BPE(numbers, [("a", "b"), ("c", "d")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    if template is not None:
        tokenizer.post_processor = template
    tokenizer.add_special_tokens(special)
    tokenizer.save(str(directory / "tokenizer.json"))
    return len(pieces)


def _write_json(directory: Path, content: dict[str, str]) -> None:
    (directory / "tokenizer_config.json").write_text(json.dumps(content))


FAMILIES: dict[str, tuple[str, str, Callable[..., tuple[int, dict[str, int]]]]] = {
    "bert": ("BertConfig", "BertModel", _write_wordpiece),
    "roberta": ("RobertaConfig", "RobertaModel", _write_roberta),
    "xlm-roberta": ("XLMRobertaConfig", "XLMRobertaModel", _write_unigram),
    "gpt2": ("GPT2Config", "GPT2Model", _write_gpt2),
    "llama": ("LlamaConfig", "LlamaModel", _write_llama),
    "qwen2": ("Qwen2Config", "Qwen2Model", _write_qwen),
}
