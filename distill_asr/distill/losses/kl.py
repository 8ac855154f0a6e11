"""Divergence of the student's token posteriors from the teacher's."""

from torch import Tensor, nn

from distill_asr.distill.contracts import POSTERIORS, Loss


class KL(Loss):
    """Kullback-Leibler divergence KL(teacher || student) over the tokens, in nats.

    Its gradient is that of the published cross-entropy with the teacher's soft labels (Yang, Li,
    Woodland 2022, arXiv 2110.03334). The value is lower by the teacher's entropy, so it is zero
    where both posteriors are equal. As in the paper, no factor compensates for the temperature.

    Parameters
    ----------
    temperature : divides both sides' log-probabilities; above 1 for softer labels.
    """

    reads = POSTERIORS

    def __init__(self, temperature: float = 1.0) -> None:
        super().__init__()
        if temperature <= 0:
            raise ValueError(f"temperature must be more than 0, not {temperature}")
        self.temperature = temperature

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Logits [N, V] and log-posteriors [N, V] -> [N]."""
        said, wanted = ((side / self.temperature).log_softmax(dim=1) for side in (student, teacher))
        return nn.functional.kl_div(said, wanted, reduction="none", log_target=True).sum(dim=1)
