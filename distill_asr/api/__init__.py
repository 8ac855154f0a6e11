"""What ``import distill_asr`` offers: the work of the verbs, as functions; see docs/python.md."""

from distill_asr.api.student import LoadedStudent, Stream, Transcript, load_student
from distill_asr.api.work import dump_targets, score_systems, train_student
from distill_asr.decode.options import DecodeOptions
from distill_asr.decode.recognised import Recognised
from distill_asr.errors import UserError

__all__ = [
    "DecodeOptions",
    "LoadedStudent",
    "Recognised",
    "Stream",
    "Transcript",
    "UserError",
    "dump_targets",
    "load_student",
    "score_systems",
    "train_student",
]
