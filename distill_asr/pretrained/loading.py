"""Loading pretrained models for teachers: parts checked, mistakes explained, contents hashed."""

import hashlib
import json
import pickle
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
import transformers
from safetensors import safe_open
from transformers.utils import logging as transformers_logging

from distill_asr.errors import UserError
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.pretrained.request import MODELS, ModelRequest, locate_model

# weights that no hidden state depends on, absent from some checkpoints: learnt for masked
# pre-training, or to make one vector of a sentence
UNUSED = re.compile(r"masked_spec_embed$|^pooler\.")
# of a config: where it came from, not what the model computes
NOT_THE_MODEL = {"_name_or_path", "transformers_version", "architectures", "dtype", "torch_dtype"}
_LFS_POINTER = b"version https://git-lfs"  # how such a file begins


def load_model_config(request: ModelRequest, files: str) -> Any:
    """Load config.json.

    Parameters
    ----------
    request : names the model.
    files : what a model of this kind consists of, for the message.

    Raises
    ------
    UserError : the model is missing, or its config.json is damaged.
    """
    place = locate_model(request.name)
    try:
        return transformers.AutoConfig.from_pretrained(place, trust_remote_code=False)
    except Exception as error:  # JSON of another shape brings up anything
        raise UserError(_missing(request, files, error)) from error


def load_model(
    request: ModelRequest, model_class: Any, model_config: Any, files: str, **options: Any
) -> Any:
    """Load weights in float32, and refuse a checkpoint without some of them.

    Parameters
    ----------
    request : names the model.
    model_class : ``transformers.AutoModel``, or one class of it.
    model_config : as of ``load_model_config``.
    files : what a model of this kind consists of, for the message.
    options : for ``from_pretrained``.

    Raises
    ------
    UserError : no such weights, damaged ones, or those of another architecture.
    """
    try:
        # float32 for any checkpoint, so that the fingerprint is of the same numbers
        with quiet():
            model, info = model_class.from_pretrained(
                locate_model(request.name),
                config=model_config,
                dtype=torch.float32,
                output_loading_info=True,
                weights_only=True,  # of a pickle: tensors, never code
                **options,
            )
    except torch.OutOfMemoryError:
        raise
    except Exception as error:  # each format of weights has errors of its own
        damaged = [
            f"{request.where}: model: {problem}"
            for problem in damaged_weights(Path(locate_model(request.name)))
        ]
        raise UserError(damaged or _missing(request, files, error)) from error
    lost = sorted(key for key in info["missing_keys"] if not UNUSED.search(key))
    lost += sorted(str(key[0]) for key in info["mismatched_keys"])
    if lost:
        raise UserError(
            f"{request.where}: model {request.name}: the checkpoint lacks {len(lost)} weight(s) of "
            f"this family, e.g. {', '.join(lost[:3])}; it is damaged or of another architecture"
        )
    return model


def load_extractor(request: ModelRequest, expected: str | None, remedy: str) -> Any:
    """Load the feature extractor (preprocessor_config.json) of a speech model.

    Parameters
    ----------
    request : names the model.
    expected : name of its class in transformers; None for any.
    remedy : what to do where it is missing or another one.

    Raises
    ------
    UserError : missing, of another class, or for another sampling rate.
    """
    where = f"{request.where}: model {request.name}: "
    try:
        extractor = transformers.AutoFeatureExtractor.from_pretrained(
            locate_model(request.name), trust_remote_code=False
        )
    except Exception as error:  # JSON of another shape brings up anything
        raise UserError(
            f"{where}preprocessor_config.json is missing or not readable; {remedy}"
        ) from error
    if expected is not None and not isinstance(extractor, getattr(transformers, expected)):
        raise UserError(
            f"{where}preprocessor_config.json describes a {type(extractor).__name__}, expected "
            f"{expected}; {remedy}"
        )
    rate = getattr(extractor, "sampling_rate", None)
    if rate != SAMPLE_RATE:
        raise UserError(
            f"{where}wants {rate} Hz audio, data is {SAMPLE_RATE} Hz; choose a {SAMPLE_RATE} Hz "
            "teacher"
        )
    return extractor


def load_tokenizer(request: ModelRequest, model_config: Any) -> Any:
    """Load the tokenizer of a text model.

    Parameters
    ----------
    request : names the model.
    model_config : as of ``load_model_config``; its vocabulary is compared.

    Raises
    ------
    UserError : it is missing or another model's.
    """
    where = f"{request.where}: model {request.name}: "
    remedy = "copy tokenizer.json (or vocab.txt ...) from where the model was published"
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            locate_model(request.name), trust_remote_code=False
        )
    except Exception as error:  # each kind of tokenizer has errors of its own
        reason = _first_line(error)
        raise UserError(f"{where}the tokenizer cannot be loaded ({reason}); {remedy}") from error
    # without its files the library makes up a tokenizer of special pieces alone
    pieces = model_config.vocab_size
    if len(tokenizer) <= pieces / 2 or tokenizer.vocab_size > pieces:
        raise UserError(
            f"{where}the tokenizer knows {len(tokenizer)} pieces, the model {pieces}; the "
            f"tokenizer's files are missing or another model's; {remedy}"
        )
    return tokenizer


