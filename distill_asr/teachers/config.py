"""conf/teacher/*.yaml: which teacher, which layers, how its states are stored."""

import difflib
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from distill_asr.errors import UserError
from distill_asr.io.yaml import config_name, load_config
from distill_asr.pretrained.request import WINDOW_OF_AUDIO, ModelRequest
from distill_asr.targets.codecs import codec_problems, complete_codec
from distill_asr.targets.manifest import Settings

# kinds that come with the package; a user's own class is named by its dotted path instead
KINDS = {
    "speech": "distill_asr.teachers.speech:SpeechTeacher",
    "text": "distill_asr.teachers.text:TextTeacher",
    "random": "distill_asr.teachers.controls:RandomTeacher",
    "recogniser": "distill_asr.experiments.recogniser:RecogniserTeacher",
}
COMBINE = ("mean", "stack")
OF_PIECES = "mean_of_piece"  # of a text model: the mean state of each piece over a corpus
CONTEXTS = ("whole", "masked")
RESIDUALS = ("token",)
_VECTORS = ("piece", "position")
DTYPES = ("float32", "bfloat16")
_OUTPUTS = ("posteriors", "path", "states", "words")
TASKS = ("transcribe", "translate")
PATH_CODEC = "fp32"  # a path's frame numbers must come back exactly
# a CPU is fastest with what its caches hold, a GPU with much at a time
BATCH_SECONDS = {"cpu": 10.0, "other": 60.0}
OWN = "your own"  # stands for all dotted paths
HIDDEN_STATES = ("kind", "model", "layers", "combine", "dtype", "codec")
_KEYS: dict[str, tuple[str, ...]] = {
    "speech": (*HIDDEN_STATES, "window", "batch_seconds", "online", "compile"),
    "text": (
        *HIDDEN_STATES, "text", "context", "residual", "corpus", "batch_tokens", "online",
    ),
    "random": ("kind", "model", "vectors", "seed", "text", "codec", "batch_tokens", "online"),
    "recogniser": (
        "kind", "model", "checkpoint", "output", "text", "codec", "batch_seconds", "online",
        "language", "task",
    ),
    OWN: ("kind", "conf", "text", "codec", "batch_seconds", "batch_tokens", "online"),
}  # fmt: skip


@dataclass(frozen=True)
class TeacherConfig:
    """A validated teacher file."""

    path: str  # of its files, for messages
    kind: str  # one of KINDS, or the dotted path of a class
    model: str = ""  # hub id or local directory; none for a user's own class
    layers: tuple[int, ...] = ()  # hidden states; 0 is what enters the first layer
    # mean | stack (side by side in the width) | mean_of_piece; None for one layer
    combine: str | None = None
    dtype: str = "float32"
    codec: dict[str, Any] = field(default_factory=lambda: {"name": "fp32"})
    window: float | str | None = None  # seconds | audio, of models with a fixed window (Whisper)
    batch_seconds: float | None = None  # of padded audio in one teacher call; None: see `on`
    batch_tokens: int = 4096  # padded pieces of text in one teacher call
    text: str = "text"  # file of the data dir that is read, by teachers that read text
    output: str | None = None  # posteriors | path | states | words, of a recogniser
    checkpoint: str | None = None  # file in a recogniser's directory
    language: str | None = None  # code of the words, forced on a recogniser of several languages
    task: str = TASKS[0]  # of a recogniser of both
    conf: dict[str, Any] = field(default_factory=dict)  # arguments of a user's own class
    compile: bool = False  # by torch, which takes its time at the start
    online: bool = False  # in the training step instead of from disk
    context: str = "whole"  # whole | masked: a text model's positions are read without themselves
    residual: str | None = None  # token: what the piece itself explains is taken away
    corpus: str = ""  # sentences, a line each, over which pieces have their means
    vectors: str = "piece"  # piece | position: what a random vector belongs to
    seed: int = 0  # of random vectors

    @classmethod
    def read(
        cls,
        path: str | Path | Sequence[str | Path],
        overrides: Iterable[str] = (),
        name: str | None = None,
    ) -> "TeacherConfig":
        """Read and validate a teacher file, which may extend another.

        Parameters
        ----------
        path, overrides : as of ``load_config``; overrides may replace the file.
        name : stands in the messages; None: the files'.

        Raises
        ------
        UserError : all mistakes at once.
        """
        content = load_config(path, overrides)
        return cls.from_mapping(content, name or config_name(path) or "--set")

    @classmethod
    def from_mapping(cls, content: dict[str, Any], path: str) -> "TeacherConfig":
        """Validate the content of a teacher file.

        Parameters
        ----------
        content : keys of the file.
        path : stands in the messages.

        Raises
        ------
        UserError : every mistake in it.
        """
        problems = [f"{path}: {problem}" for problem in _problems(content)]
        if problems:
            raise UserError(problems)
        values = {key: value for key, value in content.items() if value is not None}
        values["layers"] = tuple(values.get("layers", ()))
        if len(values["layers"]) == 1 and values.get("combine") in COMBINE:
            values.pop("combine")  # one layer: nothing to combine
        return cls(path=path, **values)

    def on(self, device: str) -> "TeacherConfig":
        """The same, with what depends on the device filled in."""
        kind = "cpu" if device.startswith("cpu") else "other"
        return replace(self, batch_seconds=self.batch_seconds or BATCH_SECONDS[kind])

    def request(self) -> ModelRequest:
        """What is asked of a pretrained model."""
        seconds = self.batch_seconds or BATCH_SECONDS["cpu"]
        several = "mean" if len(self.layers) > 1 else None
        combine = several if self.combine == OF_PIECES else self.combine
        return ModelRequest(self.model, self.path, self.layers, combine, seconds, self.window)

    @property
    def asks_for_means(self) -> bool:
        """Whether means of pieces over a corpus are asked for."""
        return self.combine == OF_PIECES or self.residual is not None

    def control(self) -> dict[str, Any] | None:
        """What makes it a control, for the record; None where nothing does."""
        if self.kind == "random":
            return {"vectors": self.vectors, "seed": self.seed}
        found: dict[str, Any] = {} if self.context == "whole" else {"context": self.context}
        if self.residual is not None:
            found["residual"] = self.residual
        if self.asks_for_means:
            found["corpus"] = Path(self.corpus).name
        return found or None

    def settings(self, weights_sha256: str = "") -> Settings:
        """What decides the numbers of a target."""
        codec = complete_codec(self.codec)
        return Settings(
            self.kind, weights_sha256, self.layers, self.combine, self.dtype, codec, self.control()
        )


