"""Heads bring a student representation to the teacher's width; dropped at export."""

from torch import Tensor, nn

from distill_asr.distill.contracts import Head


class LinearHead(nn.Linear, Head):
    """One linear layer, [N, D] -> [N, E]."""

    def __init__(self, input_size: int, output_size: int, bias: bool = True) -> None:
        super().__init__(input_size, output_size, bias=bias)


class ProjectionHead(nn.Linear, Head):
    """A matrix without bias, [N, D] -> [N, E] (Distill-L2S, arXiv 2206.12638).

    Born uniform within ``±1 / sqrt(E)`` as in the published code: by the teacher's width, not by
    the student's as a linear layer would be.
    """

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__(input_size, output_size, bias=False)

    def reset_parameters(self) -> None:
        """Draw the matrix anew."""
        bound = self.out_features**-0.5
        nn.init.uniform_(self.weight, -bound, bound)


class MLPHead(Head):
    """Linear, ReLU, linear: room to be unlike the teacher before the head.

    Parameters
    ----------
    hidden_size : width between the two layers; the output width where not given.
    """

    def __init__(self, input_size: int, output_size: int, hidden_size: int | None = None) -> None:
        super().__init__()
        hidden_size = hidden_size or output_size
        self.layers = nn.Sequential(
            nn.Linear(input_size, hidden_size), nn.ReLU(), nn.Linear(hidden_size, output_size)
        )

    def forward(self, states: Tensor) -> Tensor:
        """[N, D] -> [N, E]."""
        return self.layers(states)


class IdentityHead(Head):
    """No head: the widths are equal already.

    Raises
    ------
    ValueError : they are not.
    """

    changes = False

    def __init__(self, input_size: int, output_size: int) -> None:
        super().__init__()
        if input_size != output_size:
            raise ValueError(
                f"head: identity needs equal widths, but the tap has {input_size} "
                f"and the teacher {output_size}; use head: linear"
            )

    def forward(self, states: Tensor) -> Tensor:
        """[N, D] -> [N, D], the same."""
        return states


HEADS: dict[str, type[Head]] = {
    "linear": LinearHead,
    "projection": ProjectionHead,
    "mlp": MLPHead,
    "identity": IdentityHead,
}
