"""Updates a second of a student's training against ESPnet's parts and torchaudio's loss.

Two copies of a student take turns, update by update, on the same batches in one process, and then
batch by batch in validation. In their first updates both drop out the same numbers, and then their
weights have to be the same within rounding. Then where the time of an update goes, and what
ESPnet's loop adds to it. Times are the processor's, so that other work beside it does not count as
much; a machine shared with others still varies.

    OMP_NUM_THREADS=1 python bench/updates.py
    OMP_NUM_THREADS=1 python bench/updates.py --config conf/student/transducer_10m.yaml \\
        --vocabulary 256 --batch-bins 640000 --repeats 15
    OMP_NUM_THREADS=1 python ../../../bench/updates.py --dump dump     # in egs/mini/asr1, prepared
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import patch

import numpy as np
import torch
from espnet2.train.distributed_utils import DistributedOption
from espnet2.train.reporter import Reporter
from torchaudio.functional import rnnt_loss
from tqdm import tqdm

from distill_asr.data.datadir import DataDir
from distill_asr.data.tokens import write_token_list
from distill_asr.espnet import task
from distill_asr.espnet.cpu_training import BitDropout
from distill_asr.espnet.task import DistillTask
from distill_asr.experiments.layout import Experiment
from distill_asr.io.yaml import load_config
from distill_asr.models.students import joint_loss
from distill_asr.testing.fixtures import make_prepared_dir
from distill_asr.train.config import TrainConfig, TrainOptions
from distill_asr.train.training import prepare_training

CONFIG = Path(__file__).parents[1] / "conf/student/transducer_1m.yaml"
GOAL, LIMIT = 1.3, 1.0  # updates a second, of the peer's
WARM_UP, SAME = 4, 1e-2  # updates, and how far their weights may differ after them
SIDES = ("ESPnet", "ours")
CHARACTERS_PER_SECOND = 15.8  # of mini
PARTS = ("frontend", "specaug", "normalize", "encoder", "decoder", "joint_network", "ctc")


def main() -> int:
    """Print both, their ratios and the profile; 1 where weights differ or ours are fewer."""
    options = parse()
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        dump = options.dump or root
        tokens = dump / "tokens.txt" if options.dump else make_data(root, options)
        given = [f"token_list={tokens}", "token_type=char", "num_workers=0"]
        config = load_config(options.config, [*given, f"batch_bins={options.batch_bins}"])
        config.pop("bpemodel", None)
        config["model_conf"] = {**config["model_conf"], **options.model_conf}
        students = {side: Training(config, dump, root / side, side) for side in SIDES}
        differ = difference(students)
        times = measure(students, options.repeats)
        loop = loop_alone(students["ours"])
    return report(students, times, loop, differ, options)


def parse() -> argparse.Namespace:
    """Options; the defaults take about a minute."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--config", type=Path, default=CONFIG)
    parser.add_argument("--dump", type=Path, help="prepared train, dev and tokens.txt of a recipe")
    parser.add_argument("--utterances", type=int, default=120, help="as in mini")
    parser.add_argument("--seconds", type=float, nargs=2, default=(1.0, 3.1))
    parser.add_argument("--vocabulary", type=int, default=0, help="at least so many tokens")
    parser.add_argument("--batch-bins", type=int, default=320000)
    parser.add_argument("--budget", type=float, help="of the joint network, MiB")
    parser.add_argument("--repeats", type=int, default=39, help="updates a side")
    options = parser.parse_args()
    options.model_conf = {} if options.budget is None else {"joint_budget_mb": options.budget}
    return options


def make_data(root: Path, options: argparse.Namespace) -> Path:
    """Two prepared dirs with transcripts of realistic length, and their token list."""
    rng, letters, texts = np.random.default_rng(0), list("etaoinshrdlucmfwypvbgkjqxz "), []
    for name, count in (("train", options.utterances), ("dev", 20)):
        make_prepared_dir(root / name, count, tuple(options.seconds))
        data, text = DataDir.read(root / name), {}
        for utterance, samples in data.num_samples.items():
            drawn = "".join(rng.choice(letters, round(samples / 16000 * CHARACTERS_PER_SECOND)))
            text[utterance] = "a" + " ".join(drawn.split())
        replace(data, text=text).write(root / name)
        texts += text.values()
    tokens = root / "tokens.txt"
    write_token_list(texts, tokens, "char")
    lines = tokens.read_text(encoding="utf-8").splitlines()
    more = [f"<unused{i}>" for i in range(options.vocabulary - len(lines))]
    tokens.write_text("\n".join([*lines[:-1], *more, lines[-1]]) + "\n", encoding="utf-8")
    return tokens


