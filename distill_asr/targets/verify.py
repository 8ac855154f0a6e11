"""Are these targets whole, and do they belong to this data and this teacher?"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from distill_asr.data.record import prepared_audio_identity
from distill_asr.errors import UserError, named
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.io.identity import CACHE, content_identity
from distill_asr.io.progress import Bar
from distill_asr.targets.codecs import build_codec
from distill_asr.targets.fingerprint import (
    lengths_sha256,
    lines_sha256,
    read_sentences,
    text_sha256,
)
from distill_asr.targets.manifest import SCP, WAY_OUT, Manifest, Settings, Source
from distill_asr.targets.reader import TargetReader, read_scp

if TYPE_CHECKING:
    from distill_asr.data.datadir import DataDir

LENGTH_TOLERANCE = 3  # positions: windows at the end of the audio are cut in many ways


def check_targets(
    directory: str | Path,
    data_dir: DataDir | None = None,
    settings: Settings | None = None,
    *,
    text: str | None = None,
    reread: bool = False,
    allow_extra: bool = False,
    allow_missing: bool = False,
    digests: Mapping[str, str] | None = None,
) -> list[str]:
    """List the problems of a target directory; an empty list means that it may be used.

    Parameters
    ----------
    directory : dump/<set>/targets/<teacher>
    data_dir : compare utterance ids, lengths, and the content of audio and sentences with it.
    settings : compare with this teacher; an empty ``weights_sha256`` matches any weights.
    text : file of the data dir that the teacher reads now; None: the one it did read.
    reread : read arks and audio again even where nothing has touched them since they were read.
    allow_extra : targets may cover more utterances than the data dir (a subset of it is used).
    allow_missing : and fewer.
    digests : SHA-256 of each utterance's audio, where that has just been looked at.
    """
    directory = Path(directory)
    try:
        manifest = Manifest.load(directory)
        index = read_scp(directory)
    except UserError as error:
        return error.problems
    problems = _shard_problems(directory, manifest, reread)
    problems += _index_problems(directory, manifest, index)
    problems += _codebook_problems(directory, manifest)
    if settings is not None:
        problems += stale_teacher(directory, manifest, settings)
    if data_dir is None:
        return problems
    wanted, targets = set(data_dir.wav), set(index)
    if (missing := wanted - targets) and not allow_missing:
        problems.append(
            f"{directory}: no targets for {named(missing)} of {data_dir.path}; {WAY_OUT}"
        )
    extra = targets - wanted
    if extra and not allow_extra:
        problems.append(
            f"{directory}: targets for {named(extra)} not in {data_dir.path}; {WAY_OUT}"
        )
    if not extra and not (missing and not allow_missing):
        problems += _source_problems(
            directory, manifest.source, data_dir.select(targets), text, reread, digests
        )
    return problems


def stale_teacher(directory: Path, manifest: Manifest, settings: Settings) -> list[str]:
    """Compare finished targets with a teacher; empty where they are its own.

    Parameters
    ----------
    directory : of the targets, for the message.
    manifest : theirs.
    settings : the teacher's; an empty ``weights_sha256`` is not compared.
    """
    known = {"weights_sha256": settings.weights_sha256 or manifest.settings.weights_sha256}
    wanted = Settings(**{**vars(settings), **known})
    differences = manifest.settings.differences(wanted)
    if not differences:
        return []
    return [
        f"{directory}: stale: the teacher now has {', '.join(differences)}; {WAY_OUT}, "
        "or choose another --name"
    ]


def _shard_problems(directory: Path, manifest: Manifest, reread: bool) -> list[str]:
    """Missing arks, of another size, of other content than was written."""
    problems, whole = [], []
    for shard in manifest.shards:
        path = directory / shard.file
        if not path.is_file():
            problems.append(f"{path}: missing; {WAY_OUT}")
        elif (size := path.stat().st_size) != shard.bytes:
            problems.append(f"{path}: {size} bytes, the manifest has {shard.bytes}; {WAY_OUT}")
        else:
            whole.append(shard)
    cache = None if reread else directory / CACHE
    found = content_identity([directory / shard.file for shard in whole], cache)
    for shard in whole:
        path = directory / shard.file
        if isinstance(digest := found[str(path)], OSError):
            problems.append(f"{path}: cannot be read ({digest.strerror}); {WAY_OUT}")
        elif digest != shard.sha256:
            problems.append(f"{path}: damaged, its checksum differs from the manifest's; {WAY_OUT}")
    return problems


def _index_problems(
    directory: Path, manifest: Manifest, index: dict[str, tuple[str, int]]
) -> list[str]:
    found = Counter(file for file, _ in index.values())
    expected = {shard.file: shard.utterances for shard in manifest.shards}
    return [
        f"{directory / SCP}: {found.get(file, 0)} utterances in {file}, the manifest has "
        f"{expected.get(file, 0)}; {WAY_OUT}"
        for file in sorted(found.keys() | expected.keys())
        if found.get(file, 0) != expected.get(file, 0)
    ]


def check_states(directory: str | Path, data_dir: DataDir) -> list[str]:
    """Read every utterance: states that cannot be decoded, are not finite, or of a wrong length.

    Parameters
    ----------
    directory : targets in which ``check_targets`` finds nothing wrong.
    data_dir : whose audio lasts as long as the states of a teacher with a frame rate should.
    """
    targets = TargetReader(directory)
    step_ms, samples = targets.manifests[0].step_ms, data_dir.num_samples or {}
    problems, frames = [], 0
    for utterance in Bar(targets, f"{directory}: states", len(targets), leave=False, delay=2):
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
            f"{directory}: {frames} frames, the manifest has {targets.manifests[0].frames}; "
            f"{WAY_OUT}"
        )
    return problems


def _codebook_problems(directory: Path, manifest: Manifest) -> list[str]:
    """Codes mean nothing without the very codebooks that made them."""
    try:
        build_codec(manifest.codec, directory).codebooks  # noqa: B018
    except UserError as error:
        return error.problems
    return []


def _source_problems(
    directory: Path,
    source: Source,
    data_dir: DataDir,
    text: str | None,
    reread: bool,
    digests: Mapping[str, str] | None,
) -> list[str]:
    """The ids agree; compare what the teacher read of them."""
    problems = []
    if source.audio_sha256:
        problems += _audio_problems(directory, source, data_dir, reread, digests)
    if source.text_sha256:
        problems += _text_problems(directory, source, data_dir, text or source.text)
    return problems


def _audio_problems(
    directory: Path,
    source: Source,
    data_dir: DataDir,
    reread: bool,
    digests: Mapping[str, str] | None,
) -> list[str]:
    if data_dir.num_samples is None:
        return [f"{data_dir.path}: has no utt2num_samples; run `distill-asr prepare`"]
    if lengths_sha256(data_dir.num_samples) != source.lengths_sha256:
        return [f"{directory}: stale: audio lengths of {data_dir.path} have changed; {WAY_OUT}"]
    if digests is None:
        cache = None if reread else data_dir.path / CACHE
        try:
            digests = prepared_audio_identity(data_dir.wav, cache)
        except UserError as error:
            return error.problems
    if (
        lines_sha256({utterance: digests[utterance] for utterance in data_dir.wav})
        != source.audio_sha256
    ):
        return [f"{directory}: stale: the audio of {data_dir.path} has changed; {WAY_OUT}"]
    return []


def _text_problems(directory: Path, source: Source, data_dir: DataDir, file: str) -> list[str]:
    try:
        sentences = read_sentences(data_dir.path, file)
    except UserError as error:
        return error.problems
    of_targets = {u: sentence for u, sentence in sentences.items() if u in data_dir.wav}
    if text_sha256(of_targets) != source.text_sha256:
        path = data_dir.path / file
        return [f"{directory}: stale: the sentences of {path} have changed; {WAY_OUT}"]
    return []
