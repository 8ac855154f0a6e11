"""The verb ``targets``: look at what was dumped, check it, compare it.

Legend: S positions, E width.
"""

from __future__ import annotations

import argparse
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from distill_asr.dump.options import add_teacher_arguments
from distill_asr.errors import UserError, named

if TYPE_CHECKING:
    from distill_asr.targets.manifest import Manifest, Settings
    from distill_asr.targets.reader import TargetReader

WORST = 5  # utterances that a comparison names
TINY = 1e-12  # against division by zero


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.description = "TARGETS is dump/<set>/targets/<name>."
    verbs = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
    info = verbs.add_parser("info", help="print what targets hold")
    info.add_argument("targets", nargs="+", metavar="TARGETS", help="directories of targets")
    verify = verbs.add_parser(
        "verify",
        help="check the checksums, all states, and whether audio, text or teacher have changed",
    )
    verify.add_argument("targets", nargs="+", metavar="TARGETS", help="directories of targets")
    verify.add_argument(
        "--data", metavar="DIR", help="data dir of the targets, if they lie elsewhere"
    )
    teacher = verify.add_argument_group(
        "teacher", "given one, it is loaded too, and its weights and settings are compared"
    )
    add_teacher_arguments(teacher)
    compare = verbs.add_parser("compare", help="print the distance between two sets of targets")
    compare.add_argument("a", metavar="A", help="directory of targets")
    compare.add_argument("b", metavar="B", help="directory of targets")
    _add_probe(verbs)


def _add_probe(verbs: Any) -> None:
    probe = verbs.add_parser(
        "probe", help="find the layer of a teacher that predicts transcripts best"
    )
    probe.add_argument(
        "targets", metavar="TARGETS", help="targets of a labelled set, with `combine: stack`"
    )
    probe.add_argument(
        "--dev", required=True, metavar="TARGETS", help="targets of another labelled set"
    )
    probe.add_argument(
        "--output", required=True, metavar="DIR", help="directory for table, picture and record"
    )
    probe.add_argument("--epochs", type=int, default=100, help="epochs of training (%(default)s)")
    probe.add_argument(
        "--learning-rate", type=float, default=0.005, help="learning rate (%(default)s)"
    )
    probe.add_argument(
        "--batch-size", type=int, default=8, help="utterances in a batch (%(default)s)"
    )
    probe.add_argument("--seed", type=int, default=0, help="random seed (%(default)s)")
    probe.add_argument("--text", default="text", help="transcripts in the data dirs (%(default)s)")
    probe.add_argument(
        "--units",
        choices=["characters", "words"],
        default="characters",
        help="units; words: what spaces separate in --text, such as phones (%(default)s)",
    )


def run(args: argparse.Namespace) -> int:
    """Run one action."""
    actions = {
        "info": _run_info,
        "verify": _run_verify,
        "compare": _run_compare,
        "probe": _run_probe,
    }
    return actions[args.action](args)


def _run_info(args: argparse.Namespace) -> int:
    described, problems = [], []
    for directory in map(Path, args.targets):
        try:
            described.append("\n".join([str(directory), *_described(directory)]))
        except UserError as error:
            problems += error.problems
    if described:
        print("\n\n".join(described))
    if problems:
        raise UserError(problems)
    return 0


def _described(directory: Path) -> list[str]:
    from distill_asr.targets.manifest import Manifest

    manifest = Manifest.load(directory)
    arks = sum(shard.bytes for shard in manifest.shards)
    others = sum(path.stat().st_size for path in directory.iterdir() if path.is_file()) - arks
    combined = f", {manifest.combine}" if manifest.combine else ""
    rows = {
        "teacher": f"{manifest.model} ({manifest.kind}), weights {manifest.weights_sha256[:12]}",
        "layers": f"{', '.join(map(str, manifest.layers)) or '-'}{combined}, {manifest.dtype}",
        "codec": _codec(directory, manifest),
        "step": f"{manifest.step_ms:g} ms" if manifest.step_ms else "a token",
        "width": str(manifest.width),
        "utterances": str(manifest.source.utterances),
        "frames": f"{manifest.frames}{_hours(manifest)}",
        "disk": f"{_megabytes(arks)} in {len(manifest.shards)} ark(s), "
        f"{arks / manifest.frames:.1f} bytes a frame; {_megabytes(others)} beside them",
    }
    return [f"  {name:<12}{value}" for name, value in rows.items()]


