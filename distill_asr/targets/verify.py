"""Are these targets whole, and do they belong to this data and this teacher?"""

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill_asr.dump.source import SAMPLE_RATE, AudioSource, DataSource
from distill_asr.errors import UserError, named
from distill_asr.io.checksum import file_sha256
from distill_asr.targets.codecs import MVQCodec
from distill_asr.targets.fingerprint import lengths_sha256, read_sentences, text_sha256
from distill_asr.targets.manifest import SCP, WAY_OUT, Manifest, Settings
from distill_asr.targets.reader import TargetReader, read_scp

if TYPE_CHECKING:
    from distill_asr.data.datadir import DataDir

LENGTH_TOLERANCE = 3  # positions: windows at the end of the audio are cut in many ways


def check_targets(
    directory: str | Path,
    data_dir: "DataDir | DataSource | None" = None,
    settings: Settings | None = None,
    *,
    checksums: bool = False,
    audio: bool = False,
    allow_extra: bool = False,
    allow_missing: bool = False,
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
    allow_missing : and fewer.
    """
    directory = Path(directory)
    try:
        manifest = Manifest.load(directory)
        index = read_scp(directory)
    except UserError as error:
        return error.problems
    problems = _shard_problems(directory, manifest, checksums)
    problems += _index_problems(directory, manifest, index)
    problems += _codebook_problems(directory, manifest)
    if settings is not None:
        problems += stale_teacher(directory, manifest, settings)
    if data_dir is not None:
        allowed = (allow_missing, allow_extra)
        problems += _data_problems(directory, manifest, set(index), data_dir, audio, allowed)
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


def check_states(directory: str | Path, data_dir: "DataDir") -> list[str]:
    """Read every utterance: states that cannot be decoded, are not finite, or of a wrong length.

    Parameters
    ----------
    directory : targets in which ``check_targets`` finds nothing wrong.
    data_dir : whose audio lasts as long as the states of a teacher with a frame rate should.
    """
    from tqdm import tqdm

    targets = TargetReader(directory)
    step_ms, samples = targets.manifests[0].step_ms, data_dir.num_samples or {}
    problems, frames = [], 0
    for utterance in tqdm(targets, f"{directory}: states", len(targets), leave=False, delay=2):
        try:
            states = targets[utterance]
        except UserError as error:
            problems += error.problems
            continue
        frames += len(states)
        where = f"{directory}: utterance {utterance}"
        if not np.isfinite(states).all():
            problems.append(f"{where}: states that are not finite; {WAY_OUT}")
        if step_ms is None or utterance not in samples:
            continue
        expected = samples[utterance] / SAMPLE_RATE * 1000 / step_ms
        if abs(len(states) - expected) > LENGTH_TOLERANCE:
            problems.append(
                f"{where}: {len(states)} positions of {step_ms:g} ms for audio of "
                f"{expected:.1f}; {WAY_OUT}"
            )
    if not problems and frames != targets.manifests[0].frames:
        problems.append(
            f"{directory}: {frames} frames, the manifest says {targets.manifests[0].frames}; "
            f"{WAY_OUT}"
        )
    return problems


def _codebook_problems(directory: Path, manifest: Manifest) -> list[str]:
    """Codes mean nothing without the very codebooks that made them."""
    if manifest.codec["name"] != MVQCodec.name:
        return []
    try:
        MVQCodec(manifest.codec, directory).codebooks  # noqa: B018
    except UserError as error:
        return error.problems
    return []


def _data_problems(
    directory: Path,
    manifest: Manifest,
    targets: set[str],
    data_dir: "DataDir | DataSource",
    audio: bool,
    allowed: tuple[bool, bool],
) -> list[str]:
    wanted = set(data_dir.ids if isinstance(data_dir, DataSource) else data_dir.wav)
    allow_missing, allow_extra = allowed
    problems = []
    missing = wanted - targets
    if missing and not allow_missing:
        problems.append(
            f"{directory}: no targets for {named(missing)} of {data_dir.path}; {WAY_OUT}"
        )
    extra = targets - wanted
    if extra and not allow_extra:
        problems.append(
            f"{directory}: targets for {named(extra)} not in {data_dir.path}; {WAY_OUT}"
        )
    if not missing and not extra:
        known = manifest.source
        if known.audio_sha256 and hasattr(data_dir, "num_samples"):
            problems += _audio_problems(directory, manifest, data_dir, audio)
        if known.text_sha256:
            problems += _text_problems(directory, manifest, data_dir)
    return problems


def _audio_problems(
    directory: Path, manifest: Manifest, data_dir: "DataDir | DataSource", audio: bool
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


def _text_problems(
    directory: Path, manifest: Manifest, data_dir: "DataDir | DataSource"
) -> list[str]:
    """The ids agree; compare the sentences."""
    file = getattr(data_dir, "file", manifest.source.text)
    try:
        sentences = read_sentences(Path(data_dir.path), file)
    except UserError as error:
        return error.problems
    if text_sha256(sentences) != manifest.source.text_sha256:
        path = Path(data_dir.path) / file
        return [f"{directory}: stale: the sentences of {path} have changed; {WAY_OUT}"]
    return []
