"""Are these targets whole, and do they belong to this data and this teacher?"""

from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from distill_asr.errors import UserError
from distill_asr.targets.checksum import file_sha256
from distill_asr.targets.manifest import SCP, WAY_OUT, Manifest, Settings
from distill_asr.targets.reader import read_scp
from distill_asr.targets.source import AudioSource, lengths_sha256

if TYPE_CHECKING:
    from distill_asr.data.datadir import DataDir

NAMED = 5  # how many utterances a message names


def check_targets(
    directory: str | Path,
    data_dir: "DataDir | AudioSource | None" = None,
    settings: Settings | None = None,
    *,
    checksums: bool = False,
    audio: bool = False,
    allow_extra: bool = False,
) -> list[str]:
    """List the problems of a target directory; an empty list means that it may be used.

    Parameters
    ----------
    directory : dump/<set>/targets/<teacher>
    data_dir : compare utterance ids and lengths with this data dir (or its audio).
    settings : compare with this teacher; an empty ``weights_sha256`` matches any weights.
    checksums : read the arks and compare their SHA-256 (their sizes are always compared).
    audio : also read and hash all the audio of ``data_dir``.
    allow_extra : targets may cover more utterances than the data dir (a subset of it is used).
    """
    directory = Path(directory)
    try:
        manifest = Manifest.load(directory)
        index = read_scp(directory)
    except UserError as error:
        return error.problems
    problems = _shard_problems(directory, manifest, checksums)
    problems += _index_problems(directory, manifest, index)
    if settings is not None:
        problems += stale_teacher(directory, manifest, settings)
    if data_dir is not None:
        problems += _data_problems(directory, manifest, set(index), data_dir, audio, allow_extra)
    return problems


def stale_teacher(directory: Path, manifest: Manifest, settings: Settings) -> list[str]:
    """Compare finished targets with a teacher."""
    known = {"weights_sha256": settings.weights_sha256 or manifest.settings.weights_sha256}
    wanted = Settings(**{**vars(settings), **known})
    differences = manifest.settings.differences(wanted)
    if not differences:
        return []
    return [
        f"{directory}: stale: the teacher now has {', '.join(differences)}; {WAY_OUT}, "
        "or choose another --name"
    ]


def _shard_problems(directory: Path, manifest: Manifest, checksums: bool) -> list[str]:
    problems = []
    for shard in manifest.shards:
        path = directory / shard.file
        if not path.is_file():
            problems.append(f"{path}: missing; {WAY_OUT}")
        elif (size := path.stat().st_size) != shard.bytes:
            problems.append(f"{path}: {size} bytes, the manifest says {shard.bytes}; {WAY_OUT}")
        elif checksums and file_sha256(path) != shard.sha256:
            problems.append(f"{path}: damaged, its checksum differs from the manifest's; {WAY_OUT}")
    return problems


def _index_problems(
    directory: Path, manifest: Manifest, index: dict[str, tuple[str, int]]
) -> list[str]:
    found = Counter(file for file, _ in index.values())
    expected = {shard.file: shard.utterances for shard in manifest.shards}
    return [
        f"{directory / SCP}: {found.get(file, 0)} utterances in {file}, the manifest says "
        f"{expected.get(file, 0)}; {WAY_OUT}"
        for file in sorted(found.keys() | expected.keys())
        if found.get(file, 0) != expected.get(file, 0)
    ]


def _data_problems(
    directory: Path,
    manifest: Manifest,
    targets: set[str],
    data_dir: "DataDir | AudioSource",
    audio: bool,
    allow_extra: bool,
) -> list[str]:
    wanted = set(data_dir.wav)
    problems = []
    if missing := wanted - targets:
        problems.append(
            f"{directory}: no targets for {named(missing)} of {data_dir.path}; {WAY_OUT}"
        )
    extra = targets - wanted
    if extra and not allow_extra:
        problems.append(
            f"{directory}: targets for {named(extra)} not in {data_dir.path}; {WAY_OUT}"
        )
    if not missing and not extra:
        problems += _audio_problems(directory, manifest, data_dir, audio)
    return problems


def _audio_problems(
    directory: Path, manifest: Manifest, data_dir: "DataDir | AudioSource", audio: bool
) -> list[str]:
    """The ids agree; compare lengths, and if asked every byte of audio."""
    if data_dir.num_samples is None:
        return [f"{data_dir.path}: has no utt2num_samples; run `distill-asr prepare`"]
    if lengths_sha256(data_dir.num_samples) != manifest.source.lengths_sha256:
        return [f"{directory}: stale: audio lengths of {data_dir.path} have changed; {WAY_OUT}"]
    if audio:
        try:
            now = data_dir if isinstance(data_dir, AudioSource) else AudioSource(data_dir)
        except UserError as error:
            return error.problems
        if now.fingerprint().audio_sha256 != manifest.source.audio_sha256:
            return [f"{directory}: stale: the audio of {data_dir.path} has changed; {WAY_OUT}"]
    return []


def named(utterances: Iterable[str]) -> str:
    """Count utterances and name the first few."""
    names = sorted(utterances)
    more = ", ..." if len(names) > NAMED else ""
    return f"{len(names)} utterance(s) ({', '.join(names[:NAMED])}{more})"
