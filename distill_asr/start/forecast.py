"""The cost of every stage of a recipe: its jobs, as ``run.sh`` runs them, with rates for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Protocol

import soundfile

from distill_asr.data.sources import AudioLocation
from distill_asr.decode.options import DecodeOptions
from distill_asr.errors import Problems, UserError
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.io.tables import collect_table
from distill_asr.recipe import plan
from distill_asr.recipe.jobs import Job
from distill_asr.recipe.plan import TEACHERS, Grid, own_teachers
from distill_asr.recipe.stages import READY
from distill_asr.recipe.systems import RECOGNISER, RecipeTeacher, Training
from distill_asr.start.batches import batches, weighted
from distill_asr.start.cost import (
    SPOKEN,
    AudioShape,
    CommonRates,
    Cost,
    OwnTeacher,
    OwnTeacherRates,
    Sample,
    SetSize,
    StageCost,
    StudentRates,
    TeacherRates,
    TrainingPlan,
    decode_cost,
    dump_cost,
    prepare_cost,
    stored_bytes,
    training_cost,
    wall_seconds,
)
from distill_asr.start.pretrained import PUBLISHED, cached_model
from distill_asr.teachers.config import TeacherConfig
from distill_asr.train.config import TrainConfig

_LOOKED_AT = 100  # recordings whose headers are read where no table gives lengths
_FRAMES = 50  # of a published speech model, a second
_SCORING = 3.0  # seconds
_TEXTS = 64  # transcripts that a text teacher is measured on
_SEARCHED = "search of a pretrained recogniser, not predicted"
_LATER = "known when its training data is there"


class Measures(Protocol):
    """Where rates come from; see ``calibration.Calibration``."""

    def common(self) -> CommonRates:
        """Starting, reading, resampling."""

    def student(
        self, config: TrainConfig, audio: AudioShape, options: DecodeOptions
    ) -> StudentRates:
        """Rates of a student.

        Parameters
        ----------
        config : of its training.
        audio : lengths of its batches and utterances.
        options : of the search.
        """

    def teacher(
        self, config: TeacherConfig, sample: Sample, untrained: OwnTeacher | None = None
    ) -> TeacherRates:
        """Rates of a teacher.

        Parameters
        ----------
        config : the teacher's file.
        sample : length and texts of its input.
        untrained : a teacher that the recipe has yet to train: a random one is measured.
        """

    def own_teacher(self, training: OwnTeacher) -> OwnTeacherRates:
        """Of the training of a recipe's own teacher."""


@dataclass(frozen=True)
class ForecastOptions:
    """What differs from this machine as it is.

    Parameters
    ----------
    nj : jobs at a time.
    cores : that they share.
    hours : of a set, instead of what lies there.
    rates : seconds of audio a second, by ``dump``, ``train`` and ``decode``: of a GPU or a
        cluster, instead of the rate measured here.
    search : options of decoding.
    """

    nj: int
    cores: float
    hours: Mapping[str, float] = field(default_factory=dict)
    rates: Mapping[str, float] = field(default_factory=dict)
    search: DecodeOptions = field(default_factory=lambda: DecodeOptions(beam_size=4))


def forecast(grid: Grid, measures: Measures, options: ForecastOptions) -> list[StageCost]:
    """Stages of the grid, in their order; run from the recipe's directory.

    Parameters
    ----------
    grid : the chosen systems.
    measures : give the rates of students and teachers.
    options : jobs at a time, cores, and what the user states.

    Raises
    ------
    UserError : sets whose size is not known, configs that are wrong.
    """
    return _Forecast(grid, measures, options).stages()


