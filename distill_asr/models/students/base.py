"""What makes an ESPnet model a student: taps, distillers and one more term in its loss."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import torch
from espnet2.torch_utils.device_funcs import force_gatherable
from torch import Tensor, nn

from distill_asr.distill.block import PICKS
from distill_asr.distill.distiller import Distiller
from distill_asr.distill.states import Context, States, TapShape
from distill_asr.models.encoders.adapter import ADAPTER, Adapter
from distill_asr.models.students.taps import TapRecorder, encoder_tap_names

if TYPE_CHECKING:
    from distill_asr.teachers.online import OnlineTeacher
    from distill_asr.teachers.online_text import OnlineReader

ENCODED = ""  # stands for what `encode` gives, after a post-encoder
TARGET_PREFIX = "targets_"  # data name of a teacher's targets in ESPnet's batches


class Student:
    """Mixin for ESPnet models, named before the model class.

    A student offers ``tap_names`` and ``asr_loss``; everything else is here. Without distillers
    it costs nothing and is the model it was.
    """

    encoder: nn.Module
    postencoder: nn.Module | None
    token_list: list[str]
    ctc: nn.Module | None
    distillers: nn.ModuleDict  # once attached
    terms: tuple[str, ...] = ()  # their names; none for a plain student
    pick: str
    taps: TapRecorder = TapRecorder()  # one that records nothing, until `watch` gives it its own
    share_done: float = 0.0  # of the training, 0 to 1; the trainer sets it before each step
    # no modules: no parameter of theirs is the student's
    online: dict[str, OnlineTeacher]
    readers: dict[str, OnlineReader]

    def tap_names(self) -> list[str]:
        """Taps that this student can give."""
        inside = [ADAPTER] if isinstance(self.postencoder, Adapter) else []
        encoder = encoder_tap_names(self.encoder)
        return [*encoder, *inside, *self.logit_taps(), *self.token_taps()]

    def logit_taps(self) -> dict[str, int]:
        """Taps as wide as the vocabulary, with that width, at the encoder's frame rate."""
        return {} if self.ctc is None else {"ctc": self.ctc.ctc_lo.out_features}

    def token_taps(self) -> dict[str, TapShape]:
        """Taps on token level, which have no duration to be measured."""
        return {}

    if TYPE_CHECKING:  # ESPnet's, which comes later in the order of bases

        def encode(self, speech: Tensor, speech_lengths: Tensor) -> tuple[Tensor, Tensor]:
            """Encoder's output [B, T, D] and lengths [B]."""

    def asr_loss(self, **batch: Tensor) -> tuple[Tensor | None, dict, Tensor]:
        """Compute the student's own loss.

        Parameters
        ----------
        batch : ESPnet's tensors by name: ``speech`` [B, samples], ``text`` [B, U], lengths [B].

        Returns
        -------
        (loss, stats, weight); the loss is a scalar, or None for a student without one; ``weight``
        is the number of utterances.
        """
        raise NotImplementedError

    def watch(self, names: list[str]) -> None:
        """Ask for taps; must be called once, before the first forward."""
        self.taps = TapRecorder()
        self.taps.watch_encoder(self.encoder, [n for n in names if n.startswith("encoder")])
        if ADAPTER in names and isinstance(self.postencoder, Adapter):
            self.taps.watch_adapter(self.postencoder)
        if self.ctc is not None:
            self.taps.watch_ctc(self.ctc)

    def attach(
        self,
        distillers: dict[str, Distiller],
        pick: str = "all",
        online: Mapping[str, OnlineTeacher] | None = None,
        readers: Mapping[str, OnlineReader] | None = None,
    ) -> None:
        """Add distillation terms.

        Parameters
        ----------
        distillers : by free name, which shows up in the logs as ``distill/<name>``.
        pick : ``all``, or ``random``: one of them per utterance and step, in training.
        online : teachers that run in the step, by what the distillers call them.
        readers : the same of teachers that read text.

        Raises
        ------
        ValueError : ``pick`` is unknown.
        """
        if pick not in PICKS:
            raise ValueError(f"pick must be one of {PICKS}, not {pick!r}")
        self.distillers = nn.ModuleDict(distillers)
        self.terms = tuple(distillers)
        self.pick = pick
        self.online = dict(online or {})
        self.readers = dict(readers or {})

    def forward(self, speech: Tensor, speech_lengths: Tensor, **batch) -> tuple:
        """Compute the loss of a batch, as ESPnet's trainer expects it.

        Parameters
        ----------
        speech : [B, samples].
        speech_lengths : [B], samples.
        batch : other tensors by name: transcripts, targets of teachers.

        Returns
        -------
        (loss, stats, weight); ``stats["loss"]`` is the sum that is trained,
        ``stats["distill/<name>"]`` each term without its weight; where a block skips utterances
        without targets, ``stats["distill/<name>/taught"]`` the share with targets.

        Raises
        ------
        RuntimeError : the batch lacks a teacher's targets in training, or there is no loss at all.
        """
        batch = {"speech": speech, "speech_lengths": speech_lengths, **batch}
        if not self.terms:
            return self.asr_loss(**batch)
        with self.taps.recording():
            loss, stats, weight = self.asr_loss(**batch)
            # a student with a loss of its own is judged by that alone, with any teachers
            asked = self.training or loss is None
            terms, taught = self._distill(batch, asked)
        stats = {**stats, **{f"distill/{name}": term.detach() for name, term in terms.items()}}
        stats.update({f"distill/{name}": share for name, share in taught.items()})
        if loss is None and not terms:
            raise RuntimeError("the batch has no targets, and this student has no other loss")
        parts = [] if loss is None else [loss]
        if loss is not None:
            stats["loss_asr"] = stats["loss"]
        # validation counts the full weights, so that epochs can be compared
        share = self.share_done if self.training else None
        weights = {name: self.distillers[name].weight(share) for name in terms}
        if self.training:
            moving = [name for name in terms if self.distillers[name].moves]
            stats.update({f"distill/{name}/weight": weights[name] for name in moving})
        parts += [weights[name] * term for name, term in terms.items()]
        loss = torch.stack([part.float().reshape(()) for part in parts]).sum()
        stats["loss"] = loss.detach()
        return force_gatherable((loss, stats, weight), loss.device)

    def _distill(self, batch: dict, asked: bool) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """Terms of the distillers that have targets here, and the share of utterances with them.

        Targets are in the batch, or come from teachers that run in the step, where these are
        ``asked``; validation may lack them.
        """
        available = self._available(batch, asked)
        if self.training and len(available) < len(self.distillers):
            missing = sorted(set(self.distillers) - set(available))
            raise RuntimeError(f"the batch has no targets for the distillers {missing}")
        chosen = self._choose(available)
        targets = self._targets(batch, available, chosen)
        context = self._context(batch)
        terms, taught = {}, {}
        for name, there in available.items():
            distiller = self.distillers[name]
            tap, options = self.taps.states[distiller.options.tap], distiller.options
            here = replace(context, read=self._reader(options.teacher, tap.values.device))
            terms[name] = distiller(tap, *targets[options.teacher], here, chosen.get(name))
            if options.missing == "skip":
                taught[f"{name}/taught"] = there.float().mean()
            taught.update({f"{name}/{key}": share for key, share in distiller.shares.items()})
        return terms, taught

    def with_end(self, text: Tensor, text_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Put the end token after each transcript.

        Parameters
        ----------
        text : [B, U - 1], ids, padded with ``ignore_id``.
        text_lengths : [B].

        Returns
        -------
        [B, U] and [B].
        """
        text = nn.functional.pad(text[:, : text_lengths.max()], (0, 1), value=self.ignore_id)
        lengths = text_lengths.to(torch.int64)
        return text.scatter(1, lengths.unsqueeze(1), self.eos), lengths + 1

    def _context(self, batch: dict) -> Context:
        """What matchers may ask for; the names of tokens only if one does."""
        ids, lengths, names = None, None, []
        if batch.get("text") is not None:
            ids, lengths = self.with_end(batch["text"], batch["text_lengths"])
            if any(one.matcher.reads_text for one in self.distillers.values()):
                rows = zip(ids.tolist(), (lengths - 1).tolist(), strict=True)
                names = [[self.token_list[token] for token in row[:count]] for row, count in rows]
        utterances = list(batch.get("utt_id", []))
        return Context(
            utterances,
            self.taps.states,
            tokens=names,
            token_ids=ids,
            token_lengths=lengths,
            lattice=self.taps.lattice,
        )

    def _reader(
        self, teacher: str, device: torch.device
    ) -> Callable[[list[list[int]]], States] | None:
        """What gives a teacher's states of token ids, if the teacher reads them in the step."""
        reader = self.readers.get(teacher)
        return None if reader is None else partial(reader, device=device)

    def _available(self, batch: dict, asked: bool) -> dict[str, Tensor]:
        """Which utterances a distiller has targets for, [B] bool each."""
        online = {*self.online, *self.readers} if asked else set()
        found = {}
        for name, distiller in self.distillers.items():
            teacher = distiller.options.teacher
            if teacher in online:
                found[name] = batch["speech_lengths"] > 0
            elif TARGET_PREFIX + teacher in batch:
                found[name] = batch[f"{TARGET_PREFIX}{teacher}_lengths"] > 0
        return found

    def _choose(self, available: dict[str, Tensor]) -> dict[str, Tensor]:
        """Utterances that count for each distiller, [B] bool; all of them where not named."""
        if self.pick == "all" or not self.training:
            return {}
        there = torch.stack(list(available.values()), dim=1)  # [B, distillers]
        drawn = torch.rand(there.shape, device=there.device).masked_fill(~there, -1.0).argmax(1)
        return {name: drawn == index for index, name in enumerate(available)}

    def _targets(
        self,
        batch: dict,
        available: dict[str, Tensor],
        chosen: dict[str, Tensor],
    ) -> dict[str, tuple[Tensor, Tensor]]:
        """Targets [B, S, E] and lengths [B] by teacher; an online one runs on counted ones only."""
        wanted: dict[str, Tensor] = {}
        for name, there in available.items():
            teacher, counts = self.distillers[name].options.teacher, chosen.get(name, there)
            wanted[teacher] = wanted[teacher] | counts if teacher in wanted else counts
        return {name: self._targets_of(name, batch, counts) for name, counts in wanted.items()}

    def _targets_of(self, teacher: str, batch: dict, counts: Tensor) -> tuple[Tensor, Tensor]:
        """Targets of one teacher, from the batch unless it runs in the step."""
        if teacher in self.online:
            return self.online[teacher](batch["speech"], batch["speech_lengths"], counts)
        if teacher in self.readers:
            sizes = batch["text_lengths"].tolist()
            rows = zip(batch["text"].tolist(), sizes, strict=True)
            read = self.readers[teacher]([row[:size] for row, size in rows], batch["speech"].device)
            return read.values, read.lengths
        return batch[TARGET_PREFIX + teacher], batch[f"{TARGET_PREFIX}{teacher}_lengths"]


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Within the block, all of the model is in eval mode."""
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
    shapes = {name: shape for name, shape in student.token_taps().items() if name in names}
    vocabulary = student.logit_taps()
    names = [name for name in names if name not in shapes]
    short, long = fs * 2, fs * 10
    with torch.random.fork_rng(devices=[]), torch.no_grad(), evaluating(student):
        frames = [_tap_states(student, samples) for samples in (short, long)]
    for name in names:
        source = ENCODED if name in vocabulary else name
        first, last = frames[0][source].lengths.item(), frames[1][source].lengths.item()
        step_ms = round(1000 * (long - short) / fs / (last - first), 0)
        width = vocabulary.get(name, frames[1][source].values.size(-1))
        shapes[name] = TapShape(width, step_ms)
    return shapes


def _tap_states(student: Student, samples: int) -> dict[str, States]:
    speech = torch.randn(1, samples) * 0.1
    with student.taps.recording():
        encoded, lengths = student.encode(speech, torch.tensor([samples]))
        encoded = encoded[0] if isinstance(encoded, tuple) else encoded  # beside inner CTC outputs
        return {**student.taps.states, ENCODED: States(encoded, lengths, None)}
