"""The verb ``dump``: what a teacher says about the data of data dirs, onto disk."""

from __future__ import annotations

import argparse
from contextlib import ExitStack, closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError

if TYPE_CHECKING:
    from distill_asr.data.datadir import DataDir
    from distill_asr.dump.loaded import TeacherTraits
    from distill_asr.dump.plan import DumpJob
    from distill_asr.dump.source import DataSource
    from distill_asr.dump.workers import Workers
    from distill_asr.teachers import TeacherConfig

TOLERANCE = 0.01  # of bfloat16 states against float32, relative
SAMPLE_ITEMS, SAMPLE_SECONDS = 16, 30.0  # on which that is measured


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the verb's options."""
    parser.description = (
        "Write the states of a frozen teacher to <data dir>/targets/<name>. Killed at any moment, "
        "the same command continues; finished targets of the same teacher and data are skipped."
    )
    add = parser.add_argument
    add("data_dirs", nargs="+", metavar="DATA_DIR", help="prepared, dump/<set>")
    add("--teacher", required=True, metavar="YAML", help="conf/teacher/*.yaml")
    add("--name", help="of the targets (default: the teacher file's name)")
    add("--device", default="cpu",
        help="cpu, cuda, cuda:1, or several as cuda:0,cuda:1 (default: cpu)")  # fmt: skip
    add("--nj", type=int, default=1, help="worker processes on each device (default: 1)")
    add("--threads", type=int, help="of each worker (default: its share of the cores)")
    add("--cluster", metavar="YAML", help="conf/cluster/*.yaml: workers that dask starts")
    add("--batch-seconds", type=float,
        help="padded audio in one teacher call (default: the YAML's)")  # fmt: skip
    add("--batch-tokens", type=int,
        help="padded pieces of text in one teacher call (default: the YAML's)")  # fmt: skip
    add("--shard-utts", type=int, default=200, help="utterances in one file (default: 200)")
    add("--tolerance", type=float, default=TOLERANCE,
        help="largest relative error of `dtype: bfloat16` (default: %(default)s)")  # fmt: skip
    add("--overwrite", action="store_true",
        help="replace targets of another teacher or other data, and damaged ones")  # fmt: skip


def run(args: argparse.Namespace) -> int:
    """Dump the data dirs."""
    from distill_asr.data.datadir import DataDir

    config = _checked(args)
    data_dirs = [DataDir.read(path) for path in args.data_dirs]
    name = args.name or Path(args.teacher).stem
    with closing(_workers(args, config)) as workers:
        dump_sets(data_dirs, name, config, workers, args.shard_utts, args.tolerance, args.overwrite)
    return 0


def dump_sets(
    data_dirs: list[DataDir],
    name: str,
    config: TeacherConfig,
    workers: Workers,
    shard_utts: int,
    tolerance: float = TOLERANCE,
    overwrite: bool = False,
) -> None:
    """Write <data dir>/targets/<name> of each data dir; see the options of the verb.

    Raises
    ------
    UserError : whatever is wrong with the data, the teacher, or what lies in the way.
    """
    from distill_asr.dump.loaded import facts
    from distill_asr.dump.workers import call
    from distill_asr.io.locks import locked

    directories = [data_dir.path / "targets" / name for data_dir in data_dirs]
    teacher = call(workers, facts)
    # all the data is looked at before the first second is computed
    sources = _sources(data_dirs, teacher, config, workers)
    with ExitStack() as locks:
        for directory in directories:
            locks.enter_context(locked(directory, "dumping targets"))
        jobs = _jobs(directories, data_dirs, sources, teacher, config, overwrite)
        _dump(_prepared(jobs, workers, tolerance), workers, shard_utts)


def _checked(args: argparse.Namespace) -> TeacherConfig:
    from distill_asr.teachers import TeacherConfig

    problems = []
    if len({Path(path).resolve() for path in args.data_dirs}) < len(args.data_dirs):
        problems.append(f"data dirs: one is given twice in {' '.join(args.data_dirs)}")
    for option in ("shard_utts", "nj", "threads", "batch_seconds", "batch_tokens", "tolerance"):
        value = getattr(args, option)
        if value is not None and not value > 0:
            name = option.replace("_", "-")
            problems.append(f"--{name}: given {value}, expected more than 0")
    if args.name is not None and (args.name.startswith(".") or Path(args.name).name != args.name):
        problems.append(f"--name: given {args.name!r}, expected a plain directory name")
    if args.cluster and (args.nj > 1 or args.threads or "," in args.device):
        problems.append(
            "--cluster: workers and threads are set in its file, and each has one device; leave "
            "--nj, --threads and a second --device out"
        )
    try:
        config = TeacherConfig.read(args.teacher)
    except UserError as error:
        problems += error.problems
    if problems:
        raise UserError(problems)
    given = {key: getattr(args, key) for key in ("batch_seconds", "batch_tokens")}
    return replace(config, **{key: value for key, value in given.items() if value is not None})


def _workers(args: argparse.Namespace, config: TeacherConfig) -> Workers:
    """One that works here, or processes, or a cluster."""
    from distill_asr.dump.machine import default_threads
    from distill_asr.dump.workers import Processes, ThisProcess

    if args.cluster:
        from distill_asr.dump.cluster import Cluster, ClusterConfig

        return Cluster(config, args.device, ClusterConfig.read(args.cluster))
    devices = [device for device in args.device.split(",") for _ in range(args.nj)]
    threads = args.threads or default_threads(len(devices))
    if len(devices) == 1:
        return ThisProcess(config, devices[0], threads)
    return Processes(config, devices, threads)


def _sources(
    data_dirs: list[DataDir], teacher: TeacherTraits, config: TeacherConfig, workers: Workers
) -> list[DataSource]:
    from distill_asr.dump.loaded import size_problems
    from distill_asr.dump.source import TextSource, open_source
    from distill_asr.dump.workers import call

    sources, problems = [], []
    for data_dir in data_dirs:
        try:
            source = open_source(teacher.reads, data_dir, config.text)
        except UserError as error:
            problems += error.problems
            continue
        sources.append(source)
        if isinstance(source, TextSource):  # only the teacher's tokenizer can tell
            problems += call(workers, size_problems, source)
        else:
            problems += source.size_problems(teacher)
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
    from distill_asr.dump.codebooks import trained_codec
    from distill_asr.dump.plan import DumpJob, refuse_or_clear

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
    from distill_asr.dump.loaded import codec_settings
    from distill_asr.dump.workers import call
    from distill_asr.targets.codecs import codec_class

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
    from distill_asr.dump.loaded import error_of_dtype
    from distill_asr.dump.plan import sample
    from distill_asr.dump.workers import call

    dtype = job.settings.dtype
    if dtype == "float32" or tolerance == float("inf"):
        return
    few = sample(job.source, SAMPLE_ITEMS, SAMPLE_SECONDS)
    error = call(workers, error_of_dtype, few)
    found = f"states within {error:.1e} of float32, measured on {len(few.ids)} utterance(s)"
    if not error <= tolerance:
        raise UserError(
            f"{job.config.path}: dtype: {dtype}: {found}; allowed is {tolerance:g}: write "
            "`dtype: float32`, or allow more with --tolerance"
        )
    print(f"{job.config.path}: {dtype}: {found}")


def _dump(jobs: list[DumpJob], workers: Workers, shard_utts: int) -> None:
    """Compute and write every shard that is missing."""
    from distill_asr.dump.plan import DumpPlan, SetDump, skip
    from distill_asr.dump.shard import compute_shard
    from distill_asr.dump.source import BadSamplesError

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