def tokenizer_facts(tokenizer: Any) -> dict[str, Any]:
    """Everything that decides into which pieces a sentence falls: the files' content."""
    if tokenizer.is_fast:
        return {"tokenizer.json": json.loads(tokenizer.backend_tokenizer.to_str())}
    with TemporaryDirectory() as directory:
        paths = [Path(path) for path in tokenizer.save_vocabulary(directory)]
        hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}
    return {"class": type(tokenizer).__name__, "special": tokenizer.special_tokens_map, **hashes}


def require_layers(request: ModelRequest, depth: int) -> None:
    """Refuse layers that a model does not have.

    Parameters
    ----------
    request : asks for the layers; 0 is the input of the first one.
    depth : layers of the model.

    Raises
    ------
    UserError : every layer that it does not have.
    """
    problems = [
        f"{request.where}: layers: {layer} given, but {request.name} has {depth} layers; allowed: "
        f"0 to {depth}"
        for layer in request.layers
        if layer > depth
    ]
    if problems:
        raise UserError(problems)


def input_name(model_config: Any) -> str:
    """What a family's model reads, in transformers' words: input_values, input_ids, ..."""
    found = transformers.MODEL_MAPPING.get(type(model_config), None)
    first = found[0] if isinstance(found, (list, tuple)) else found
    return getattr(first, "main_input_name", "nothing known")


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the library's advice off the terminal; what matters is checked here."""
    before = transformers_logging.get_verbosity()
    transformers_logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers_logging.disable_progress_bar()  # a log has no use for bars
    try:
        yield
    finally:
        transformers_logging.set_verbosity(before)


def _missing(request: ModelRequest, files: str, error: Exception) -> str:
    reason = _first_line(error)
    return (
        f"{request.where}: model: {request.name} is neither a usable local directory nor on the "
        f"hub or in its cache ({reason}). With network access run `hf download {request.name}` "
        f"once; without, copy a directory with {files} from elsewhere and write its path as "
        f"`model:`, or set {MODELS} to the directory that it lies in"
    )


def damaged_weights(directory: Path) -> list[str]:
    """List the files of weights in a model's directory that cannot be read, and why."""
    paths = sorted(p for suffix in ("safetensors", "bin") for p in directory.glob(f"*.{suffix}"))
    return [
        f"{path}: {problem}; copy it again from where the model was published"
        for path in paths
        if (problem := _damage(path))
    ]


def _damage(path: Path) -> str | None:
    try:
        with open(path, "rb") as stream:
            head = stream.read(len(_LFS_POINTER))
        if not head:
            return "empty"
        if head == _LFS_POINTER:
            return "a Git LFS pointer, not the weights; run `git lfs pull` there"
        if path.suffix == ".safetensors":
            with safe_open(path, framework="pt") as file:
                file.keys()
        else:
            torch.load(path, map_location="meta", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Weights only load failed" not in str(error):
            return f"damaged or cut short ({_first_line(error)})"
        return (
            "holds more than tensors, or is damaged, and is not loaded, since a pickle can run "
            "code; take model.safetensors, or write the weights anew where you trust them: "
            f"`torch.save({{k: v for k, v in torch.load('{path.name}', weights_only=False).items() "
            f"if torch.is_tensor(v)}}, '{path.name}')`"
        )
    except Exception as error:  # each format has errors of its own
        return f"damaged or cut short ({_first_line(error)})"
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def require_device(device: str) -> None:
    """Refuse a device that cannot be used.

    Raises
    ------
    UserError : torch cannot use it here.
    """
    try:
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UserError(f"--device {device}: cannot be used here ({error}); try cpu") from error


def model_facts(model: Any) -> dict[str, Any]:
    """What a transformers model computes, besides its weights."""
    return {k: v for k, v in model.config.to_diff_dict().items() if k not in NOT_THE_MODEL}


def fingerprint(weights: Mapping[str, torch.Tensor], facts: Mapping[str, Any]) -> str:
    """SHA-256 of everything that decides the states, independent of the file format.

    Parameters
    ----------
    weights : state dict.
    facts : what the numbers depend on besides: the model's config, feature extraction, tokens.
    """
    digest = hashlib.sha256()
    for name, tensor in sorted(weights.items()):
        if not UNUSED.search(name):
            digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
            digest.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    digest.update(json.dumps(dict(facts), sort_keys=True, default=str).encode())
    return digest.hexdigest()