class _Forecast:
    def __init__(self, grid: Grid, measures: Measures, options: ForecastOptions) -> None:
        self.grid = grid
        self.measures = measures
        self.options = options
        self.common = measures.common()
        self._encoders: set[tuple[str, ...]] = set()
        self._known_lengths: dict[tuple[str, ...], list[float]] = {}
        sets = grid.sets
        before = (stage for system in grid.chosen for stage in grid.systems.before(system))
        own = [name for stage in before for name in plan.valid_sets(grid, stage)]
        names = (*sets.train, *sets.unlabelled, *sets.valid, *own, *sets.test)
        self.sizes = set_sizes(tuple(dict.fromkeys(names)), grid.folder, options.hours)
        for name in plan.pseudo_labelled(grid):
            self.sizes[f"{name}_pseudo"] = self.sizes[name]

    def stages(self) -> list[StageCost]:
        """Every stage that has jobs."""
        sets = {name: size for name, size in self.sizes.items() if not name.endswith("_pseudo")}
        stages = [prepare_cost(sets, self.common, self.options.nj)]
        stages += self._stage("teachers", plan.teacher_jobs(self.grid), self._own_teacher)
        stages += self._stage(RECOGNISER, plan.recogniser_jobs(self.grid, (), ()), self._recogniser)
        stages += self._stage("dump", plan.dump_jobs(self.grid), self._dump)
        stages += self._stage("train", plan.train_jobs(self.grid), self._train)
        stages += self._stage("decode", plan.decode_jobs(self.grid), self._decode)
        scoring = self._stage("score", plan.score_jobs(self.grid), lambda _: Cost(_SCORING))
        return stages + scoring

    def _stage(self, name: str, jobs: list[Job], cost: Callable[[Job], Cost]) -> list[StageCost]:
        if not jobs:
            return []
        costs = {job.name: cost(job) for job in jobs}
        wall = wall_seconds(jobs, costs, self.options.nj, self.options.cores)
        return [StageCost(name, costs, wall, {job.name: job.after for job in jobs})]

    def _own_teacher(self, job: Job) -> Cost:
        name = job.name.split()[-1]
        if (self.grid.folder / READY / name).is_dir():
            tests = sum(self.sizes[one].seconds for one in self.grid.sets.test)
            return Cost(self.common.start_small + tests * 0.01, work="comes trained; scored")
        training = self._untrained(self.grid.systems.teachers[name])
        if training is None:
            return Cost(0.0, work=_LATER)
        rates = self.measures.own_teacher(training)
        seconds = self.common.start_teacher + rates.seconds
        return Cost(seconds, rates.disk, rates.memory, "trained here")

    def _recogniser(self, job: Job) -> Cost:
        verb = job.name.split()[0]
        if verb == "pseudo-label" and self.grid.systems.labeller is not None:
            return Cost(0.0, work=_SEARCHED)
        recogniser = self.grid.systems.recogniser
        assert recogniser is not None  # else there are no such jobs
        if verb == "train":
            return self._training(recogniser.training, self.grid.sets.train, True)
        names = [job.name.split()[-1]] if verb == "pseudo-label" else list(self.grid.sets.test)
        return self._recognised(recogniser.training, names)

    def _train(self, job: Job) -> Cost:
        kind, name = job.name.split()
        name = name.rpartition("_seed")[0]
        if kind == "pretrain":
            pretraining = self.grid.systems.pretrain[name]
            return self._training(pretraining, pretraining.train, True)
        system = self.grid.systems.systems[name]
        pseudo = tuple(f"{one}_pseudo" for one in system.pseudo_labels)
        # states of a frozen encoder are computed by the first training that reads them
        first = job.after not in self._encoders
        self._encoders.add(job.after)
        return self._training(system, (*self.grid.sets.train, *pseudo), first)

    def _decode(self, job: Job) -> Cost:
        name = job.name.split()[1].rpartition("_seed")[0]
        return self._recognised(self.grid.systems.systems[name], list(self.grid.sets.test))

    def _dump(self, job: Job) -> Cost:
        name = job.name.split()[1]
        sizes = [self.sizes[one] for one in plan.targets(self.grid)[name]]
        systems = self.grid.systems
        if name == RECOGNISER and systems.recogniser is not None:
            student = self._student(systems.recogniser.training, self.grid.sets.train)
            rates = TeacherRates(2 * student.valid, 25 * 4 * 4, student.memory)
        else:
            found = self._teacher(systems.teachers[name], sizes)
            if found is None:
                return Cost(0.0, work=_LATER)
            rates = found
        if "dump" in self.options.rates:
            rates = replace(rates, dump=1 / self.options.rates["dump"])
        return dump_cost(sizes, rates, self.common)

    def _training(self, training: Training, sets: tuple[str, ...], first: bool) -> Cost:
        student = self._student(training, sets)
        numbers = self._numbers(training.resolved(self.grid.set), sets)
        judged = plan.valid_sets(self.grid, training)
        cached = sum(self._lengths(sets)) + sum(self._lengths(judged))
        return training_cost(numbers, student, self.common, cached if first else 0.0)

    def _numbers(self, config: TrainConfig, sets: tuple[str, ...]) -> TrainingPlan:
        """A config in numbers; ESPnet's where it leaves them out."""
        values = config.espnet
        validation = {
            name: values.get(f"valid_{name}") or values.get(name)
            for name in ("batch_type", "batch_bins", "batch_size")
        }
        judged = {name: value for name, value in validation.items() if value is not None}
        iterations = values.get("num_iters_per_epoch")
        return TrainingPlan(
            int(values.get("max_epoch", 40)),
            batches(self._lengths(sets), values).limited(iterations and int(iterations)),
            batches(self._lengths(self.grid.sets.valid), judged),
            _count(values.get("keep_nbest_models", 10)),
        )

    def _recognised(self, training: Training, sets: list[str]) -> Cost:
        student = self._student(training, self.grid.sets.train)
        return decode_cost([self.sizes[name] for name in sets], student, self.common)

    def _student(self, training: Training, sets: tuple[str, ...]) -> StudentRates:
        config = training.resolved(self.grid.set)
        config = _with_model_here(config, self.grid.folder)
        batch = self._numbers(config, sets).learnt.seconds
        audio = AudioShape(batch, weighted(self._lengths(sets)), self._spoken())
        rates = self.measures.student(config, audio, self.options.search)
        stated = self.options.rates
        if "train" in stated:
            rates = replace(rates, train=1 / stated["train"], valid=1 / (3 * stated["train"]))
        if "decode" in stated:
            rates = replace(rates, decode=1 / stated["decode"])
        return rates

    def _teacher(self, teacher: RecipeTeacher, sizes: list[SetSize]) -> TeacherRates | None:
        """None: it is trained on data that is not there yet."""
        config = teacher.resolved()
        ready = self.grid.folder / READY / teacher.name
        local = Path(config.model) if Path(config.model).is_dir() else cached_model(config.model)
        place = local or (ready if ready.is_dir() else None)
        sample = Sample(
            weighted(one for size in sizes for one in size.lengths),
            tuple(text for size in sizes for text in size.texts)[:_TEXTS],
        )
        if place is not None:
            return self.measures.teacher(replace(config, model=str(place)), sample)
        owner = next((one for one in own_teachers(self.grid)
                      if config.model == str(TEACHERS / one.name)), None)  # fmt: skip
        if owner is not None:
            training = self._untrained(owner)
            return None if training is None else self.measures.teacher(config, sample, training)
        known = next((one for one in PUBLISHED if one.model == config.model), None)
        if known is None:
            raise UserError(
                f"{config.path}: model {config.model} is not on this machine, and its size is not "
                "known; fetch it (`hf download`)"
            )
        each = 2e6 * known.millions * _FRAMES / self.common.flops
        stored = _FRAMES * stored_bytes(config.codec, known.width)
        return TeacherRates(each, stored, 500 + 4.5 * known.millions)

    def _untrained(self, teacher: RecipeTeacher) -> OwnTeacher | None:
        """The training of a recipe's own teacher; None while its data is not there."""
        files = teacher.train
        assert files is not None  # else it is none of the recipe's own
        folder = self.grid.folder
        train, dev = (folder / one for one in (files.train, files.dev))
        if not (train.exists() and dev.exists()):
            return None
        tests = [folder / "dump" / one for one in self.grid.sets.test]
        there = tuple(str(one) for one in tests if (one / "text").is_file())
        return OwnTeacher(files.config, tuple(files.overrides()), str(train), str(dev), there)

    def _lengths(self, sets: tuple[str, ...]) -> list[float]:
        if sets not in self._known_lengths:
            found = [one for name in sets for one in self.sizes[name].lengths]
            self._known_lengths[sets] = found
        return self._known_lengths[sets]

    def _spoken(self) -> float:
        """Characters a second of the labelled training sets."""
        sets = [self.sizes[name] for name in self.grid.sets.train]
        characters = sum(one.characters for one in sets)
        return characters / sum(one.seconds for one in sets) if characters else SPOKEN


