"""Dumping as it is asked for: options checked, workers started, every data dir written."""

from __future__ import annotations

from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path

from distill_asr.data.datadir import DataDir
from distill_asr.dump.codebooks import trained_codec
from distill_asr.dump.loaded import (
    TeacherTraits,
    codec_settings,
    error_of_dtype,
    facts,
    size_problems,
)
from distill_asr.dump.machine import default_threads
from distill_asr.dump.options import TOLERANCE, DumpOptions
from distill_asr.dump.plan import DumpJob, DumpPlan, SetDump, refuse_or_clear, sample, skip
from distill_asr.dump.shard import compute_shard
from distill_asr.dump.source import BadSamplesError, DataSource, TextSource, open_source
from distill_asr.dump.workers import Processes, ThisProcess, Workers, call
from distill_asr.errors import UserError
from distill_asr.io.locks import locked
from distill_asr.targets.codecs import codec_class
from distill_asr.teachers import TeacherConfig

SAMPLE_ITEMS, SAMPLE_SECONDS = 16, 30.0  # on which that is measured


def dump(options: DumpOptions) -> list[Path]:
    """Dump the data dirs; the directories of their targets.

    Raises
    ------
    UserError : see ``dump_sets``; everything wrong with the options.
    """
    config = _checked(options)
    data_dirs = [DataDir.read(path) for path in options.data_dirs]
    name = options.name or Path(options.teacher[0]).stem
    with closing(_workers(options, config)) as workers:
        dump_sets(
            data_dirs,
            name,
            config,
            workers,
            options.shard_utts,
            options.tolerance,
            options.overwrite,
        )
    return [data_dir.path / "targets" / name for data_dir in data_dirs]


def dump_sets(
    data_dirs: list[DataDir],
    name: str,
    config: TeacherConfig,
    workers: Workers,
    shard_utts: int,
    tolerance: float = TOLERANCE,
    overwrite: bool = False,
) -> None:
    """Write <data dir>/targets/<name> of each data dir.

    Parameters
    ----------
    data_dirs : prepared.
    name : of the targets.
    config : the teacher's.
    workers : hold that teacher.
    shard_utts : utterances in a shard.
    tolerance : largest relative error of a dtype below float32.
    overwrite : replace targets that are damaged, or of another teacher or other data.

    Raises
    ------
    UserError : problems of the data or the teacher, or other files in the way.
    """
    directories = [data_dir.path / "targets" / name for data_dir in data_dirs]
    teacher = call(workers, facts)
    # all the data is looked at before the first second is computed
    sources = _sources(data_dirs, teacher, config, workers)
    with ExitStack() as locks:
        for directory in directories:
            locks.enter_context(locked(directory, "dumping targets"))
        jobs = _jobs(directories, data_dirs, sources, teacher, config, overwrite)
        _dump(_prepared(jobs, workers, tolerance), workers, shard_utts)


def _checked(options: DumpOptions) -> TeacherConfig:
    if not options.teacher and not options.overrides:
        raise UserError("--teacher: missing; give a file such as conf/teacher/hubert_large.yaml")
    problems = []
    if len({Path(path).resolve() for path in options.data_dirs}) < len(options.data_dirs):
        problems.append(
            f"data dirs: one is given twice in {' '.join(options.data_dirs)}; name each once"
        )
    for option in ("shard_utts", "nj", "threads", "batch_seconds", "batch_tokens", "tolerance"):
        value = getattr(options, option)
        if value is not None and not value > 0:
            name = option.replace("_", "-")
            problems.append(f"--{name}: given {value}, expected more than 0")
    if options.name is None and len(options.teacher) != 1:
        problems.append("--name: missing; only one file of a teacher names the targets by itself")
    if options.name is not None and (
        options.name.startswith(".") or Path(options.name).name != options.name
    ):
        problems.append(f"--name: given {options.name!r}, expected a plain directory name")
    if options.cluster and (options.nj > 1 or options.threads or "," in options.device):
        problems.append(
            "--cluster: workers and threads are set in its file, and each has one device; leave "
            "--nj, --threads and a second --device out"
        )
    try:
        config = TeacherConfig.read(options.teacher, options.overrides)
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(problems)
    given = {key: getattr(options, key) for key in ("batch_seconds", "batch_tokens")}
    return replace(config, **{key: value for key, value in given.items() if value is not None})


