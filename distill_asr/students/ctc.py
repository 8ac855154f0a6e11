"""CTC and hybrid CTC/attention student: ESPnet's own model with taps."""

from espnet2.asr.espnet_model import ESPnetASRModel
from torch import Tensor

from distill_asr.students.base import Student


class CTCStudent(Student, ESPnetASRModel):
    """ESPnet's model, parameter for parameter; ``ctc_weight: 1.0`` is pure CTC.

    Without its distillers the checkpoint loads in stock ESPnet (see ``distill-asr export``).
    """

    def asr_loss(self, **batch: Tensor) -> tuple:
        """ESPnet's CTC, attention or joint loss."""
        return ESPnetASRModel.forward(self, **batch)
