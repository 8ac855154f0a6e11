"""Keeps the import of ESPnet short and silent: no instrumentation, no downloads, no banners.

ESPnet decorates its functions for typeguard, which parses and recompiles each of them at import,
and its ASR task imports text-to-speech models, adapters, a phonemiser and large libraries that it
may never use.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import sys
import warnings
from collections.abc import Iterator
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

# packages whose annotations are not checked at run time
UNCHECKED = ("espnet", "espnet2", "inflect")
TTS_ALIGNMENTS = "espnet2.gan_tts.jets.alignments"
# what few of ESPnet's classes use, by the names of the modules that ESPnet imports
DEFERRED = (
    "distutils.util",
    "espnet2.layers.create_adapter",
    "g2p_en",  # asks NLTK for data when it is imported
    "h5py",
    "hydra",
    "omegaconf",
    "scipy.signal",
    "transformers",
    "transformers.file_utils",
    "transformers.models.bart.modeling_bart",
    "transformers.models.wav2vec2_conformer.modeling_wav2vec2_conformer",
)


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
    are dropped, and what Python remarks on their syntax where it has to compile them. Other
    warnings and errors are not.
    """
    spare_type_checks()
    stand_ins: dict[str, ModuleType] = {name: Deferred(name) for name in DEFERRED}
    # a class, since ESPnet derives others from it
    stand_ins[TTS_ALIGNMENTS] = Deferred(TTS_ALIGNMENTS, AlignmentModule=type("", (), {}))
    put = {name: module for name, module in stand_ins.items() if name not in sys.modules}
    sys.modules.update(put)
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore", SyntaxWarning)
            yield
    finally:
        for name, module in put.items():
            if sys.modules.get(name) is module:  # who imports it now wants the real one
                del sys.modules[name]


class Deferred(ModuleType):
    """Stands for a module until something of it is used.

    Parameters
    ----------
    content : attributes that stand for others of their name for good.
    """

    def __init__(self, name: str, **content: Any) -> None:
        super().__init__(name)
        self.__spec__ = ModuleSpec(name, None)  # others ask whether the package is there
        vars(self).update(content)

    def __getattr__(self, name: str) -> Any:
        """The module's own attribute, or what stands for it while the module may not be loaded."""
        if name.startswith("__"):
            raise AttributeError(name)
        if sys.modules.get(self.__name__) is self:
            return DeferredName(self.__name__, name)
        return getattr(importlib.import_module(self.__name__), name)


class DeferredName:
    """Stands for a function or a class until it is called or one of its attributes is read."""

    def __init__(self, module: str, name: str) -> None:
        self._module, self._name = module, name

    def _real(self) -> Any:
        return getattr(importlib.import_module(self._module), self._name)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What the real one returns."""
        return self._real()(*args, **kwargs)

    def __instancecheck__(self, instance: object) -> bool:
        """Whether it is one of the real class."""
        return isinstance(instance, self._real())

    def __getattr__(self, name: str) -> Any:
        """The real one's attribute."""
        if name.startswith("__"):
            raise AttributeError(name)
        return getattr(self._real(), name)