def set_sizes(
    names: tuple[str, ...], folder: Path, hours: Mapping[str, float]
) -> dict[str, SetSize]:
    """Audio of each set: as stated, as prepared, or from its data directory.

    Parameters
    ----------
    names : of the sets.
    folder : with ``dump`` and ``data``.
    hours : of sets, as stated.

    Raises
    ------
    UserError : none of these gives it.
    """
    sizes, problems = {}, []
    for name in names:
        found = _prepared(folder / "dump" / name) or _unprepared(folder / "data" / name)
        if name in hours:
            found = _scaled(found or SetSize(5.0, 1), 3600 * hours[name])
        if found is None:
            problems.append(
                f"{name}: neither data/{name} nor dump/{name} exists; state its hours with "
                f"--hours {name}=10"
            )
        else:
            sizes[name] = found
    if problems:
        raise UserError(problems)
    return sizes


def _scaled(size: SetSize, seconds: float) -> SetSize:
    """A set of the same kind with so much audio."""
    factor = seconds / size.seconds
    count = max(1, round(factor * size.utterances))
    return replace(size, seconds=seconds, utterances=count, converted=factor * size.converted,
                   characters=factor * size.characters)  # fmt: skip


def _prepared(folder: Path) -> SetSize | None:
    lengths = collect_table(folder / "utt2num_samples", Problems(), required=False)
    if not lengths:
        return None
    wav = collect_table(folder / "wav.scp", Problems(), required=False) or {}
    seconds = {key: int(count) / SAMPLE_RATE for key, count in lengths.items()}
    # what was converted lies below the directory
    written = sum(
        seconds.get(key, 0.0) for key, path in wav.items() if f"/{folder.name}/wav/" in path
    )
    known = tuple(seconds.values())
    return SetSize(sum(known), len(known), written, *_transcripts(folder, known))


