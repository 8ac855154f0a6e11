"""Dump and train with two checkouts from the same inputs, and say whether the numbers are equal.

Made are a tiny data dir, a speech and a text teacher; dumped with codecs fp16 and mvq, and text;
trained are an encoder without transcripts (stage 1), a recogniser that starts from it (stage 2),
and a CIF student of the text teacher. Targets are compared byte by byte, weights bit by bit. It
takes about five minutes of one core.

    python tools/compare_versions.py BEFORE AFTER [--keep DIRECTORY]
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

INPUTS = """
import sys, yaml
from pathlib import Path
from distill_asr.testing.fixtures import make_prepared_dir, tiny_config, tiny_speech_teacher
from distill_asr.testing.fixtures import write_tokens
from distill_asr.testing.text_models import save_text_model

root = Path(sys.argv[1])
for name, utterances, seed in (("train", 12, 0), ("dev", 4, 1)):
    make_prepared_dir(root / "dump" / name, utterances, seed=seed)
write_tokens(root / "tokens.txt")
hubert = {"kind": "speech", "model": str(tiny_speech_teacher(root / "hubert")), "layers": [1, 2]}
hubert["combine"] = "mean"
bert = {"kind": "text", "model": str(save_text_model(root / "bert")), "layers": [2]}
mvq = {"name": "mvq", "codebooks": 4, "sample_frames": 200, "steps": 20}
frame = {"tap": "encoder", "loss": "l1_cosine", "weight": 1.0}
configs = {
    "fp16": hubert | {"codec": {"name": "fp16"}},
    "mvq": hubert | {"codec": mvq},
    "text": bert,
    "stage1": tiny_config("encoder_only", distill={
        "vectors": frame | {"teacher": "fp16"}, "codes": frame | {"teacher": "mvq", "loss": "l1"}}),
    "stage2": tiny_config("transducer", root / "tokens.txt", {
        "vectors": frame | {"teacher": "fp16", "tap": "encoder:1"}}),
    "cif": tiny_config("cif", root / "tokens.txt", {
        "acoustic": {"teacher": "text", "tap": "cif", "match": "token", "loss": "contrastive",
                     "match_conf": {"tokenizer": str(root / "bert")}},
    }),
}
for name, content in configs.items():
    if "optim" in content:
        content["max_epoch"] = 2
    (root / f"{name}.yaml").write_text(yaml.safe_dump(content, sort_keys=False))
"""
COMPARE = """
import sys
from pathlib import Path
import torch

before, after = (Path(path) for path in sys.argv[1:])
for path in sorted(before.glob("exp/*/valid.loss.ave*.pth")):
    place = path.relative_to(before)
    if not (after / place).exists():
        print(f"MISSING {place}")
        continue
    a, b = (torch.load(root / place, weights_only=True) for root in (before, after))
    same = a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)
    print(f"{'equal' if same else 'DIFFERENT'} {place}: {len(a)} tensors")
"""
DUMPED = ("fp16", "mvq", "text")
TRAINED = ("stage1", "stage2", "cif")
IGNORED = "checksums.sha256"  # and hidden files: about the dumped ones, and not in each version


def main(argv: list[str]) -> int:
    """Print a line for each file; 0 where all are equal."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--keep", type=Path, help="work here, and leave all files")
    args = parser.parse_args(argv)
    root = (args.keep or Path(tempfile.mkdtemp(prefix="compare-"))).resolve()
    try:
        return _compare(args.before.resolve(), args.after.resolve(), root)
    finally:
        if args.keep is None:
            shutil.rmtree(root)


def _compare(before: Path, after: Path, root: Path) -> int:
    run = root / "run"  # the same path for both, so that no path can make a difference
    for name, checkout in (("before", before), ("after", after)):
        shutil.rmtree(run, ignore_errors=True)
        shutil.rmtree(root / name, ignore_errors=True)
        # inputs are made anew by the first one's fixtures, since commands write beside them
        _python(before, run, "-c", INPUTS, str(run))
        _work(checkout, run)
        run.rename(root / name)
    lines = _targets(root / "before", root / "after")
    lines += _python(
        after, root, "-c", COMPARE, str(root / "before"), str(root / "after")
    ).splitlines()
    print("\n".join(lines))
    equal = [line for line in lines if line.startswith("equal")]
    print(f"{len(equal)} of {len(lines)} equal: {before} and {after}")
    return 0 if len(equal) == len(lines) else 1


def _work(checkout: Path, run: Path) -> None:
    """Everything that a version computes."""
    train, dev = "dump/train", "dump/dev"
    for name in DUMPED:
        command = ["dump", train, dev, "--teacher", f"{name}.yaml", "--shard-utts", "5"]
        _python(checkout, run, "-m", "distill_asr", *command)
    for name in TRAINED:
        init = ["--init", "exp/stage1"] if name == "stage2" else []
        command = ["train", "--config", f"{name}.yaml", "--train", train, "--valid", dev]
        _python(checkout, run, "-m", "distill_asr", *command, "--output", f"exp/{name}", *init)


def _python(checkout: Path, directory: Path, *arguments: str) -> str:
    """Run Python on a checkout; what it prints. Ends the comparison where it fails."""
    directory.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=directory, env=environment, capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        words = " ".join(arguments[1:]) if arguments[0] == "-m" else "a step of the comparison"
        sys.exit(f"{checkout}: {words}: exit code {done.returncode}\n{done.stderr[-3000:]}")
    return done.stdout


def _targets(before: Path, after: Path) -> list[str]:
    """Compare every dumped file."""
    found = [
        {
            path.relative_to(root): path
            for path in sorted(root.glob("dump/**/*"))
            if path.is_file() and {"targets", "codebooks"} & set(path.parts)
            and path.name != IGNORED
            and not path.name.startswith(".")
        }
        for root in (before, after)
    ]  # fmt: skip
    lines = []
    for place in sorted(found[0].keys() | found[1].keys()):
        if any(place not in files for files in found):
            lines.append(f"MISSING {place}: in one of them only")
            continue
        one, other = (files[place].read_bytes() for files in found)
        lines.append(f"{'equal' if one == other else 'DIFFERENT'} {place}: {len(one)} bytes")
    return lines


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
