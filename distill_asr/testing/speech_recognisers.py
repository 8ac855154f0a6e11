"""Tiny random recognisers of transformers with their tokenizers, to label without a download."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
import transformers
from tokenizers import Tokenizer, decoders, models

from distill_asr.testing.speech_models import save_speech_model

_LETTERS = list("abcdefgh")
SPECIAL = [
    "<|endoftext|>", "<|startoftranscript|>", "<|en|>", "<|ru|>", "<|transcribe|>",
    "<|translate|>", "<|notimestamps|>",
]  # fmt: skip
LETTERS_OF = {token: number for number, token in enumerate([*_LETTERS, *SPECIAL])}


def save_whisper(
    path: Path, multilingual: bool = True, ends: bool = False, seed: int = 0, **options: Any
) -> Path:
    """A random Whisper with a window of 1.5 s that writes letters; give the directory.

    Parameters
    ----------
    path : the directory.
    multilingual : it takes a language and a task.
    ends : its sentences are ended where they grow too long.
    seed : same seed, same weights.
    options : more of the model's config.
    """
    vocabulary = len(_LETTERS) + len(SPECIAL)
    end = LETTERS_OF["<|endoftext|>"]
    ids: dict[str, Any] = {"pad_token_id": end, "bos_token_id": end, "eos_token_id": end}
    save_speech_model(
        path,
        "whisper",
        seed=seed,
        vocab_size=vocabulary,
        decoder_start_token_id=LETTERS_OF["<|startoftranscript|>"],
        max_target_positions=24,
        **ids,
        **options,
    )
    save_tokenizer(path, LETTERS_OF, SPECIAL, end="<|endoftext|>")
    forced = {"forced_eos_token_id": end} if ends else {}
    generation = transformers.GenerationConfig(**ids, **forced, is_multilingual=multilingual)
    generation.save_pretrained(path)
    return Path(path)


def save_moonshine(path: Path, seed: int = 0) -> Path:
    """A random Moonshine that writes letters; give the directory.

    Parameters
    ----------
    path : the directory.
    seed : same seed, same weights.
    """
    tokens = ["<unk>", "<s>", "</s>", *_LETTERS]
    config = transformers.MoonshineConfig(
        vocab_size=len(tokens), hidden_size=16, intermediate_size=32, encoder_num_hidden_layers=1,
        decoder_num_hidden_layers=1, encoder_num_attention_heads=2, decoder_num_attention_heads=2,
        bos_token_id=1, eos_token_id=2, decoder_start_token_id=1, max_position_embeddings=64,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = transformers.MoonshineForConditionalGeneration(config)
    model.save_pretrained(path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=False).save_pretrained(path)
    save_tokenizer(path, {t: i for i, t in enumerate(tokens)}, tokens[:3], end="</s>")
    return Path(path)


def save_ctc(path: Path, family: str = "Wav2Vec2", norm: str = "group", seed: int = 0) -> Path:
    """A random wav2vec 2.0 (or relative) with a CTC over letters; give the directory.

    Parameters
    ----------
    path : the directory.
    family : beginning of the classes' names in transformers, such as ``Hubert``.
    norm : of the convolutions, ``group`` as in base models or ``layer`` as in large ones.
    seed : same seed, same weights.
    """
    tokens = ["<pad>", "<s>", "</s>", "<unk>", "|", *_LETTERS]
    config = getattr(transformers, f"{family}Config")(
        hidden_size=16, num_hidden_layers=2, num_attention_heads=2, intermediate_size=32,
        conv_dim=(8,) * 7, num_conv_pos_embedding_groups=2, num_conv_pos_embeddings=16,
        feat_extract_norm=norm, vocab_size=len(tokens), pad_token_id=0,
    )  # fmt: skip
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = getattr(transformers, f"{family}ForCTC")(config)
        for parameter in model.parameters():
            parameter.data += 0.3 * torch.randn_like(parameter)
    model.save_pretrained(path)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(path)
    vocabulary = Path(path) / "vocab.json"
    vocabulary.write_text(json.dumps({t: i for i, t in enumerate(tokens)}))
    transformers.Wav2Vec2CTCTokenizer(str(vocabulary)).save_pretrained(path)
    return Path(path)


def save_parakeet(path: Path, kind: str = "ctc", seed: int = 0) -> Path:
    """A random Parakeet that writes letters; give the directory.

    Parameters
    ----------
    path : the directory.
    kind : ``ctc``, ``rnnt`` or ``tdt``.
    seed : same seed, same weights.
    """
    tokens = ["<unk>", *_LETTERS, "<pad>"]
    blank = len(tokens) - 1
    options: dict[str, Any] = {"vocab_size": len(tokens), "pad_token_id": blank}
    if kind != "ctc":  # padding of theirs is no blank
        options |= {"pad_token_id": 0, "blank_token_id": blank}
    save_speech_model(path, f"parakeet-{kind}", seed=seed, **options)
    kept = f"Parakeet{'For' + kind.upper()}"
    model = getattr(transformers, kept).from_pretrained(path)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        head = model.ctc_head if kind == "ctc" else model.joint.head
        head.weight.data += torch.randn_like(head.weight)  # so that symbols differ
        if kind != "ctc":
            for parameter in model.decoder.parameters():
                parameter.data += 2 * torch.randn_like(parameter)
    model.save_pretrained(path)
    tokenizer = Tokenizer(models.WordLevel({t: i for i, t in enumerate(tokens)}, "<unk>"))
    tokenizer.add_special_tokens(["<unk>", "<pad>"])
    tokenizer.decoder = decoders.Fuse()
    transformers.ParakeetTokenizer(
        tokenizer_object=tokenizer, unk_token="<unk>", pad_token="<pad>"
    ).save_pretrained(path)
    return Path(path)


def save_tokenizer(path: Path, ids: dict[str, int], special: list[str], end: str) -> None:
    """Save a tokenizer of whole tokens, which ``AutoTokenizer`` loads.

    Parameters
    ----------
    path : the model's directory.
    ids : id of each token.
    special : tokens left out of texts; the first one stands for unknown words.
    end : the token that ends a sentence.
    """
    tokenizer = Tokenizer(models.WordLevel(ids, unk_token=special[0]))
    tokenizer.add_special_tokens(special)
    tokenizer.decoder = decoders.Fuse()
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=end, unk_token=special[0]
    ).save_pretrained(path)