class Training:
    """A student as ``distill-asr train`` builds it, or as ESPnet's parts would be used."""

    def __init__(self, config: dict, dump: Path, output: Path, side: str) -> None:
        sets = TrainOptions(
            ("b",), (str(dump / "train"),), (str(dump / "dev"),), Experiment(output)
        )
        command = prepare_training(TrainConfig.parse(config, "bench"), sets)
        self.args = DistillTask.get_parser().parse_args(command)
        self.side = side
        torch.manual_seed(self.args.seed)
        with self.parts():
            self.student = DistillTask.build_model(self.args).train()
            (self.optimizer,) = DistillTask.build_optimizers(self.args, self.student)
        self.factory = DistillTask.build_iter_factory(self.args, DistributedOption(), "train")
        self.batches, self.epoch = iter(()), 0
        self.spent: dict[str, float] = defaultdict(float)
        for part in PARTS:
            watch(getattr(self.student, part), part, self.spent)

    @contextmanager
    def parts(self) -> Iterator[None]:
        """Dropout, convolutions, optimizer and loss of torch, ESPnet and torchaudio, or ours."""
        ours = joint_loss.LatticeLoss.apply
        loss_of = ours if self.side == "ours" else lambda *a: rnnt_loss(*a, reduction="none")
        counted = SimpleNamespace(apply=lambda *a: self.timed("transducer loss", loss_of, *a))
        with patch.object(joint_loss, "LatticeLoss", counted):
            if self.side == "ours":
                yield
            else:
                theirs = {"update_in_one_pass": unchanged, "shorten_steps": unchanged}
                with patch.multiple(task, **theirs):
                    yield

    def timed(self, name: str, call: Callable, *args):
        """What a call returns; its processor time is counted."""
        begin = time.process_time()
        result = call(*args)
        self.spent[name] += time.process_time() - begin
        return result

    def read(self) -> tuple[list[str], dict]:
        """The next batch; same seed, same batches."""
        found = next(self.batches, None)
        if found is None:
            self.epoch += 1
            self.batches = iter(self.factory.build_iter(self.epoch))
            found = next(self.batches)
        return found

    def update(self, seed: int) -> None:
        """One update."""
        torch.manual_seed(seed)  # both draw the same dropout and masks
        utterances, batch = self.timed("reading", self.read)
        with self.parts():
            loss = self.timed("forward", lambda: self.student(**batch, utt_id=utterances)[0])
        self.timed("backward", loss.backward)
        weights, limit = list(self.student.parameters()), self.args.grad_clip
        self.timed("gradient norm", torch.nn.utils.clip_grad_norm_, weights, limit)
        self.timed("optimizer", self.optimizer.step)
        self.optimizer.zero_grad()

    def validate(self) -> None:
        """A batch as in validation."""
        utterances, batch = self.read()
        with torch.no_grad(), self.parts():
            self.student.eval()(**batch, utt_id=utterances)
        self.student.train()


def unchanged(part: object) -> None:
    """In place of what makes steps shorter."""


def difference(students: dict[str, Training]) -> float:
    """Of the weights after some updates with the same masks, as a share of what they moved."""
    whole = {side: weights(student) for side, student in students.items()}
    if not torch.equal(*whole.values()):
        raise RuntimeError("the students begin with other weights")
    start = whole["ESPnet"]
    with patch.object(BitDropout, "forward", torch.nn.Dropout.forward):
        for number in range(WARM_UP):
            for student in students.values():
                student.update(number)
    theirs, ours = (weights(students[side]) for side in SIDES)
    return float((theirs - ours).norm() / (theirs - start).norm())


def weights(training: Training) -> torch.Tensor:
    """All of a student in one row."""
    return torch.cat([w.detach().flatten() for w in training.student.parameters()])


