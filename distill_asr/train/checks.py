"""Checks a whole training config before any data is touched; the verb ``validate``."""

from __future__ import annotations

import argparse
import dataclasses
import inspect
from pathlib import Path

from distill_asr.data.pieces import KIND as PIECES
from distill_asr.errors import UserError, nearest
from distill_asr.io.yaml import load_config
from distill_asr.train.requirements import teachers_of

# arguments that ESPnet's builder gives; a config that gives them too would clash
BUILDER_GIVES = {
    "encoder": {"input_size"},
    "postencoder": {"input_size"},
    "decoder": {"vocab_size", "encoder_output_size", "embed_pad"},
    "model": {
        "vocab_size", "token_list", "frontend", "specaug", "normalize", "preencoder", "encoder",
        "postencoder", "decoder", "ctc", "joint_network", "joint_net_conf",
    },
    "preprocessor": {
        "train", "token_type", "token_list", "bpemodel", "non_linguistic_symbols", "text_cleaner",
        "g2p_type", "rir_scp", "rir_apply_prob", "noise_scp", "noise_apply_prob",
        "noise_db_range", "short_noise_thres", "speech_volume_normalize", "aux_task_names",
        "use_lang_prompt", "use_nlp_prompt",
    },
}  # fmt: skip
WITHOUT_TEXT = {"encoder_only"}
POSTERIOR_TAPS = {"path": "logits", "ctc": "ctc"}  # by matcher
MATCHERS_THAT_AVERAGE = {"shrink", "token"}  # or interpolate
RETIMING_EFFECTS = {"speed_perturb", "time_stretch", "reverse"}  # of ESPnet's preprocessor


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr validate``."""
    parser.add_argument("configs", nargs="+", help="training YAMLs")
    parser.add_argument("--set", action="append", default=[], metavar="KEY.PATH=VALUE")
    parser.add_argument(
        "--teachers",
        action="store_true",
        help="instead, print whose targets they learn from, a name a line",
    )


def run(args: argparse.Namespace) -> int:
    """Check each file; all mistakes of all files in one report."""
    if args.teachers:
        found = {name for path in args.configs for name in teachers_of(load_config(path, args.set))}
        print(*sorted(found), sep="\n")
        return 0
    problems = []
    for path in args.configs:
        try:
            check_config(load_config(path, args.set), path)
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    print(f"{len(args.configs)} config(s) valid")
    return 0


def check_config(config: dict, path: str | Path) -> None:
    """Check keys, types, class names, their arguments, and what must fit together.

    Raises
    ------
    UserError : every mistake, with the key, what was given and what is allowed.
    """
    from distill_asr.espnet.task import DistillTask
    from distill_asr.io.arguments import check_top_level

    problems = check_top_level(config, DistillTask.get_parser())
    problems += _check_classes(config)
    problems += _check_student(config)
    if not problems:  # only then can the student be built, and its taps be known
        problems += _check_built(config)
    problems += _check_distill(config)
    if problems:
        raise UserError([f"{path}: {problem}" for problem in problems])


def _check_classes(config: dict) -> list[str]:
    """Every registered choice, with the arguments of its ``_conf``."""
    from espnet2.asr.ctc import CTC
    from espnet2.tasks.abs_task import optim_classes, scheduler_classes

    from distill_asr.espnet.plugin import STUDENTS
    from distill_asr.espnet.task import DistillTask
    from distill_asr.io.arguments import check_arguments, check_choice, check_joint_network

    problems = []
    registries = {c.name: (c.classes, c.default) for c in DistillTask.class_choices_list}
    registries |= {"optim": (optim_classes, "adadelta"), "scheduler": (scheduler_classes, None)}
    registries["model"] = (STUDENTS, None)
    config = _with_statistics(config)
    for name, (classes, default) in registries.items():
        given = BUILDER_GIVES.get(name, {"params", "optimizer"})
        problems += check_choice(config, name, classes, default, given)
    problems += check_arguments(
        "ctc_conf", config.get("ctc_conf"), CTC, {"odim", "encoder_output_size"}
    )
    return problems + check_joint_network(config.get("joint_net_conf"))


def _with_statistics(config: dict) -> dict:
    """The statistics that ``distill-asr train`` makes, so that the check does not miss them."""
    conf = config.get("normalize_conf") or {}
    if config.get("normalize") != "global_mvn" or not isinstance(conf, dict):
        return config
    return {**config, "normalize_conf": {"stats_file": "feats_stats.npz", **conf}}


def _check_distill(config: dict) -> list[str]:
    """The blocks of ``distill:``."""
    from distill_asr.models.students.base import PICKS

    blocks = config.get("distill") or {}
    if not isinstance(blocks, dict):
        return [f"distill: expected named blocks, found {blocks!r}"]
    problems = []
    if blocks.get("pick", "all") not in PICKS:
        problems.append(f"distill.pick: {blocks['pick']!r}{nearest(blocks['pick'], PICKS)}")
    for name, block in blocks.items():
        if name != "pick" and block is not None:
            problems += _check_block(f"distill.{name}", block)
    return problems


def _check_block(key: str, block: object) -> list[str]:
    from distill_asr.distill.build import REGISTRIES, find_class, head_name
    from distill_asr.distill.distiller import MISSING, REDUCTIONS, DistillerOptions
    from distill_asr.io.arguments import check_arguments

    if not isinstance(block, dict):
        return [f"{key}: expected teacher, tap, loss ..., found {block!r}"]
    problems = check_arguments(key, block, DistillerOptions, set())
    for option, allowed in (("reduce", REDUCTIONS), ("missing", MISSING)):
        if option in block and block[option] not in allowed:
            problems.append(f"{key}.{option}: {block[option]!r}{nearest(block[option], allowed)}")
    problems += _check_online(key, block)
    defaults = {f.name: f.default for f in dataclasses.fields(DistillerOptions)}
    chosen: dict[str, type] = {"loss": object, "match": object}
    for kind, registry in REGISTRIES.items():
        name = block.get(kind, defaults[kind])
        if kind == "head" and name is None:
            name = head_name(name, chosen["match"], chosen["loss"])
        if not isinstance(name, str):
            continue  # reported as missing or of a wrong type above
        try:
            found = find_class(kind, name)
        except KeyError:
            problems.append(f"{key}.{kind}: unknown {name!r}{nearest(name, registry)}")
            continue
        except Exception as error:  # whatever the import of a user's own file brings up
            reason = f"{type(error).__name__}: {error}"
            problems.append(f"{key}.{kind}: {name!r} cannot be imported ({reason})")
            continue
        if not inspect.isclass(found):
            problems.append(f"{key}.{kind}: {name!r} is no class")
            continue
        chosen[kind] = found
        if kind == "loss":
            problems += _check_reading(key, block, found)
            problems += _check_posteriors(key, block, found)
        hidden = {"input_size", "output_size"} if kind == "head" else set()
        conf = block.get(f"{kind}_conf")
        problems += check_arguments(f"{key}.{kind}_conf", conf, found, hidden, construct=not hidden)
    return problems + _check_tokens(key, block, chosen["match"])


def _check_tokens(key: str, block: dict, matcher: type) -> list[str]:
    """A loss that compares the tokens of pairs needs a matcher that tells them."""
    conf = block.get("loss_conf")
    if not isinstance(conf, dict) or not conf.get("mask_same_token"):
        return []
    if getattr(matcher, "tells_tokens", False):
        return []
    return [
        f"{key}.loss_conf.mask_same_token: `match: {block.get('match', 'frame')}` does not tell "
        "the token of a pair; use `match: token`, or leave it out"
    ]


def _check_online(key: str, block: dict) -> list[str]:
    """A teacher that runs in the training step: its file."""
    from distill_asr.teachers.online import is_online, read_online

    if not is_online(block.get("teacher")):
        return []
    problems = []
    try:
        read_online(block["teacher"])
    except UserError as error:
        problems += [f"{key}.teacher: {problem}" for problem in error.problems]
    if block.get("missing") == "skip":
        problems.append(
            f"{key}.missing: an online teacher hears every utterance; remove `missing: skip`"
        )
    return problems


def _check_reading(key: str, block: dict, loss: type) -> list[str]:
    """A loss on codes: they can be joined, but not averaged."""
    from distill_asr.distill.distiller import CODES, reads
    from distill_asr.teachers.online import is_online

    if reads(loss) != CODES:
        return []
    problems = []
    match, conf = block.get("match", "frame"), block.get("match_conf") or {}
    averages = isinstance(conf, dict) and conf.get("reduction") == "average"
    if match in MATCHERS_THAT_AVERAGE or (match == "frame" and averages):
        problems.append(
            f"{key}.match: {match!r} averages teacher positions, and codes have no average; "
            "use `match: frame` with `reduction: concat`"
        )
    if is_online(block.get("teacher")):
        problems.append(
            f"{key}.loss: reads codes, which an online teacher does not give; dump it with "
            "`codec: {name: mvq}`, or choose a loss on vectors"
        )
    return problems


def _check_posteriors(key: str, block: dict, loss: type) -> list[str]:
    """Losses on posteriors, and the matchers and taps that give some, need each other."""
    from distill_asr.distill.distiller import POSTERIORS, reads

    match, tap = str(block.get("match", "frame")), block.get("tap")
    reading = reads(loss) == POSTERIORS
    problems = []
    if reading and "." not in match and match not in POSTERIOR_TAPS:
        allowed = ", ".join(f"{m} with tap {t}" for m, t in POSTERIOR_TAPS.items())
        problems.append(f"{key}.match: {match!r} pairs states, this loss posteriors; use {allowed}")
    if not reading and match in POSTERIOR_TAPS:
        problems.append(
            f"{key}.loss: {block.get('loss')!r} reads states, {match!r} pairs posteriors; use kl"
        )
    if tap != (needed := POSTERIOR_TAPS.get(match, tap)):
        problems.append(f"{key}.tap: {tap!r}, but match {match!r} pairs {needed!r}")
    if tap == "logits" and match == "frame":
        problems.append(f"{key}.match: a transducer's logits have no frames alone; use path")
    if reading and block.get("head") not in (None, "identity"):
        problems.append(f"{key}.head: {block['head']!r}: posteriors have no head; remove it")
    return problems


def _check_student(config: dict) -> list[str]:
    """What must fit together."""
    from distill_asr.espnet.plugin import PREDICTORS, STUDENTS

    problems = []
    model, decoder = config.get("model"), config.get("decoder")
    if model is None:
        problems.append(f"model: missing{nearest(model, STUDENTS)}")
    predictor = isinstance(decoder, str) and decoder in PREDICTORS
    if model == "transducer" and not predictor:
        problems.append(
            f"decoder: a transducer needs a predictor, found {decoder!r}"
            f"{nearest(decoder, PREDICTORS)}"
        )
    if model == "ctc" and predictor:
        problems.append(f"decoder: {decoder!r} is a predictor; use model: transducer")
    without_text = isinstance(model, str) and model in WITHOUT_TEXT
    if not without_text and not config.get("token_list"):
        problems.append("token_list: missing; `distill-asr prepare --token-list` writes one")
    if not without_text and config.get("token_type") == PIECES and not config.get("bpemodel"):
        problems.append(
            f"bpemodel: missing; token_type {PIECES} needs a text model's hub id or directory"
        )
    blocks = _blocks(config)
    if without_text and not blocks:
        problems.append("distill: model encoder_only learns from distillers alone; name one")
    return problems + (_check_timing(config) if blocks else [])


def _check_timing(config: dict) -> list[str]:
    """Targets are tied to the audio's timing; what changes it has no place beside distillers."""
    from distill_asr.teachers.online import is_online

    dumped = [b for b in _blocks(config).values() if not is_online(b.get("teacher"))]
    problems = [
        f"preprocessor_conf.data_aug_effects: {effect}: moves the audio against the targets"
        for effect in (_retiming(config.get("preprocessor_conf")) if dumped else [])
    ]
    specaug = config.get("specaug_conf")
    warps = isinstance(specaug or {}, dict) and (specaug or {}).get("apply_time_warp", True)
    if config.get("specaug") == "specaug" and warps:
        problems.append(
            "specaug_conf.apply_time_warp: moves frames against the targets; set it to false"
        )
    encoder = config.get("encoder_conf")
    for key in ("layer_drop_rate", "stochastic_depth_rate"):
        if isinstance(encoder, dict) and encoder.get(key) and _layer_taps(config):
            problems.append(
                f"encoder_conf.{key}: a dropped layer gives {_layer_taps(config)} nothing"
            )
    return problems