def _problems(content: dict[str, Any]) -> list[str]:
    kind = _kind_of(content.get("kind"))
    keys = _KEYS.get(kind, tuple(dict.fromkeys(key for known in _KEYS.values() for key in known)))
    problems = [_unknown_key(key, kind, keys) for key in content if key not in keys]
    problems += [
        f"{key}: missing; {hint}"
        for key, hint in _REQUIRED.items()
        if key in keys and (kind in _KEYS or key == "kind") and content.get(key) is None
    ]
    for key in keys:
        if content.get(key) is not None:
            problems += [f"{key}: {problem}" for problem in _CHECKS[key](content[key])]
    return problems + _CROSS_CHECKS.get(kind, lambda _: [])(content)


def _kind_of(given: Any) -> str | None:
    """The row of _KEYS that holds; the nearest for a misspelt kind, whose keys are checked too."""
    if isinstance(given, str) and "." in given:
        return OWN
    nearest = difflib.get_close_matches(str(given), KINDS, n=1)
    return nearest[0] if nearest else None


def _unknown_key(key: Any, kind: str | None, keys: Iterable[str]) -> str:
    owners = [name for name, known in _KEYS.items() if key in known]
    if not owners or kind is None:
        return _unknown("key", key, keys)
    return f"{_unknown('key', key, keys)}; {key!r} is a key of kind {' and '.join(owners)}"


def _hidden_states_problems(content: dict[str, Any]) -> list[str]:
    layers = content.get("layers")
    if isinstance(layers, list) and len(layers) > 1 and content.get("combine") is None:
        allowed = ", ".join(COMBINE)
        return [f"combine: missing, but {len(layers)} layers are given; allowed: {allowed}"]
    return []


def _speech_problems(content: dict[str, Any]) -> list[str]:
    problems = _hidden_states_problems(content)
    if content.get("combine") == OF_PIECES:
        problems.append(
            f"combine: {OF_PIECES}: speech has no pieces; allowed: {', '.join(COMBINE)}"
        )
    return problems


def _text_problems(content: dict[str, Any]) -> list[str]:
    problems = _hidden_states_problems(content)
    means, rest = content.get("combine") == OF_PIECES, content.get("residual") is not None
    if means and rest:
        problems.append(f"residual: of combine: {OF_PIECES} nothing would be left; remove one")
    if (means or rest) and content.get("corpus") is None:
        asked = f"combine: {OF_PIECES}" if means else "residual"
        problems.append(f"corpus: missing, but {asked} needs a file of sentences, one a line")
    if content.get("corpus") is not None and not (means or rest):
        problems.append(f"corpus: read for combine: {OF_PIECES} or residual: token only; remove it")
    return problems


def _recogniser_problems(content: dict[str, Any]) -> list[str]:
    problems = []
    output, codec = content.get("output"), content.get("codec")
    name = codec.get("name") if isinstance(codec, dict) else PATH_CODEC
    if output == "path" and name != PATH_CODEC:
        problems.append(
            f"codec: {name!r} does not bring a path's frame numbers and symbols back exactly; "
            f"allowed for `output: path`: {{name: {PATH_CODEC}}}"
        )
    if output in ("posteriors", "states") and content.get("text") is not None:
        problems.append(f"text: {output} need no text; remove it, or write `output: path`")
    if output == "words":
        problems += [
            f"{key}: not with `output: words`, which is for `distill-asr pseudo-label`; remove it"
            for key in ("text", "codec", "online")
            if content.get(key) is not None
        ]
    elif output in _OUTPUTS:
        problems += [
            f"{key}: of a recogniser with `output: words`; remove it"
            for key in ("language", "task")
            if content.get(key) is not None
        ]
    return problems


