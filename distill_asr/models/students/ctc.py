"""CTC and hybrid CTC/attention student: ESPnet's own model with taps."""

from espnet2.asr.espnet_model import ESPnetASRModel
from torch import Tensor

from distill_asr.distill.states import TapShape
from distill_asr.models.students.base import Student
from distill_asr.models.students.taps import vocabulary_layer


class CTCStudent(Student, ESPnetASRModel):
    """ESPnet's model, parameter for parameter; ``ctc_weight: 1.0`` is pure CTC.

    The tap ``decoder`` gives the attention decoder's state before its vocabulary layer: position u
    predicts the transcript's token u, the end token last. Without its distillers the checkpoint
    loads in stock ESPnet (see ``distill-asr export``).
    """

    def token_taps(self) -> dict[str, TapShape]:
        """The attention decoder's, where there is one."""
        layer = vocabulary_layer(self.decoder)
        return {} if layer is None else {"decoder": TapShape(layer.in_features, None)}

    def watch(self, names: list[str]) -> None:
        """Ask for taps; must be called once, before the first forward."""
        super().watch(names)
        if "decoder" in names:
            self.taps.watch_decoder(self.decoder)

    def asr_loss(self, **batch: Tensor) -> tuple:
        """ESPnet's CTC, attention or joint loss."""
        return ESPnetASRModel.forward(self, **batch)
