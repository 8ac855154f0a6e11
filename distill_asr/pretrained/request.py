"""What is asked of a pretrained model: which one, for whom, which of its hidden states."""

from dataclasses import dataclass


@dataclass(frozen=True)
class ModelRequest:
    """A model of transformers, asked for by a YAML file or an option."""

    name: str  # hub id or local directory
    where: str  # what names it; begins every message
    layers: tuple[int, ...] = ()  # hidden states; 0 is what enters the first layer
    combine: str | None = None  # mean | stack (side by side in the width); None for one layer
    batch_seconds: float = 10.0  # of padded audio in one call of the model