def _own_problems(content: dict[str, Any]) -> list[str]:
    from distill_asr.teachers.own import class_problems

    conf = content.get("conf") or {}
    return class_problems(content["kind"], conf) if isinstance(conf, dict) else []


def _check_model(value: Any) -> list[str]:
    if isinstance(value, str) and value.strip():
        return []
    return [f"given {value!r}, expected a hub id or a local directory"]


def _check_layers(value: Any) -> list[str]:
    good = (
        isinstance(value, list)
        and len(value) > 0
        and all(type(layer) is int and layer >= 0 for layer in value)
        and len(set(value)) == len(value)
    )
    if good:
        return []
    return [f"given {value!r}, expected a list of distinct layer numbers from 0 on, e.g. [24]"]


def _check_window(value: Any) -> list[str]:
    if value == WINDOW_OF_AUDIO or (type(value) in (int, float) and 0 < value < float("inf")):
        return []
    return [f"given {value!r}, expected {WINDOW_OF_AUDIO}, or the model's own seconds (30)"]


def _check_batch_seconds(value: Any) -> list[str]:
    if type(value) in (int, float) and 0 < value < float("inf"):
        return []
    return [f"given {value!r}, expected a positive number of seconds"]


def _check_batch_tokens(value: Any) -> list[str]:
    if type(value) is int and value > 0:
        return []
    return [f"given {value!r}, expected a positive number of pieces"]


def _check_path(value: Any) -> list[str]:
    if isinstance(value, str) and value.strip():
        return []
    return [f"given {value!r}, expected the path of a file"]


def _check_seed(value: Any) -> list[str]:
    if type(value) is int and 0 <= value < 2**32:
        return []
    return [f"given {value!r}, expected a whole number from 0 on, below 2^32"]


def _check_file_name(value: Any) -> list[str]:
    if isinstance(value, str) and value not in ("", ".", "..") and Path(value).name == value:
        return []
    return [f"given {value!r}, expected the plain name of a file"]


def _check_language(value: Any) -> list[str]:
    if isinstance(value, str) and value:
        return []
    hint = '; YAML reads a bare no as false: write "no"' if value is False else ""
    return [f"given {value!r}, expected the code of a language, such as ru{hint}"]


def _check_kind(value: Any) -> list[str]:
    if isinstance(value, str) and ("." in value or value in KINDS):
        return []
    return [f"{_unknown('value', value, KINDS)}, or the dotted path of a class"]


def _instance_of(expected: type, words: str) -> Any:
    return lambda value: [] if type(value) is expected else [f"given {value!r}, expected {words}"]


def _one_of(allowed: Iterable[str]) -> Any:
    return lambda value: [] if value in tuple(allowed) else [_unknown("value", value, allowed)]


def _unknown(what: str, given: Any, allowed: Iterable[str]) -> str:
    allowed = list(allowed)
    nearest = difflib.get_close_matches(str(given), allowed, n=1)
    hint = f" (did you mean {nearest[0]}?)" if nearest else ""
    return f"unknown {what} {given!r}{hint}; allowed: {', '.join(allowed)}"


_REQUIRED = {
    "kind": f"one of {', '.join(KINDS)}, or the dotted path of a class",
    "model": "a hub id or a local directory",
    "layers": "a list of layer numbers, e.g. [24]",
    "output": f"one of {', '.join(_OUTPUTS)}",
}
_CHECKS: dict[str, Callable[[Any], list[str]]] = {
    "kind": _check_kind,
    "model": _check_model,
    "layers": _check_layers,
    "combine": _one_of((*COMBINE, OF_PIECES)),
    "context": _one_of(CONTEXTS),
    "residual": _one_of(RESIDUALS),
    "corpus": _check_path,
    "vectors": _one_of(_VECTORS),
    "seed": _check_seed,
    "dtype": _one_of(DTYPES),
    "codec": codec_problems,
    "window": _check_window,
    "batch_seconds": _check_batch_seconds,
    "batch_tokens": _check_batch_tokens,
    "text": _check_file_name,
    "output": _one_of(_OUTPUTS),
    "checkpoint": _check_file_name,
    "language": _check_language,
    "task": _one_of(TASKS),
    "conf": _instance_of(dict, "a mapping of arguments"),
    "online": _instance_of(bool, "true or false"),
    "compile": _instance_of(bool, "true or false"),
}
_CROSS_CHECKS: dict[str | None, Callable[[dict[str, Any]], list[str]]] = {
    "speech": _speech_problems,
    "text": _text_problems,
    "recogniser": _recogniser_problems,
    OWN: _own_problems,
}
