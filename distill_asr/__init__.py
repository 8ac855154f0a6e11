"""distill_asr: what large frozen teachers know, put into small ESPnet recognisers.

The functions of ``distill_asr.api`` are names of this package, too; see docs/python.md. They are
imported when first asked for, since torch and ESPnet take seconds.
"""

import importlib
from typing import Any

__version__ = "0.1.0"

# by name, so that the rooms below, which read the version here, do not depend on the one on top
_API = "distill_asr.api"
_OFFERED = (
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
)


def __getattr__(name: str) -> Any:
    if name not in _OFFERED:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_API), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_OFFERED])
