"""Request for a pretrained model: its name, its user, and the hidden states wanted."""

import os
from dataclasses import dataclass
from pathlib import Path

from distill_asr.errors import UserError

MODELS = "MODELS"  # environment variable: a directory with directories of models
WINDOW_OF_AUDIO = "audio"  # `window`: as long as the clip


@dataclass(frozen=True)
class ModelRequest:
    """A model of transformers, asked for by a YAML file or an option."""

    name: str  # hub id or local directory
    where: str  # what names it; begins every message
    layers: tuple[int, ...] = ()  # hidden states; 0 is what enters the first layer
    combine: str | None = None  # mean | stack (side by side in the width); None for one layer
    batch_seconds: float = 10.0  # of padded audio in one call of the model
    window: float | str | None = None  # seconds | audio (the clip's own length); None: the model's


def locate_model(name: str) -> str:
    """Return the path of a model's directory, or a hub id if it is missing.

    Directories below ``$MODELS`` stand for hub ids: of ``openai/whisper-base``,
    ``$MODELS/openai/whisper-base`` is looked for, then ``$MODELS/whisper-base``. A model that has
    neither is taken from the hub or its cache.

    Raises
    ------
    UserError : ``MODELS`` is set, and is not a directory.
    """
    given = Path(name).expanduser()
    places = [given]
    if root := os.environ.get(MODELS):
        if not Path(root).is_dir():
            raise UserError(
                f"{MODELS}={root}: no such directory; expected models as directories there, such "
                f"as {Path(root) / given.name}; unset it to take hub ids"
            )
        places += [Path(root) / given, Path(root) / given.name]
    return next((str(place) for place in places if place.is_dir()), name)
