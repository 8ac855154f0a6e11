"""A linguistic adapter on top of an encoder, which stays in the student.

Legend: B batch, T frames, D encoder width, A adapter width.
"""

from __future__ import annotations

from espnet2.asr.postencoder.abs_postencoder import AbsPostEncoder
from torch import Tensor, nn

ADAPTER = "adapter"


class Adapter(AbsPostEncoder):
    """Adds to each frame its projection into a text model's space (after Lu et al. 2023).

    ``z = projection(h)``, ``h + return(norm(z))``. The tap ``adapter`` is z, which a text teacher
    is compared with, best with ``match: transport``; recognition needs no teacher. The way back is
    born as zero, so the student starts as the one without.

    Parameters
    ----------
    input_size : D.
    size : A; the teacher's width, so that the block takes ``head: identity``. D where not given.
    dropout_rate : on what is added.
    """

    def __init__(self, input_size: int, size: int | None = None, dropout_rate: float = 0.1) -> None:
        super().__init__()
        self.width = input_size
        self.projection = nn.Linear(input_size, size or input_size)
        self.norm = nn.LayerNorm(size or input_size)
        self.back = nn.Linear(size or input_size, input_size)
        self.dropout = nn.Dropout(dropout_rate)
        nn.init.zeros_(self.back.weight)
        nn.init.zeros_(self.back.bias)

    def output_size(self) -> int:
        """D."""
        return self.width

    def forward(self, input: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Adapt the encoder's output; its size does not change.

        Parameters
        ----------
        input : [B, T, D].
        input_lengths : [B], valid frames.

        Returns
        -------
        [B, T, D] and the same [B].
        """
        return self.added(input), input_lengths

    def added(self, hidden: Tensor) -> Tensor:
        """Frames [..., D] with what is added, each by itself."""
        return hidden + self.dropout(self.back(self.norm(self.projection(hidden))))