def watch(module: torch.nn.Module | None, name: str, spent: dict[str, float]) -> None:
    """Count the processor time of a module's forward pass."""
    if module is None:
        return
    begun: list[float] = []
    module.register_forward_pre_hook(lambda *_: begun.append(time.process_time()))

    def done(*_) -> None:
        spent[name] += time.process_time() - begun.pop()

    module.register_forward_hook(done)


def measure(students: dict[str, Training], repeats: int) -> dict[str, dict[str, list[float]]]:
    """Seconds of each update and each validation batch; the sides take turns at going first."""
    times = {what: {side: [] for side in SIDES} for what in ("update", "validation")}
    for what in times:
        for number in tqdm(range(-WARM_UP, repeats), desc=what):
            for side in sorted(SIDES, reverse=number % 2 == 0):
                student = students[side]
                begin = time.process_time()
                student.update(number + 2 * WARM_UP) if what == "update" else student.validate()
                if number >= 0:
                    times[what][side].append(time.process_time() - begin)
                elif what == "update":  # the first ones warm up
                    student.spent.clear()
        if what == "update":
            for student in students.values():
                student.shares = {p: 1000 * s / repeats for p, s in student.spent.items()}
    return times


def loop_alone(training: Training, updates: int = 200) -> float:
    """Milliseconds an update of ESPnet's loop around a student that computes nothing."""
    student = torch.nn.Linear(1, 1)
    stats = {name: torch.zeros(()) for name in ("loss", "loss_ctc", "loss_transducer")}
    student.forward = lambda **batch: (student.weight.sum(), stats, torch.tensor(1.0))
    options = DistillTask.trainer.build_options(training.args)
    reporter = Reporter()
    reporter.set_epoch(1)
    batches = [(["a"], {"speech": torch.zeros(1, 1)}) for _ in range(updates)]
    optimizer = torch.optim.SGD(student.parameters(), lr=0.0)
    with reporter.observe("train") as observed:
        begin = time.process_time()
        DistillTask.trainer.train_one_epoch(
            model=student, optimizers=[optimizer], schedulers=[None], iterator=batches,
            reporter=observed, scaler=None, summary_writer=None, options=options,
            distributed_option=DistributedOption(),
        )  # fmt: skip
        return 1000 * (time.process_time() - begin) / updates


def report(
    students: dict[str, Training],
    times: dict[str, dict[str, list[float]]],
    loop: float,
    differ: float,
    options: argparse.Namespace,
) -> int:
    """Medians, the ratios, and the parts of an update, largest first."""
    made = f"{options.utterances} utterances of {options.seconds[0]} to {options.seconds[1]} s"
    print(
        f"{options.config.stem}: {options.dump or made}, {options.repeats} updates a side, "
        f"{torch.get_num_threads()} thread(s)"
    )
    ratios = {}
    for what, both in times.items():
        theirs, ours = (1000 * statistics.median(both[side]) for side in SIDES)
        ratios[what] = theirs / ours
        low, high = np.quantile(np.divide(both["ESPnet"], both["ours"]), [0.25, 0.75])
        print(f"{what:<12} ESPnet {theirs:6.0f} ms   ours {ours:6.0f} ms   {theirs / ours:.2f} x "
              f"(middle half of single turns {low:.2f} to {high:.2f})")  # fmt: skip
    tables = [dict(students[side].shares) for side in SIDES]
    for table in tables:
        table["rest of the forward"] = table.pop("forward") - sum(
            table.get(part, 0.0) for part in (*PARTS, "transducer loss")
        )
    print(f"{'parts of an update, ms':<24}{'ESPnet':>8}{'ours':>8}")
    for part in sorted(tables[1], key=tables[1].get, reverse=True):
        print(f"  {part:<22}{tables[0][part]:8.1f}{tables[1][part]:8.1f}")
    print(f"ESPnet's loop around it {loop:8.1f}{loop:8.1f}")
    print(f"weights after {WARM_UP} updates: {differ:.1e} of what they moved (limit {SAME:.0e})")
    print(f"goal: {GOAL} x updates a second, limit {LIMIT}")
    return int(not differ < SAME or ratios["update"] < LIMIT)


if __name__ == "__main__":
    sys.exit(main())