def _unprepared(folder: Path) -> SetSize | None:
    durations = collect_table(folder / "utt2dur", Problems(), required=False)
    wav = collect_table(folder / "wav.scp", Problems(), required=False)
    if not wav:
        return None
    looked = list(wav.values())[:: max(1, len(wav) // _LOOKED_AT)][:_LOOKED_AT]
    facts = []
    for location in looked:
        place = AudioLocation(location)
        try:
            facts.append(soundfile.info(place.location) if place.is_file else None)
        except (soundfile.LibsndfileError, OSError):
            facts.append(None)
    kept = [one for one in facts if one is not None]
    fine = [one for one in kept if one.samplerate == SAMPLE_RATE and one.channels == 1]
    cut = (folder / "segments").is_file()  # parts are written as files of their own
    share = 1.0 if cut else 1 - len(fine) / len(facts)
    if durations:
        known = tuple(map(float, durations.values()))
        return SetSize(sum(known), len(known), share * sum(known), *_transcripts(folder, known))
    if not kept:
        return None
    known = tuple(one.duration for one in kept)
    total = sum(known) / len(known) * len(wav)
    return SetSize(total, len(wav), share * total, *_transcripts(folder, known))


def _transcripts(
    folder: Path, known: tuple[float, ...]
) -> tuple[int, tuple[float, ...], tuple[str, ...]]:
    """Characters of all, the lengths that are known, and some transcripts."""
    texts = list((collect_table(folder / "text", Problems(), required=False) or {}).values())
    return sum(map(len, texts)), known, tuple(texts[:: max(1, len(texts) // _TEXTS)][:_TEXTS])


def _count(value: object) -> int:
    return max(map(int, value)) if isinstance(value, list) else int(str(value))


def _with_model_here(config: TrainConfig, folder: Path) -> TrainConfig:
    """A recogniser on a teacher that the recipe has yet to put in its place."""
    model = config.conf("encoder").get("model")
    if not isinstance(model, str) or (folder / model).is_dir():
        return config
    ready = folder / READY / Path(model).name
    if not ready.is_dir():
        return config
    return config.with_espnet(encoder_conf={**config.conf("encoder"), "model": str(ready)})
