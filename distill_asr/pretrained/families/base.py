"""What speech models of all families have in common.

Legend: B batch, N samples, S teacher positions.
"""

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from torch import Tensor, nn

from distill_asr.pretrained.request import ModelRequest

# where checkpoints keep the encoder: of the bare model, and of the one that transcribes
ENCODER = {r"^model\.encoder\.": "", r"^encoder\.": ""}
FILES = "config.json, preprocessor_config.json and model.safetensors"


class Family(ABC):
    """One loaded model with its way of taking audio.

    Attributes
    ----------
    model : called with what ``inputs`` gives; its output has ``last_hidden_state``, and
        ``hidden_states`` of which the first enters the first layer.
    depth : number of layers.
    width : of one layer.
    step_ms : duration of one position.
    min_samples : shortest audio that gives one position.
    has_window : it supports the request's ``window``.
    max_samples : longest audio that the model can take; None for no limit.
    facts : of feature extraction, for the fingerprint.
    """

    model: nn.Module
    depth: int
    width: int
    step_ms: float
    min_samples: int
    has_window: bool = False
    max_samples: int | None = None
    facts: dict[str, Any]

    @classmethod
    @abstractmethod
    def load(cls, request: ModelRequest, model_config: Any) -> "Family":
        """Load the model and what makes its input.

        Parameters
        ----------
        request : the model, its layers, and where messages say that it was asked for.
        model_config : as of ``load_model_config``.

        Raises
        ------
        UserError : missing parts, or layers that it does not have.
        """

    @abstractmethod
    def inputs(self, waveforms: list[np.ndarray]) -> tuple[dict[str, Tensor], list[int] | None]:
        """Give the model's keyword arguments for a padded batch, and S of each utterance.

        S is None where all positions are valid.
        """

    def groups(self, waveforms: list[np.ndarray]) -> list[list[np.ndarray]]:
        """Divide a batch into what one call of the model takes."""
        return [waveforms]

    def parts(self) -> list[nn.Module]:
        """Modules worth compiling, each by itself; none where nobody has looked for them."""
        return []

    def drop_layers_above(self, layer: int) -> None:
        """Free what the states up to ``layer`` do not need."""
        # the library itself calls the norm above the last layer that is left the last hidden
        # state, so one more is kept
        del self.model.encoder.layers[layer + 1 :]