def _workers(options: DumpOptions, config: TeacherConfig) -> Workers:
    """One that works here, or processes, or a cluster."""
    if options.cluster:
        from distill_asr.dump.cluster import Cluster, ClusterConfig  # dask: an extra

        return Cluster(config, options.device, ClusterConfig.read(options.cluster))
    devices = [device for device in options.device.split(",") for _ in range(options.nj)]
    threads = options.threads or default_threads(len(devices))
    if len(devices) == 1:
        return ThisProcess(config, devices[0], threads)
    return Processes(config, devices, threads)


def _sources(
    data_dirs: list[DataDir], teacher: TeacherTraits, config: TeacherConfig, workers: Workers
) -> list[DataSource]:
    sources, problems = [], []
    for data_dir in data_dirs:
        try:
            source = open_source(teacher.reads, data_dir, config.text)
        except UserError as error:
            problems += error.problems
            continue
        sources.append(source)
        if isinstance(source, TextSource):  # only the teacher's tokenizer decides this
            problems += call(workers, size_problems, source)
        else:
            problems += source.size_problems(teacher)  # type: ignore[arg-type]  # traits suffice
    if problems:
        raise UserError(problems)
    return sources


def _jobs(
    directories: list[Path],
    data_dirs: list[DataDir],
    sources: list[DataSource],
    teacher: TeacherTraits,
    config: TeacherConfig,
    overwrite: bool,
) -> list[DumpJob]:
    """What is to be done, once nothing is in the way any more."""
    settings = trained_codec(config.settings(teacher.fingerprint), directories, overwrite)
    jobs = [
        DumpJob(directory, config, teacher, settings, source, data_dir)
        for directory, source, data_dir in zip(directories, sources, data_dirs, strict=True)
    ]
    if problems := refuse_or_clear(jobs, overwrite):
        raise UserError(problems)
    return jobs


def _prepared(jobs: list[DumpJob], workers: Workers, tolerance: float) -> list[DumpJob]:
    """Look how exact the states are, and train codebooks, if the codec has any."""
    if unfinished := [job for job in jobs if not job.finished]:
        _require_exact(unfinished[0], workers, tolerance)
    settings = jobs[0].settings
    if codec_class(settings.codec).has_codebooks:
        directories = [job.directory.absolute() for job in jobs]
        sources = [job.source.part(job.source.ids) for job in jobs]
        settings = call(workers, codec_settings, settings, directories, sources)
    return [replace(job, settings=settings) for job in jobs]


def _require_exact(job: DumpJob, workers: Workers, tolerance: float) -> None:
    """Measure how far low precision takes the states from float32, and refuse too much."""
    dtype = job.settings.dtype
    if dtype == "float32" or tolerance == float("inf"):
        return
    few = sample(job.source, SAMPLE_ITEMS, SAMPLE_SECONDS)
    error = call(workers, error_of_dtype, few)
    found = f"states within {error:.1e} of float32, measured on {len(few.ids)} utterance(s)"
    if not error <= tolerance:
        raise UserError(
            f"{job.config.path}: dtype: {dtype}: {found}; allowed: {tolerance:g}; write "
            "`dtype: float32`, or allow more with --tolerance"
        )
    print(f"{job.config.path}: {dtype}: {found}")


def _dump(jobs: list[DumpJob], workers: Workers, shard_utts: int) -> None:
    """Compute and write every shard that is missing."""
    for job in jobs:
        if job.finished:
            skip(job)
    sets = [SetDump(job, shard_utts) for job in jobs if not job.finished]
    for one in sets:
        if one.complete:  # killed between its last shard and its end
            one.finish()
    plan = DumpPlan([one for one in sets if not one.complete])
    try:
        with closing(plan.progress()) as progress:
            for number, _ in workers.map(compute_shard, plan.pieces(), progress.under_way):
                one, amount, size = plan.ended(number)
                progress.finished(number, amount, size)
                if one.complete:
                    progress.clear()
                    one.finish()
    except BadSamplesError as error:
        # name every bad file now, not one a run
        found = [problem for one in plan.sets for problem in one.job.source.problems()]
        raise UserError(found or error.problems) from error
