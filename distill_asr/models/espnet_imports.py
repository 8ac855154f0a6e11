"""Keeps the import of ESPnet short and silent: no instrumentation, no downloads, no banners.

ESPnet decorates its functions for typeguard, which parses and recompiles each of them at import,
and its ASR task imports text-to-speech models, adapters and a phonemiser that it may never use.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
from collections.abc import Callable, Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# packages whose annotations are not checked at run time
UNCHECKED = ("espnet", "espnet2", "inflect")
ADAPTERS = "espnet2.layers.create_adapter"
TTS_ALIGNMENTS = "espnet2.gan_tts.jets.alignments"
PHONEMISER = "g2p_en"  # asks NLTK for data when it is imported


def spare_type_checks() -> None:
    """Have typeguard leave the packages in ``UNCHECKED`` as they are; other users keep it."""
    import typeguard

    if getattr(typeguard.typechecked, "spares", None):
        return
    checked = typeguard.typechecked

    def typechecked(target: Any = None, **options: Any) -> Any:
        if target is None:
            return lambda function: typechecked(function, **options)
        package = getattr(target, "__module__", "").partition(".")[0]
        return target if package in UNCHECKED else checked(target, **options)

    typechecked.spares = UNCHECKED
    typeguard.typechecked = typechecked


@contextlib.contextmanager
def without_side_imports() -> Iterator[None]:
    """Within the block, ESPnet's imports of what recognisers rarely use wait for their first use.

    Lines that libraries print while they are imported (optional kernels that are not installed)
    are dropped; warnings and errors are not.
    """
    spare_type_checks()
    stand_ins = {
        ADAPTERS: _module(ADAPTERS, create_adapter=_deferred(ADAPTERS, "create_adapter")),
        TTS_ALIGNMENTS: _module(TTS_ALIGNMENTS, AlignmentModule=type("AlignmentModule", (), {})),
        PHONEMISER: _module(PHONEMISER, G2p=_deferred(PHONEMISER, "G2p")),
    }
    put = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(put)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        for name, module in put.items():
            if sys.modules.get(name) is module:  # who imports it now wants the real one
                del sys.modules[name]


def _module(name: str, **content: Any) -> ModuleType:
    module = ModuleType(name)
    module.__spec__ = ModuleSpec(name, None)  # others ask whether the package is there
    vars(module).update(content)
    return module


def _deferred(module: str, function: str) -> Callable[..., Any]:
    """A function that imports the one it stands for when it is called."""

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module(module), function)(*args, **kwargs)

    return call
