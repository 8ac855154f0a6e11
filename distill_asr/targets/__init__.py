"""Targets of a teacher on disk: codecs, manifest, writer, reader, verification."""

from distill_asr.targets.manifest import Manifest, pooled_statistics
from distill_asr.targets.reader import TargetReader

__all__ = ["Manifest", "TargetReader", "pooled_statistics"]
