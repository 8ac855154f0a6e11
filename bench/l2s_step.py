"""One training step of Distill-L2S: targets from disk against the text teacher in the step.

The student is a wav2vec 2.0 encoder with CTC and shrink matching, the teacher an XLM-R masked
language model, both with random weights in the proportions of the paper (XLSR-53 large, 24 layers
of 1024; InfoXLM base, 12 layers of 768 and 250,002 pieces). By default all widths and depths are a
quarter, the pieces a sixteenth and the convolutions an eighth, which keeps the parts' shares of
the arithmetic; ``--full`` takes the true shapes. Batches, audio lengths and sentences are the
same in all arms, which take turns in one process:

disk        ours: float16 targets read through the training loader
recomputed  the same step, with the frozen teacher's forward pass at the batch's own length
published   as the published code does: teacher in training mode at 200 positions, head over all
            pieces included, its encoder in the backward pass and the optimiser, and the units of
            speech found by reading the CTC path one symbol at a time
padded      published, and all audio padded to the limit of 10 s

    OMP_NUM_THREADS=1 python bench/l2s_step.py
    python bench/l2s_step.py --full --batch 12 --device cuda
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from step_overhead import endless
from torch import Tensor, nn
from tqdm import tqdm

from distill_asr.data.datadir import DataDir
from distill_asr.data.tokens import write_token_list
from distill_asr.distill.contracts import Matcher
from distill_asr.distill.states import Context, Pairs, States
from distill_asr.experiments.layout import Experiment
from distill_asr.io.yaml import load_yaml
from distill_asr.models.students.base import TARGET_PREFIX
from distill_asr.testing.fixtures import make_prepared_dir, write_targets
from distill_asr.train.config import TrainConfig, TrainOptions
from distill_asr.train.training import prepare_training

GOAL = 1.5  # published over disk
ARMS = ("disk", "recomputed", "published", "padded")
LIMIT_SECONDS, LIMIT_PIECES = 10.0, 200  # to which the published code pads
CHARACTERS, PIECES = 14, 4  # a second of read speech
FULL = {"width": 1024, "layers": 24, "conv": 512, "positional": 128,
        "teacher_width": 768, "teacher_layers": 12, "vocabulary": 250_002}  # fmt: skip
QUARTER = {"width": 256, "layers": 6, "conv": 64, "positional": 32,
           "teacher_width": 192, "teacher_layers": 3, "vocabulary": 15_625}  # fmt: skip
HEAD_WIDTH = 64


def main() -> int:
    """Print the median step times and ratios; 1 where the goal is missed."""
    options = parse()
    torch.manual_seed(0)
    shape = FULL if options.full else QUARTER
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        tokens = make_data(root / "train", shape, options)
        config = student_config(shape, tokens, options)
        steps = {arm: Step(arm, config, root, shape, options) for arm in ARMS}
        times = measure(steps, options.repeats, options.device)
    return report(times, shape, options)


def parse() -> argparse.Namespace:
    """Options; the defaults take some five minutes on one core."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--full", action="store_true", help="the true shapes")
    parser.add_argument("--batch", type=int, default=4, help="utterances; published: 12 a device")
    parser.add_argument(
        "--seconds", type=float, nargs=2, default=(2.0, 8.0), help="shortest, longest"
    )
    parser.add_argument("--repeats", type=int, default=8, help="steps of each arm")
    parser.add_argument("--device", default="cpu")
    return parser.parse_args()


def make_data(path: Path, shape: dict[str, int], options: argparse.Namespace) -> Path:
    """A prepared dir with transcripts, and targets of as many positions as pieces."""
    make_prepared_dir(path, 6 * options.batch, tuple(options.seconds))
    data, rng = DataDir.read(path), np.random.default_rng(0)
    text = {}
    for utterance, samples in data.num_samples.items():
        letters = rng.choice(list("etaoinshrdlu   "), round(samples / 16000 * CHARACTERS))
        text[utterance] = "a" + " ".join("".join(letters).split())
    replace(data, text=text).write(path)
    write_targets(path, "text", width=shape["teacher_width"], step_ms=1000 / PIECES,
                  codec={"name": "fp16"}, shard_utts=200)  # fmt: skip
    write_token_list(text.values(), path.parent / "tokens.txt", "char")
    return path.parent / "tokens.txt"


