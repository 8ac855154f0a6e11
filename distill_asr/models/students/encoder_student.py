"""The base of students that take from ESPnet's model what stands before its decoders."""

from __future__ import annotations

from typing import Any

from espnet2.asr.espnet_model import ESPnetASRModel

from distill_asr.models.students.base import Student


class EncoderStudent(Student, ESPnetASRModel):
    """ESPnet's front-end, encoder and CTC; neither its attention nor its transducer branch.

    Parameters
    ----------
    parts : what ESPnet builds a model of (``vocab_size``, ``token_list``, ``frontend``,
        ``encoder`` ...), and arguments of its model; ``decoder`` and ``joint_network`` are the
        student's own affair.
    """

    def __init__(self, **parts: Any) -> None:
        # ctc_weight 1.0: ESPnet builds neither attention criterion nor its own transducer loss
        unbuilt = {"decoder": None, "joint_network": None, "ctc_weight": 1.0, "report_wer": False}
        super().__init__(**parts | unbuilt)
