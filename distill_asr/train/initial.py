"""Initial weights of a student: parts of another experiment, found and compared with it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from torch import Tensor, nn

from distill_asr.errors import UserError, few
from distill_asr.experiments.config import ModelConfig
from distill_asr.experiments.layout import Experiment
from distill_asr.io.checkpoint import read_checkpoint
from distill_asr.train.config import TrainConfig

FROZEN, BELOW = "trained_encoder", ("frontend", "normalize", "encoder")  # see that front-end
FEATURES = "kaldi_fbank"  # of that front-end, where the config names none
NAMED_OR_PORTABLE = ("model", "architecture", "do_normalize")  # of hf_speech, see portable_conf
MEND = (
    "give this student the same front-end, encoder and sizes, or set ignore_init_mismatch: true "
    "to start with what fits"
)


def with_initial_parts(
    config: TrainConfig, source: Experiment, parts: Iterable[str]
) -> TrainConfig:
    """The config that starts with parts of an experiment, and with their statistics.

    Parameters
    ----------
    config : of the new training.
    source : the experiment.
    parts : beginnings of parameters' names, such as ``encoder``.

    Raises
    ------
    UserError : that experiment has no averaged model, a damaged one, or one without such parts.
    """
    given = config.espnet.get("init_param") or []
    if not isinstance(given, list):
        return config  # reported by the check of the config
    below = config.espnet.get("frontend") == FROZEN
    found = _parts_below(config, source) if below else _initial_parts(source, list(parts))
    taken = config.with_espnet(init_param=[*given, *found])
    file = source.statistics
    if not config.measures_statistics or not file.exists():
        return taken
    return taken.with_espnet(normalize_conf={**config.conf("normalize"), "stats_file": str(file)})


def _parts_below(config: TrainConfig, source: Experiment) -> list[str]:
    """Entries of ``init_param`` that put an experiment's encoder under this student.

    Raises
    ------
    UserError : the front-end is described otherwise than that experiment was trained.
    """
    _require_model(source)
    trained = ModelConfig.read(source.directory).values
    if trained.get("input_size"):  # it reads audio; ESPnet notes a front-end all the same
        trained = {**trained, "frontend": None, "frontend_conf": {}}
    conf = {"frontend": FEATURES, **config.conf("frontend")}
    problems = []
    for key in (key for part in BELOW for key in (part, f"{part}_conf")):
        ours, theirs = _comparable(conf.get(key) or {}, trained.get(key) or {})
        if ours != theirs:
            problems.append(
                f"frontend_conf.{key}: {ours or 'nothing'}, but {source.config} has "
                f"{theirs or 'nothing'}; describe the encoder as it was trained"
            )
    if problems:
        raise UserError([f"{config.name}: {problem}" for problem in problems])
    names = read_checkpoint(source.model, "finish that training again")
    return [
        f"{source.model}:{part}:frontend.{part}"
        for part in BELOW
        if any(name.startswith(f"{part}.") for name in names)
    ]


def _comparable(ours: object, theirs: object) -> tuple[object, object]:
    """Both without the name of a pretrained model, which a trained config replaced by its sizes.

    That the weights fit is checked by their shapes (``initial_problems``).
    """
    if isinstance(ours, dict) and isinstance(theirs, dict) and "architecture" in theirs:
        ours, theirs = ({k: v for k, v in one.items() if k not in NAMED_OR_PORTABLE}
                        for one in (ours, theirs))  # fmt: skip
    return ours, theirs


def _require_model(source: Experiment) -> None:
    if not source.model.exists():
        raise UserError(
            f"--init {source.directory}: no {source.model.name} there; finish that training first"
        )


def _initial_parts(source: Experiment, parts: list[str]) -> list[str]:
    """ESPnet's ``init_param``, by the beginnings of parameters' names."""
    _require_model(source)
    model = source.model
    names = read_checkpoint(model, "finish that training again")
    # ESPnet would go on without a word
    known = sorted({name.partition(".")[0] for name in names})
    problems = [
        f"--init-parts {part}: {model} has no such part; its parts: {', '.join(known)}"
        for part in parts
        if not any(name.startswith(f"{part}.") for name in names)
    ]
    if problems:
        raise UserError(problems)
    return [f"{model}:{part}:{part}" for part in parts]


def initial_problems(config: TrainConfig, student: nn.Module) -> list[str]:
    """Initial weights that do not fit the student: other shapes, other or fewer layers.

    ESPnet would stop in a traceback, or leave missing weights as they were initialised. Where this
    is intended, ``ignore_init_mismatch: true`` or the fourth part of an ``init_param`` declares it.

    Parameters
    ----------
    config : names the weights in ``init_param``.
    student : built from it.
    """
    if config.espnet.get("ignore_init_mismatch"):
        return []
    own = student.state_dict()
    problems = []
    for entry in config.initial_weights:
        file, source, target, excluded = [*entry.split(":", 3), "", "", ""][:4]
        if Path(file).is_file():  # else reported as missing
            theirs = _renamed(_weights_of(file), source, target, excluded.split(","))
            problems += _misfits(entry, theirs, own, target)
    return problems


def _weights_of(file: str) -> dict[str, Tensor]:
    found = read_checkpoint(file, "name another file in init_param")
    return found["module"] if "module" in found else found


def _renamed(
    weights: Mapping[str, Tensor], source: str, target: str, excluded: list[str]
) -> dict[str, Tensor | None]:
    """What ESPnet would load, by the student's names; None for what is left out on purpose."""
    old, new = (f"{part}." if part else "" for part in (source, target))
    return {
        new + name[len(old) :]: None if any(e and name.startswith(e) for e in excluded) else value
        for name, value in weights.items()
        if name.startswith(old)
    }


def _misfits(
    entry: str, theirs: Mapping[str, Tensor | None], own: Mapping[str, Tensor], target: str
) -> list[str]:
    where = f"init_param {entry}"
    inside = {name for name in own if not target or name.startswith(f"{target}.")}
    if not inside:
        return [f"{where}: this student has no part {target!r}"]
    problems = []
    for said, names in (
        ("are not in that file, and would stay random", sorted(inside - set(theirs))),
        ("of that file are not in this student", sorted(set(theirs) - set(own))),
    ):
        if names:
            problems.append(f"{where}: {len(names)} weights {said} ({few(names)}); {MEND}")
    other = {
        name: (tuple(value.shape), tuple(own[name].shape))
        for name, value in theirs.items()
        if value is not None and name in own and value.shape != own[name].shape
    }
    if other:
        told = [f"{name} {list(a)} there, {list(b)} here" for name, (a, b) in other.items()]
        problems.append(f"{where}: {len(other)} weights of another size ({few(told)}); {MEND}")
    return problems