def student_config(shape: dict[str, int], tokens: Path, options: argparse.Namespace) -> dict:
    """The published fine-tuning, as far as it costs time."""
    width, channels = shape["width"], shape["conv"]
    path = tokens.with_name("train.yaml")
    path.write_text(
        f"""
model: ctc
model_conf: {{ctc_weight: 1.0}}
token_type: char
token_list: {tokens}
input_size: 1
normalize: null
encoder: hf_speech
encoder_conf:
  architecture:
    model_type: wav2vec2
    hidden_size: {width}
    num_hidden_layers: {shape["layers"]}
    num_attention_heads: {width // HEAD_WIDTH}
    intermediate_size: {4 * width}
    conv_dim: {[channels] * 7}
    conv_bias: true
    num_conv_pos_embeddings: {shape["positional"]}
    feat_extract_norm: layer
    do_stable_layer_norm: true
    apply_spec_augment: true
  do_normalize: true
  model_conf: {{mask_time_prob: 0.05, hidden_dropout: 0.1, attention_dropout: 0.1}}
distill:
  text: {{teacher: text, tap: encoder, match: shrink, loss: mse, standardise: false}}
optim: adamw
optim_conf: {{lr: 0.00002}}
batch_type: sorted
batch_size: {options.batch}
num_workers: 0
max_epoch: 1
""",
        encoding="utf-8",
    )
    return load_yaml(path)


class Step:
    """One arm's student, built as ``distill-asr train`` builds it; each call is a training step."""

    def __init__(
        self, arm: str, config: dict, root: Path, shape: dict[str, int], options: argparse.Namespace
    ) -> None:
        from espnet2.train.distributed_utils import DistributedOption

        from distill_asr.espnet.task import DistillTask

        data, device = str(root / "train"), options.device
        read = TrainConfig.parse(config, "train.yaml")
        sets = TrainOptions(("train.yaml",), (data,), (data,), Experiment(root / arm))
        args = DistillTask.get_parser().parse_args(prepare_training(read, sets))
        torch.manual_seed(args.seed)
        self.student = DistillTask.build_model(args).train().to(device)
        self.batches = endless(DistillTask.build_iter_factory(args, DistributedOption(), "train"))
        self.device, self.padded = device, arm == "padded"
        self.teacher = None if arm == "disk" else make_teacher(shape).to(device)
        self.published = arm in ("published", "padded")
        parameters = [*self.student.parameters()]
        if self.published:
            self.teacher.train()
            parameters += self.teacher.parameters()
            self.student.distillers["text"].matcher = SymbolBySymbol()
        self.optimiser = torch.optim.AdamW(parameters, lr=args.optim_conf["lr"])

    def __call__(self) -> None:
        utterances, batch = next(self.batches)
        batch = {name: values.to(self.device) for name, values in batch.items()}
        if self.padded:
            batch = to_limit(batch)
        if self.teacher is not None:
            batch[f"{TARGET_PREFIX}text"] = self.taught(batch[f"{TARGET_PREFIX}text_lengths"])
        loss, _, _ = self.student(**batch, utt_id=utterances)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
        self.optimiser.step()
        self.optimiser.zero_grad()

    def taught(self, lengths: Tensor) -> Tensor:
        """The teacher's last layer [B, S, E] on random sentences of these lengths."""
        longest = LIMIT_PIECES if self.published else int(lengths.max())
        size = (len(lengths), longest)
        ids = torch.randint(5, self.teacher.config.vocab_size, size, device=self.device)
        mask = torch.arange(longest, device=self.device) < lengths.unsqueeze(1)
        inputs = {"input_ids": ids, "attention_mask": mask.long()}
        if self.published:
            return self.teacher(**inputs, output_hidden_states=True).hidden_states[-1]
        with torch.no_grad():
            return self.teacher.roberta(**inputs).last_hidden_state


