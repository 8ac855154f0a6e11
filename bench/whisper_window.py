"""Whisper's encoder on clips alone against its window of 30 s: `window: audio` and the default.

A Whisper of the base shape with random weights reads clips of 1 to 6 s. Both arms take turns;
seconds are of the processor, so that other work on the machine counts less.

    OMP_NUM_THREADS=1 python bench/whisper_window.py
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.teachers import Teacher, TeacherConfig, load_teacher
from distill_asr.teachers.batching import batches_of_audio

LIMIT = 3.0  # the clips' rate over the window's
SHAPE = {
    "d_model": 512, "encoder_layers": 6, "encoder_attention_heads": 8, "encoder_ffn_dim": 2048,
    "decoder_layers": 1, "decoder_attention_heads": 8, "decoder_ffn_dim": 64, "num_mel_bins": 80,
}  # fmt: skip
BATCH_SECONDS = 30.0


def main() -> int:
    """Print both rates and their ratio; 1 where it is under the limit."""
    options = parse()
    rng = np.random.default_rng(0)
    counts = (rng.uniform(*options.seconds, options.clips) * SAMPLE_RATE).astype(int)
    clips = {str(i): rng.normal(0, 0.1, n).astype(np.float32) for i, n in enumerate(counts)}
    spent = {"window": 0.0, "audio": 0.0}
    with tempfile.TemporaryDirectory() as directory:
        teachers = make_teachers(Path(directory), options.layers)
        for turn in range(options.parts + 1):
            for arm, teacher in teachers.items():
                begin = time.process_time()
                run(teacher, clips)
                spent[arm] += time.process_time() - begin if turn else 0.0  # the first warms up
    audio = options.parts * counts.sum() / SAMPLE_RATE
    for arm, seconds in spent.items():
        print(f"{arm:<7}{audio / seconds:7.1f} seconds of audio for one of the processor")
    ratio = spent["window"] / spent["audio"]
    print(f"ratio  {ratio:7.2f}, limit {LIMIT}")
    return int(ratio < LIMIT)


def parse() -> argparse.Namespace:
    """Options; the defaults take about two minutes of one core."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--clips", type=int, default=20)
    parser.add_argument("--seconds", type=float, nargs=2, default=(1.0, 6.0))
    parser.add_argument("--layers", type=int, default=SHAPE["encoder_layers"])
    parser.add_argument("--parts", type=int, default=2, help="turns of each arm")
    return parser.parse_args()


def make_teachers(path: Path, layers: int) -> dict[str, Teacher]:
    """The same random model, with and without its window."""
    import transformers

    torch.manual_seed(0)
    config = transformers.WhisperConfig(**SHAPE | {"encoder_layers": layers})
    transformers.WhisperModel(config).save_pretrained(path)
    transformers.WhisperFeatureExtractor().save_pretrained(path)
    content = {"kind": "speech", "model": str(path), "layers": [layers]}
    content |= {"batch_seconds": BATCH_SECONDS}
    files = {"window": content, "audio": content | {"window": "audio"}}
    return {arm: load_teacher(TeacherConfig.from_mapping(file, arm)) for arm, file in files.items()}


def run(teacher: Teacher, clips: dict[str, np.ndarray]) -> None:
    """All states, in the batches of a dump."""
    sizes = {name: len(clip) for name, clip in clips.items()}
    for names in batches_of_audio(sizes, clips, BATCH_SECONDS):
        teacher.states([clips[name] for name in names])


if __name__ == "__main__":
    sys.exit(main())