def _layer_taps(config: dict) -> str:
    taps = {str(block.get("tap")) for block in _blocks(config).values()}
    return ", ".join(sorted(tap for tap in taps if tap.startswith("encoder:")))


def _retiming(block: object) -> list[str]:
    """Effects that change the timing, in whatever depth of ESPnet's nested lists."""
    if isinstance(block, dict):
        block = block.get("data_aug_effects")
    if isinstance(block, list):
        return [effect for part in block for effect in _retiming(part)]
    return [block] if isinstance(block, str) and block in RETIMING_EFFECTS else []


def _check_built(config: dict) -> list[str]:
    """Build the student, so that its classes can object, and ask it for its taps."""
    from distill_asr.espnet.task import build_untrained
    from distill_asr.models.encoders.hf_speech import without_weights

    tapped = {name: block["tap"] for name, block in _blocks(config).items() if "tap" in block}
    plain = {**config, "distill": {}, "normalize": None}  # statistics may not be measured yet
    try:
        with without_weights():
            student = build_untrained(plain)
    except Exception as error:  # the class's own complaint about its arguments
        return [f"the student cannot be built: {type(error).__name__}: {error}"]
    taps = student.tap_names()
    return _check_learning_rates(config, student) + [
        f"distill.{name}.tap: this student has no {tap!r}{nearest(tap, taps)}"
        for name, tap in tapped.items()
        if tap not in taps
    ]


