"""``distill-asr export``: writes a student for the machine where it runs."""

from __future__ import annotations

import argparse
import importlib.util
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError
from distill_asr.experiments.layout import AVERAGED, Experiment

if TYPE_CHECKING:
    from distill_asr.experiments.export.kinds import WantedExport

_TARGETS = ("espnet", "onnx", "sherpa")
_RECORDINGS = 5


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Arguments of ``distill-asr export``."""
    parser.add_argument("--exp", required=True, help="experiment directory")
    parser.add_argument(
        "--to",
        choices=_TARGETS,
        default=_TARGETS[0],
        help="kind of export (%(default)s); espnet: a directory of stock ESPnet (CTC students); "
        "sherpa: models for sherpa-onnx; onnx: the same for ONNX Runtime, with any "
        "settings of kaldi_fbank",
    )
    parser.add_argument("--output", required=True, help="directory to write")
    parser.add_argument("--checkpoint", default=AVERAGED, help="weights file (%(default)s)")
    parser.add_argument(
        "--pack", type=Path, metavar="FILE.zip",
        help="zip file to write too, for Speech2Text.from_pretrained (--to espnet)",
    )  # fmt: skip
    group = parser.add_argument_group("onnx and sherpa")
    group.add_argument(
        "--streaming", action="store_true", help="export a streaming model of encoder chunked"
    )
    group.add_argument(
        "--chunk-size", type=int, metavar="FRAMES",
        help="frames of a chunk of encoder chunked; 0: full context; default: as in training",
    )  # fmt: skip
    group.add_argument(
        "--left-frames",
        type=int,
        metavar="FRAMES",
        help="frames of left context of encoder chunked",
    )
    group.add_argument(
        "--quantize", nargs="+", choices=["int8", "fp16"], default=[],
        help="write smaller models too; int8 is also faster",
    )  # fmt: skip
    group.add_argument(
        "--wavs", metavar="DIR",
        help="prepared dir whose first utterances become test_wavs; default: the validation set",
    )  # fmt: skip
    group.add_argument(
        "--num-wavs",
        type=int,
        default=_RECORDINGS,
        help="number of recordings in test_wavs (%(default)s)",
    )
    group.add_argument(
        "--licence", action="append", default=[], metavar="TEXT",
        help="licence of data or of a teacher, for the model card; may be repeated",
    )  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Export a student.

    Raises
    ------
    UserError : the output exists already; a package is missing; options that do not go together; a
        student that cannot be exported in this form.
    """
    import distill_asr.espnet  # noqa: F401  first: no other import of ESPnet is as quick
    from distill_asr.experiments.export.directory import refuse_existing

    refuse_existing(Path(args.output))
    if args.to == "espnet":
        return _to_espnet(args)
    if args.pack:
        raise UserError(f"--pack: goes with --to espnet, not {args.to}")
    _require_packages(args.to)
    from distill_asr.experiments.export.product import Order, export_product

    order = Order(
        experiment=Path(args.exp),
        output=Path(args.output),
        checkpoint=args.checkpoint,
        wanted=_wanted(args),
        wavs=_recordings(args),
        quantize=list(dict.fromkeys(args.quantize)),
        command=shlex.join(["distill-asr", *sys.argv[1:]]),
        licences=args.licence,
    )
    made = export_product(order)
    print(f"{args.output}: {len(made.expected)} recordings have the same words in PyTorch, "
          f"{', '.join(made.ran)}")  # fmt: skip
    for small, count in made.differing.items():
        print(f"{args.output}: {small}: {count} of {len(made.expected)} recordings differ")
    return 0


def _to_espnet(args: argparse.Namespace) -> int:
    from distill_asr.experiments.export.espnet_model import export_model
    from distill_asr.experiments.export.espnet_zip import check_archive

    given = [
        option
        for option, value in (
            ("--streaming", args.streaming),
            ("--chunk-size", args.chunk_size is not None),
            ("--left-frames", args.left_frames is not None),
            ("--quantize", args.quantize),
        )
        if value
    ]
    if given:
        raise UserError([f"{option}: goes with --to onnx or sherpa" for option in given])
    if args.pack:
        check_archive(args.pack)
    config, weights = export_model(args.exp, args.output, args.checkpoint, args.pack)
    print(f"{config}\n{weights}")
    if args.pack:
        print(args.pack)
    return 0


def _require_packages(target: str) -> None:
    missing = [name for name in ("onnx", "onnxruntime") if not importlib.util.find_spec(name)]
    if missing:
        raise UserError(
            f"--to {target}: {', '.join(missing)} not installed; pip install 'distill_asr[export]'"
        )


def _wanted(args: argparse.Namespace) -> WantedExport:
    from distill_asr.experiments.export.kinds import WantedExport

    return WantedExport(
        args.streaming, args.chunk_size, args.left_frames, sherpa=args.to == "sherpa"
    )


def _recordings(args: argparse.Namespace) -> dict[str, str]:
    """Audio by utterance.

    Raises
    ------
    UserError : it does not exist.
    """
    from distill_asr.data.datadir import DataDir

    if args.num_wavs < 1:
        raise UserError(f"--num-wavs {args.num_wavs}: expected at least 1, to try the export on")
    if args.wavs:
        wav = DataDir.read(args.wavs).wav
    elif not Experiment(Path(args.exp)).config.is_file():
        return {}  # no experiment, which whoever loads the student reports
    else:
        table = Experiment(Path(args.exp)).inputs / "valid" / "wav.scp"
        if not table.is_file():
            raise UserError(f"{table}: no such file; give audio to try the export on by --wavs DIR")
        lines = table.read_text(encoding="utf-8").splitlines()
        wav = dict(line.split(maxsplit=1) for line in lines if line.strip())
    return dict(sorted(wav.items())[: args.num_wavs])
