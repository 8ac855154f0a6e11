"""The best alignment of a token sequence: which of a transducer's frames each token came out in.

Legend: T frames, D width of the encoder, U tokens, V vocabulary.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

BUDGET = 64 * 2**20  # bytes of logits at a time
_FLOAT32 = 4  # bytes


@dataclass(frozen=True)
class Alignment:
    """One path through the lattice.

    ``frames`` [U] of the tokens, never falling; ``score``, log-probability of all its symbols, the
    blank that ends the last frame included.
    """

    frames: list[int]
    score: float


@torch.inference_mode()
def align(student: nn.Module, encoded: Tensor, tokens: list[int]) -> Alignment:
    """Find the likeliest path of a transducer student that emits ``tokens``.

    Parameters
    ----------
    encoded : [T, D], T at least 1.
    """
    return best_path(*lattice_scores(student, encoded, tokens))


def lattice_scores(student: nn.Module, encoded: Tensor, tokens: list[int]) -> tuple[Tensor, Tensor]:
    """Log-probabilities of the blank [T, U + 1] and of the next token [T, U] at every node.

    Nodes are computed in slices of frames, so that memory does not grow with T.

    Parameters
    ----------
    student : a transducer.
    encoded : [T, D].
    tokens : ids, without an end token.
    """
    joint, blank = student.joint_network, student.blank_id
    labels = torch.tensor([tokens], device=encoded.device, dtype=torch.int64)
    student.decoder.set_device(encoded.device)  # it remembers where it was built
    history = nn.functional.pad(labels, (1, 0), value=blank)
    predicted = joint.lin_dec(student.decoder(history))  # [1, U + 1, J]
    rows = max(1, BUDGET // (_FLOAT32 * joint.lin_out.out_features * history.size(1)))
    blanks, following = [], []
    for part in joint.lin_enc(encoded).unsqueeze(1).split(rows):
        scores = joint(part, predicted, no_projection=True).float().log_softmax(dim=-1)
        blanks.append(scores[:, :, blank])
        index = labels.unsqueeze(-1).expand(len(part), -1, -1)
        following.append(scores[:, :-1].gather(2, index).squeeze(2))
    return torch.cat(blanks), torch.cat(following)


def best_path(blank: Tensor, token: Tensor) -> Alignment:
    """Viterbi over the lattice, a frame at a time.

    Within a frame, going from u to w costs the tokens between, a difference of cumulative sums, so
    that a running maximum finds the best u for every w at once. A frame may emit any number of
    tokens.

    Parameters
    ----------
    blank : [T, U + 1], finite log-probabilities of leaving frame t after u tokens.
    token : [T, U], of token u + 1 in frame t after u tokens.
    """
    # float64: the differences must not lose what single tokens cost
    blank, token = blank.double().cpu(), token.double().cpu()
    emitted = nn.functional.pad(token.cumsum(dim=1), (1, 0))  # [T, U + 1]
    reached = emitted[0]
    origins = [torch.zeros(len(reached), dtype=torch.int64)]  # tokens before, as a frame begins
    for time in range(1, len(blank)):
        arriving = reached + blank[time - 1]
        best, origin = (arriving - emitted[time]).cummax(dim=0)
        reached = best + emitted[time]
        origins.append(origin)
    return Alignment(_backtrace(origins), float(reached[-1] + blank[-1, -1]))


def _backtrace(origins: list[Tensor]) -> list[int]:
    """Frame of every token, from the tokens there were before each frame [T] of [U + 1]."""
    before = torch.stack(origins).tolist()
    frames: list[int] = []
    position = len(before[0]) - 1
    for time in range(len(before) - 1, -1, -1):
        frames += [time] * (position - before[time][position])
        position = before[time][position]
    return frames[::-1]
