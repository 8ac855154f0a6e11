"""Codebook loss: the student names the teacher's codes (MVQ-KD, arXiv 2211.00508, section 3)."""

from torch import Tensor, nn

from distill_asr.distill.contracts import CODES, Loss


class Codebook(Loss):
    """Cross-entropy of each code, each codebook for itself, mean over the codes of a pair.

    Where two teacher positions are joined for one student frame, the pair has the codes of both.
    The loss holds no parameters: the head gives the logits of all codes.
    """

    reads = CODES

    def input_width(self, paired_width: int, classes: int) -> int:
        """What the head has to give for that many codes a pair: their logits side by side."""
        return paired_width * classes

    def forward(self, student: Tensor, teacher: Tensor) -> Tensor:
        """Logits [N, P * classes] and codes int64 [N, P] -> [N]."""
        codes = teacher.size(1)
        logits = student.unflatten(1, (codes, student.size(1) // codes)).transpose(1, 2)
        return nn.functional.cross_entropy(logits, teacher, reduction="none").mean(dim=1)