def _hours(manifest: Manifest) -> str:
    if manifest.step_ms is None:
        return ""
    return f", {manifest.frames * manifest.step_ms / 3.6e6:.2f} h"


def _codec(directory: Path, manifest: Manifest) -> str:
    from distill_asr.targets.codecs import build_codec
    from distill_asr.targets.quantizer import describe_codebooks

    codec = build_codec(manifest.codec, directory)
    if codec.codebooks is None:
        return codec.name
    return f"{codec.name}, {describe_codebooks(codec.codebooks)}"


def _megabytes(count: int) -> str:
    return f"{count / 1e6:.2f} MB"


# -- verify --------------------------------------------------------------------------


def _run_verify(args: argparse.Namespace) -> int:
    if args.data and len(args.targets) > 1:
        raise UserError("--data: names one data dir, but several targets are given; one at a time")
    given = args.teacher or args.overrides
    settings = _settings_of(args.teacher, args.overrides) if given else None
    problems: list[str] = []
    for directory in map(Path, args.targets):
        data = Path(args.data) if args.data else directory.absolute().parents[1]
        found = _problems(directory, data, settings)
        print(f"{directory}: {'good' if not found else f'{len(found)} problem(s)'}")
        problems += found
    if problems:
        raise UserError(problems)
    return 0


def _settings_of(paths: list[str], overrides: list[str]) -> Settings:
    from distill_asr.teachers import TeacherConfig, load_teacher

    config = TeacherConfig.read(paths, overrides)
    return config.settings(load_teacher(config).fingerprint)


def _problems(directory: Path, data: Path, settings: Settings | None) -> list[str]:
    from distill_asr.data.datadir import DataDir
    from distill_asr.targets.codecs import SHA256
    from distill_asr.targets.manifest import Manifest
    from distill_asr.targets.verify import check_states, check_targets

    try:
        data_dir, manifest = DataDir.read(data), Manifest.load(directory)
    except UserError as error:
        return error.problems
    if settings is not None and SHA256 in manifest.codec:
        # a teacher's file holds how its codebooks are trained, not the result
        settings = replace(settings, codec={**settings.codec, SHA256: manifest.codec[SHA256]})
    problems = check_targets(directory, data_dir, settings, reread=True)
    return problems or check_states(directory, data_dir)


# -- compare -------------------------------------------------------------------------


@dataclass(frozen=True)
class Difference:
    """How far B is from A in one utterance, in dimensions standardised by A's statistics."""

    utterance: str
    error: float  # |b - a| / |a - mean|, over the whole utterance
    cosine: float  # mean over positions of the cosine of a - mean and b - mean


def _run_compare(args: argparse.Namespace) -> int:
    from distill_asr.targets.reader import TargetReader

    a, b = TargetReader(args.a), TargetReader(args.b)
    print(f"A  {args.a}\nB  {args.b}\n" + "\n".join(_compared(a, b)))
    return 0


