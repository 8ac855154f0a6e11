"""``distill-asr train``: checks everything, then hands over to ESPnet's trainer."""

from __future__ import annotations

import argparse
import json
import logging
import os
import re
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from distill_asr.data.pieces import KIND as PIECES
from distill_asr.data.pieces import PieceTokenizer
from distill_asr.errors import UserError
from distill_asr.io.checkpoint import damaged_checkpoints, read_checkpoint
from distill_asr.io.files import write_text_atomic
from distill_asr.io.yaml import config_name, load_config
from distill_asr.train.inputs import (
    experiment_record,
    fingerprint,
    needs_text,
    read_train_and_valid,
    write_inputs,
)
from distill_asr.train.requirements import write_teacher_facts

# may change when a run is continued; anything else makes another experiment
MAY_CHANGE = {"max_epoch", "num_workers", "ngpu", "log_interval", "log_level", "use_tensorboard"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr train``."""
    parser.add_argument(
        "--config",
        required=True,
        nargs="+",
        metavar="YAML",
        help="training YAML; several are merged from left to right, as with extends",
    )
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE")
    parser.add_argument("--train", action="append", required=True, help="prepared dir, repeatable")
    parser.add_argument("--valid", action="append", required=True, help="prepared dir, repeatable")
    parser.add_argument("--output", required=True, help="experiment directory")
    parser.add_argument(
        "--init", help="take the encoder, and its statistics, over from this experiment"
    )
    parser.add_argument(
        "--init-parts",
        default="encoder",
        metavar="PARTS",
        help="parts to take over instead, such as encoder,weights,ctc of a CIF student (encoder)",
    )
    parser.add_argument("espnet", nargs="*", help="after --: options of ESPnet, such as --ngpu 1")


def run(args: argparse.Namespace) -> int:
    """Train, or continue, or do nothing where the same training is done."""
    _check_paths(args)
    config = load_config(args.config, args.set)
    given = config.get("init_param") or []
    if args.init and isinstance(given, list):  # anything else is reported below
        config["init_param"] = [*given, *initial_parts(args.init, args.init_parts.split(","))]
        config = _with_initial_statistics(config, args.init)
    output = Path(args.output)
    record = experiment_record(config, args)
    identity = fingerprint(record)
    if _done(output, identity):
        print(f"{output}: training is done already")
        return 0
    _same_experiment(output, record)
    # ESPnet unpickles freely what it resumes from or initialises with
    os.environ["TORCH_FORCE_WEIGHTS_ONLY_LOAD"] = "1"
    command = prepare(config, args, output)
    _clean(output)
    write_text_atomic(output / "train.yaml", yaml.safe_dump(record, sort_keys=False))
    with _logging_to(output):
        _train(command, config, output)
    write_text_atomic(output / "done.json", json.dumps({"fingerprint": identity}) + "\n")
    return 0


def prepare(config: dict, args: argparse.Namespace, output: Path) -> list[str]:
    """Check config, data and targets, write what ESPnet reads; its command line."""
    from distill_asr.train.checks import check_config

    name = config_name(args.config)
    check_config(config, name)
    missing = _missing_files(config) + _tokenizer_problems(config)
    problems = [f"{name}: {problem}" for problem in missing]
    try:
        train, valid = read_train_and_valid(args.train, args.valid, config)
    except UserError as error:
        raise UserError(problems + error.problems) from error
    if problems:
        raise UserError(problems)
    # stage 1 is judged by its distillation loss, stage 2 by the recognition loss alone
    text = needs_text(config)
    facts = write_teacher_facts(output, train, [] if text else valid, config)
    resolved = resolve(config, facts, output)
    write_text_atomic(output / "data" / "espnet.yaml", yaml.safe_dump(resolved, sort_keys=False))
    command = ["--config", str(output / "data" / "espnet.yaml"), "--output_dir", str(output)]
    command += ["--resume", "true", "--allow_variable_data_keys", "true"]
    command += write_inputs(output, "train", train, config)
    judged = _without_distillers(config) if text else config
    command += write_inputs(output, "valid", valid, judged)
    return command + list(args.espnet)


def resolve(config: dict, facts: dict[str, dict], output: Path) -> dict:
    """The config in ESPnet's keys only, with what the manifests say about the teachers."""
    resolved = {key: value for key, value in config.items() if key != "distill"}
    if config.get("distill"):
        blocks = {name: block for name, block in config["distill"].items() if block}
        resolved |= {"distill": blocks, "distill_teachers": facts}
    if not needs_text(config):
        resolved |= {"token_type": None, "token_list": None}
    if _wants_statistics(config):
        conf = config.get("normalize_conf") or {}
        resolved["normalize_conf"] = {**conf, "stats_file": str(statistics_file(output))}
    # plots cost seconds an epoch; the curves are in TensorBoard
    resolved = {"num_att_plot": 0, "use_matplotlib": False} | resolved
    return resolved


def initial_parts(directory: str, parts: list[str]) -> list[str]:
    """ESPnet's ``init_param`` for parts of a finished experiment, by their parameters' beginnings.

    Raises
    ------
    UserError : that experiment has no averaged model, a damaged one, or one without such parts.
    """
    model = Path(directory) / "valid.loss.ave.pth"
    if not model.exists():
        raise UserError(f"--init {directory}: no {model.name} there; finish that training first")
    names = read_checkpoint(model, "finish that training again")
    # ESPnet would go on without a word
    problems = [
        f"--init-parts {part}: {model} has none; its parts: {', '.join(_parts(names))}"
        for part in parts
        if not any(name.startswith(f"{part}.") for name in names)
    ]
    if problems:
        raise UserError(problems)
    return [f"{model}:{part}:{part}" for part in parts]


def _parts(names: Iterable[str]) -> list[str]:
    return sorted({name.partition(".")[0] for name in names})


def _with_initial_statistics(config: dict, directory: str) -> dict:
    """An encoder goes on with the normalisation it was trained with."""
    file = statistics_file(Path(directory))
    if not _wants_statistics(config) or not file.exists():
        return config
    conf = config.get("normalize_conf") or {}
    return {**config, "normalize_conf": {**conf, "stats_file": str(file)}}


def statistics_file(output: Path) -> Path:
    """Where the statistics for ``global_mvn`` lie."""
    return output / "stats" / "train" / "feats_stats.npz"


def _check_paths(args: argparse.Namespace) -> None:
    """ESPnet joins these paths with other things by a character that they must not have."""
    problems = []
    if "," in args.output:
        problems.append(f"--output {args.output}: ESPnet splits paths at commas; use another name")
    if args.init and ":" in args.init:
        problems.append(f"--init {args.init}: ESPnet splits it at colons; rename that directory")
    if problems:
        raise UserError(problems)


def _clean(output: Path) -> None:
    """Remove models that a killed run left half-written.

    Only those: other hosts of a distributed training may be writing the small files just now.
    """
    for leftover in output.glob(".*.pth.*.tmp"):
        leftover.unlink(missing_ok=True)
    (output / "done.json").unlink(missing_ok=True)  # until this run is done as well


def _missing_files(config: dict) -> list[str]:
    """Files that the config names."""
    files = _initial_files(config.get("init_param"))
    if config.get("token_type") != PIECES:
        files.append(("bpemodel", config.get("bpemodel")))
    if needs_text(config):
        files.append(("token_list", config.get("token_list")))
        # ESPnet only warns, and splits the symbols into characters
        files.append(("non_linguistic_symbols", config.get("non_linguistic_symbols")))
    return [
        f"{key}: no such file: {file}"
        for key, file in files
        if isinstance(file, str) and not Path(file).is_file()
    ]


def _tokenizer_problems(config: dict) -> list[str]:
    """The text model whose pieces are the student's tokens."""
    if config.get("token_type") != PIECES or not needs_text(config):
        return []
    try:
        PieceTokenizer(config["bpemodel"]).text2tokens("")
    except UserError as error:
        return [f"bpemodel: {problem}" for problem in error.problems]
    return []


def _initial_files(params: object) -> list[tuple[str, str]]:
    params = params or []
    if not isinstance(params, list):
        raise UserError(f"init_param: expected a list of FILE:FROM:TO, found {params!r}")
    return [("init_param", str(param).split(":")[0]) for param in params]


def _without_distillers(config: dict) -> dict:
    return {key: value for key, value in config.items() if key != "distill"}


def _done(output: Path, identity: str) -> bool:
    marker = output / "done.json"
    return marker.exists() and json.loads(marker.read_text())["fingerprint"] == identity


def _same_experiment(output: Path, now: dict) -> None:
    """Refuse to continue a directory that holds another experiment, or a damaged one."""
    record = output / "train.yaml"
    if not record.exists() or not (output / "checkpoint.pth").exists():
        return
    before = yaml.safe_load(record.read_text(encoding="utf-8"))
    keys = {*before["config"], *now["config"]} - MAY_CHANGE
    differ = sorted(k for k in keys if before["config"].get(k) != now["config"].get(k))
    named = {
        "train": "--train",
        "valid": "--valid",
        "data": "the content of its data, targets or initial weights",
    }
    differ += [what for part, what in named.items() if before.get(part, now[part]) != now[part]]
    if _lasting(before.get("espnet", [])) != _lasting(now["espnet"]):
        differ.append("the options after --")
    if differ:
        raise UserError(
            f"{output}: holds a training that differs in {', '.join(differ)}; "
            "use another --output, or remove that directory"
        )
    if problems := damaged_checkpoints(output):
        raise UserError(problems)


def _lasting(options: list[str]) -> list[str]:
    """ESPnet options without those that may change when a run is continued."""
    kept, dropping = [], False
    for option in options:
        if option.startswith("--"):
            name, _, _ = option[2:].partition("=")
            dropping = name in MAY_CHANGE
        if not dropping:
            kept.append(option)
    return kept


class _Log(logging.FileHandler):
    """A full disk ends the training here as it would at the next checkpoint."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802
        """Raise what ``logging`` would print, a traceback a line."""
        error = sys.exc_info()[1]
        if isinstance(error, OSError):
            error.filename = self.baseFilename
            raise error
        super().handleError(record)


@contextmanager
def _logging_to(output: Path) -> Iterator[None]:
    """Everything to train.log, one line an epoch to the terminal."""
    formatter = logging.Formatter("%(asctime)s (%(module)s:%(lineno)d) %(levelname)s: %(message)s")
    log = _Log(output / "train.log", encoding="utf-8")
    log.setFormatter(formatter)
    terminal = logging.StreamHandler(sys.stderr)
    terminal.addFilter(_epoch_line)
    root = logging.getLogger()
    before = root.level, root.handlers
    root.setLevel(logging.INFO)
    root.handlers = [log, terminal]
    try:
        yield
    finally:
        root.setLevel(before[0])
        root.handlers = before[1]
        log.close()


def _epoch_line(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    return record.levelno >= logging.ERROR or bool(re.search(r"\depoch (results|started)", message))


def _train(command: list[str], config: dict, output: Path) -> None:
    from distill_asr.espnet.task import DistillTask

    if _wants_statistics(config):
        _collect_stats(command, statistics_file(output).parents[1])
    DistillTask.main(cmd=command)


def _wants_statistics(config: dict) -> bool:
    own = config.get("normalize_conf") or {}
    return config.get("normalize") == "global_mvn" and "stats_file" not in own


def _collect_stats(command: list[str], directory: Path) -> None:
    """ESPnet's statistics pass over audio alone; kept once made."""
    from distill_asr.espnet.task import DistillTask
    from distill_asr.models.students.base import TARGET_PREFIX

    if directory.exists():
        return
    targets = {i for i, value in enumerate(command) if f",{TARGET_PREFIX}" in value}
    kept = [c for i, c in enumerate(command) if i not in targets and i + 1 not in targets]
    # renamed when complete, so that a kill leaves no half statistics
    unfinished = directory.with_name(f"{directory.name}.unfinished")
    options = ["--collect_stats", "true", "--normalize", "none", "--output_dir", str(unfinished)]
    DistillTask.main(cmd=[*kept, *options])
    unfinished.rename(directory)
