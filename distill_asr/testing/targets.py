"""Targets of a teacher that never was: random states for a prepared data dir."""

from pathlib import Path

import numpy as np

from distill_asr.data.datadir import DataDir
from distill_asr.dump.source import AudioSource
from distill_asr.io.audio import SAMPLE_RATE
from distill_asr.targets.manifest import Manifest, Settings
from distill_asr.targets.writer import TargetWriter


def target_settings(**changes: object) -> Settings:
    """Settings of a plausible teacher."""
    plain: dict = {"kind": "speech", "weights_sha256": "f" * 64, "layers": (2,), "combine": None}
    plain |= {"dtype": "float32", "codec": {"name": "fp32"}}
    return Settings(**(plain | changes))


def write_targets(
    data_dir: Path,
    name: str = "teacher",
    *,
    width: int = 3,
    step_ms: float = 20.0,
    shard_utts: int = 2,
    seed: int = 0,
    tokens: tuple[str, ...] | None = None,
    **settings: object,
) -> tuple[dict[str, np.ndarray], Manifest]:
    """Write ``<data_dir>/targets/<name>``; give the states float32 [S, E] and the manifest.

    Parameters
    ----------
    data_dir : prepared; S is the utterance's duration over ``step_ms``, at least 1.
    name : of the teacher.
    width : E.
    step_ms : from one position to the next, ms.
    shard_utts : utterances in a shard.
    seed : same seed, same states.
    tokens : of a teacher that gives posteriors.
    settings : what differs from ``target_settings()``.
    """
    source = AudioSource(DataDir.read(data_dir))
    rng = np.random.default_rng(seed)
    states = {
        utterance: rng.normal(
            5, 2, (max(1, int(count / SAMPLE_RATE * 1000 / step_ms)), width)
        ).astype(np.float32)
        for utterance, count in source.num_samples.items()
    }
    writer = TargetWriter(Path(data_dir) / "targets" / name, target_settings(**settings))
    ids = list(states)
    source.file_digests(ids)  # at once, since each time reads and writes the record of all
    shards = [ids[first : first + shard_utts] for first in range(0, len(ids), shard_utts)]
    for number, shard in enumerate(shards):
        # as in a dump, not in the order of ids
        pairs = [(utterance, states[utterance]) for utterance in reversed(shard)]
        writer.write_shard(number, source.sha256(shard), pairs)
    source_facts = source.fingerprint()
    manifest = writer.finish(len(shards), name, "some/model", step_ms, source_facts, tokens)
    return states, manifest