def _compared(a: TargetReader, b: TargetReader) -> list[str]:
    from distill_asr.errors import named
    from distill_asr.io.progress import Bar
    from distill_asr.targets.manifest import pooled_statistics

    common = sorted(set(a) & set(b))
    if problems := _incomparable(a, b, common):
        raise UserError(problems)
    mean, std = pooled_statistics(a.manifests)
    only = [(name, set(x) - set(y)) for name, x, y in (("A", a, b), ("B", b, a))]
    lines = [f"  only in {name}: {named(ids)}" for name, ids in only if ids]
    lines = [f"{len(common)} utterances in both" + ("" if lines else ", none in one only"), *lines]
    found, lengths = [], []
    for utterance in Bar(common, "comparing", leave=False, delay=2):
        one, other = ((x[utterance] - mean) / std for x in (a, b))
        if len(one) != len(other):
            lengths.append(utterance)
        else:
            found.append(_difference(utterance, one, other))
    if lengths:
        lines.append(f"  of different length, not compared: {named(lengths)}")
    if found:
        lines += _summary(found)
    bytes_a, bytes_b = (sum(s.bytes for s in x.manifests[0].shards) for x in (a, b))
    ratio = f"{bytes_a / bytes_b:.1f} times smaller" if bytes_b < bytes_a else "not smaller"
    return [*lines, f"arks: A {_megabytes(bytes_a)}, B {_megabytes(bytes_b)}: B is {ratio}"]


def _incomparable(a: TargetReader, b: TargetReader, common: list[str]) -> list[str]:
    problems = []
    for what, x, y in (
        ("width", a.width, b.width),
        ("step", a.manifests[0].step_ms, b.manifests[0].step_ms),
    ):
        if x != y:
            problems.append(
                f"{b.paths[0]}: {what} {y}, but {a.paths[0]} has {x}; nothing to compare"
            )
    if not common:
        problems.append(
            f"{b.paths[0]}: no utterance in common with {a.paths[0]}; compare targets of one set"
        )
    return problems


def _difference(utterance: str, a: np.ndarray, b: np.ndarray) -> Difference:
    error = np.linalg.norm(b - a) / (np.linalg.norm(a) + TINY)
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1) + TINY
    return Difference(utterance, float(error), float(((a * b).sum(axis=1) / norms).mean()))


def _summary(found: list[Difference]) -> list[str]:
    errors, cosines = (np.array([getattr(d, n) for d in found]) for n in ("error", "cosine"))
    middle, high = np.quantile(errors, [0.5, 0.95])
    worst = sorted(found, key=lambda d: (-d.error, d.utterance))[:WORST]
    return [
        f"relative error: median {middle:.4g}, 95 % below {high:.4g}, largest {errors.max():.4g}",
        f"cosine: mean {cosines.mean():.4f}, smallest {cosines.min():.4f}",
        "  worst: " + ", ".join(f"{d.utterance} {d.error:.4g}" for d in worst),
    ]


# -- probe ---------------------------------------------------------------------------


def _run_probe(args: argparse.Namespace) -> int:
    from distill_asr.dump.probe import (
        PICTURE,
        PROBE_TABLE,
        Probe,
        ProbeOptions,
        ProbeSet,
        probe_layers,
        save_picture,
        table,
    )
    from distill_asr.io.files import write_text_atomic
    from distill_asr.io.locks import locked

    options = ProbeOptions(
        args.epochs, args.learning_rate, args.batch_size, args.seed, args.units, args.text
    )
    problems, sets, output = options.problems(), [], Path(args.output)
    for directory in (args.targets, args.dev):
        try:
            sets.append(ProbeSet.read(Path(directory), options.text))
        except UserError as error:
            problems += error.problems
    if problems:
        raise UserError(problems)
    probe = Probe(sets[0], sets[1], options)
    if lost := probe.too_long():
        print(
            f"warning: {args.targets}: {named(lost)} with more {options.units} than positions; "
            "nothing is learnt from them",
            file=sys.stderr,
        )
    with locked(output, f"probing {args.targets}"):
        results = probe_layers(probe, output)
        written = table(results, options.units)
        write_text_atomic(output / PROBE_TABLE, written)
        save_picture(output / PICTURE, results, Path(args.targets).name)
    print(written, end="")
    return 0