def _check_learning_rates(config: dict, student: object) -> list[str]:
    """Parts that the student has, and a scheduler that leaves them their own rates."""
    import torch

    from distill_asr.espnet.learning_rates import parameter_groups, scheduler_keeps_them

    rates, scheduler = config.get("learning_rates") or {}, config.get("scheduler")
    try:
        groups = parameter_groups(student, rates)
    except ValueError as error:
        return [f"learning_rates.{error}"]
    if not rates or not scheduler:
        return []
    common = (config.get("optim_conf") or {}).get("lr", 1.0)  # any that is not the parts'
    try:
        optimizer = torch.optim.SGD(groups, lr=common)
        kept = scheduler_keeps_them(optimizer, scheduler, config.get("scheduler_conf") or {})
    except (TypeError, ValueError, AssertionError, KeyError) as error:
        return [f"scheduler_conf: {scheduler}: {type(error).__name__}: {error}"]
    if kept:
        return []
    return [
        f"learning_rates: scheduler {scheduler} gives all parts the same rate, so these would have "
        "no effect; take one that scales each, such as warmuplr or tristagelr"
    ]


def _blocks(config: dict) -> dict[str, dict]:
    """Distiller blocks that are mappings; others are reported by ``_check_distill``."""
    blocks = config.get("distill")
    return (
        {k: v for k, v in blocks.items() if k != "pick" and isinstance(v, dict)}
        if isinstance(blocks, dict)
        else {}
    )