def make_teacher(shape: dict[str, int]) -> nn.Module:
    """An XLM-R masked language model in evaluation mode."""
    import transformers

    width = shape["teacher_width"]
    config = transformers.XLMRobertaConfig(
        vocab_size=shape["vocabulary"],
        hidden_size=width,
        num_hidden_layers=shape["teacher_layers"],
        num_attention_heads=width // HEAD_WIDTH,
        intermediate_size=4 * width,
        max_position_embeddings=514,
    )
    return transformers.XLMRobertaForMaskedLM(config).eval()


def to_limit(batch: dict[str, Any]) -> dict[str, Any]:
    """The batch with its last utterance as long as the limit, so that all are padded to it."""
    samples = int(LIMIT_SECONDS * 16000)
    speech, lengths = batch["speech"], batch["speech_lengths"].clone()
    lengths[-1] = samples
    padding = speech.new_zeros(len(speech), samples - speech.size(1))
    return batch | {"speech": torch.cat([speech, padding], dim=1), "speech_lengths": lengths}


class SymbolBySymbol(Matcher):
    """Shrink matching with a loop over utterances and ``item()`` for every frame's symbol."""

    dropped = (0, 1)

    def forward(self, student: States, teacher: States, context: Context) -> Pairs:
        """Pair as the published code does."""
        path = context.taps["ctc"].values.argmax(dim=-1)
        paired = [self._one(i, student, teacher, path) for i in range(len(path))]
        counts = torch.tensor([len(units) for units, _ in paired], device=path.device)
        utterance = torch.arange(len(path), device=path.device).repeat_interleave(counts)
        return Pairs(*(torch.cat(side) for side in zip(*paired, strict=True)), utterance)

    def _one(self, i: int, student: States, teacher: States, path: Tensor) -> tuple[Tensor, Tensor]:
        frames, positions = student.lengths[i].item(), teacher.lengths[i].item()
        runs: list[list[int]] = []
        for frame in range(frames):
            new = frame == 0 or path[i, frame].item() != path[i, frame - 1].item()
            if new:
                runs.append([])
            runs[-1].append(frame)
        runs = [run for run in runs if path[i, run[0]].item() not in self.dropped]
        units = student.values[i, :frames]
        if len(runs) > 1:
            units = torch.stack([student.values[i, run].mean(dim=0) for run in runs])
        taught = nn.functional.interpolate(
            teacher.values[i, :positions].T.unsqueeze(0), size=len(units)
        )
        return units, taught[0].T


def measure(steps: dict[str, Step], repeats: int, device: str) -> dict[str, list[float]]:
    """Seconds of each step; the arms take turns at going first."""
    times: dict[str, list[float]] = {name: [] for name in steps}
    for number in tqdm(range(-1, repeats), desc="steps"):
        for name in sorted(steps, reverse=number % 2 == 0):
            begin = time.perf_counter()
            steps[name]()
            if device.startswith("cuda"):
                torch.cuda.synchronize(device)
            if number >= 0:  # the first one warms up
                times[name].append(time.perf_counter() - begin)
    return times


def report(
    times: dict[str, list[float]], shape: dict[str, int], options: argparse.Namespace
) -> int:
    """Medians, and their ratios to that from disk."""
    medians = {name: statistics.median(values) for name, values in times.items()}
    shortest, longest = options.seconds
    print(f"batches of {options.batch} utterances of {shortest} to {longest} s, {options.repeats} "
          f"steps each, {options.device}, {torch.get_num_threads()} thread(s)")  # fmt: skip
    print(", ".join(f"{name} {value}" for name, value in shape.items()))
    for name, median in medians.items():
        ratio = median / medians["disk"]
        print(f"{name:<12}{1000 * median:8.0f} ms a step (median){ratio:8.2f} of disk")
    return int(medians["published"] < GOAL * medians["disk"])


if __name__ == "__main__":
    sys.exit(main())
