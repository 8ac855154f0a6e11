"""What makes an ESPnet model a student: taps, distillers and one more term in its loss."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import Tensor, nn

from distill_asr.distiller import Distiller
from distill_asr.states import Context, States
from distill_asr.students.taps import TapRecorder, TapShape, encoder_tap_names

PICKS = ("all", "random")
TARGET_PREFIX = "targets_"  # data name of a teacher's targets in ESPnet's batches


class Student:
    """Mixin for ESPnet models, named before the model class.

    A student offers ``tap_names`` and ``asr_loss``; everything else is here. Without distillers
    it costs nothing and is the model it was.
    """

    distillers: nn.ModuleDict
    pick: str
    taps: TapRecorder

    def tap_names(self) -> list[str]:
        """Taps that this student can give."""
        return encoder_tap_names(self.encoder)

    def asr_loss(self, **batch: Tensor) -> tuple[Tensor | None, dict, Tensor]:
        """The student's own loss (None where it has none), statistics and weight."""
        raise NotImplementedError

    def watch(self, names: list[str]) -> None:
        """Ask for taps; must be called once, before the first forward."""
        self.taps = TapRecorder()
        self.taps.watch_encoder(self.encoder, [n for n in names if n.startswith("encoder")])

    def attach(self, distillers: dict[str, Distiller], pick: str = "all") -> None:
        """Add distillation terms.

        Parameters
        ----------
        distillers : by free name, which shows up in the logs as ``distill/<name>``.
        pick : ``all``, or ``random``: one of them per utterance and step, in training.
        """
        if pick not in PICKS:
            raise ValueError(f"pick must be one of {PICKS}, not {pick!r}")
        self.distillers = nn.ModuleDict(distillers)
        self.pick = pick

    def forward(self, speech: Tensor, speech_lengths: Tensor, **batch) -> tuple:
        """ESPnet's contract: speech [B, samples] and what else the batch holds.

        Returns
        -------
        (loss, stats, weight); ``stats["loss"]`` is the sum that is trained,
        ``stats["distill/<name>"]`` each term without its weight.
        """
        batch = {"speech": speech, "speech_lengths": speech_lengths, **batch}
        distillers = getattr(self, "distillers", {})
        if not distillers:
            return self.asr_loss(**batch)
        with self.taps.recording():
            loss, stats, weight = self.asr_loss(**batch)
            terms = self._distill(batch)
        stats = {**stats, **{f"distill/{name}": term.detach() for name, term in terms.items()}}
        if loss is None and not terms:
            raise RuntimeError("the batch has no targets, and this student has no other loss")
        parts = [] if loss is None else [loss]
        if loss is not None:
            stats["loss_asr"] = stats["loss"]
        parts += [self.distillers[name].options.weight * term for name, term in terms.items()]
        loss = torch.stack([part.float().reshape(()) for part in parts]).sum()
        stats["loss"] = loss.detach()
        return force_gatherable((loss, stats, weight), loss.device)

    def _distill(self, batch: dict) -> dict[str, Tensor]:
        """Terms of the distillers whose targets are in the batch (validation may have none)."""
        context = Context(list(batch.get("utt_id", [])), self.taps.states)
        present = {
            name: distiller
            for name, distiller in self.distillers.items()
            if TARGET_PREFIX + distiller.options.teacher in batch
        }
        if self.training and len(present) < len(self.distillers):
            missing = sorted(set(self.distillers) - set(present))
            raise RuntimeError(f"the batch has no targets for the distillers {missing}")
        chosen = self._choose(list(present), batch["speech"].size(0), batch["speech"].device)
        return {
            name: distiller(
                self.taps.states[distiller.options.tap],
                batch[TARGET_PREFIX + distiller.options.teacher],
                batch[TARGET_PREFIX + distiller.options.teacher + "_lengths"],
                context,
                chosen.get(name),
            )
            for name, distiller in present.items()
        }

    def _choose(self, names: list[str], size: int, device: torch.device) -> dict[str, Tensor]:
        if self.pick == "all" or not self.training:
            return {}
        drawn = torch.randint(len(names), (size,), device=device)
        return {name: drawn == index for index, name in enumerate(names)}


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    # module by module, since parts may be kept in eval mode
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def probe_taps(student: Student, names: list[str], fs: int) -> dict[str, TapShape]:
    """Widths and step durations of taps, measured by running two lengths of noise.

    Works for any encoder, since nothing is assumed about its front-end or subsampling. The
    random state is left as it was.

    Parameters
    ----------
    student : after ``watch``.
    names : taps to measure.
    fs : sampling rate in Hz.
    """
    short, long = fs * 2, fs * 10
    with torch.random.fork_rng(devices=[]), torch.no_grad(), _evaluating(student):
        frames = [_tap_states(student, samples) for samples in (short, long)]
    shapes = {}
    for name in names:
        first, last = frames[0][name].lengths.item(), frames[1][name].lengths.item()
        step_ms = round(1000 * (long - short) / fs / (last - first), 0)
        shapes[name] = TapShape(frames[1][name].values.size(-1), step_ms)
    return shapes


def _tap_states(student: Student, samples: int) -> dict[str, States]:
    speech = torch.randn(1, samples) * 0.1
    with student.taps.recording():
        student.encode(speech, torch.tensor([samples]))
        return dict(student.taps.states)
