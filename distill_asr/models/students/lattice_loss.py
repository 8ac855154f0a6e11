"""The transducer loss on a CPU: torchaudio's numbers, bit for bit, in a fraction of its time.

torchaudio's kernel allocates memory for every logit that it looks at, computes gradients in
validation too, and uses one core. Here the same sums are made in the same order (its
``rnnt/cpu/cpu_kernels.h``, the fused softmax), compiled by numba, an utterance a thread.

Legend: B batch, T frames, U tokens, V vocabulary.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch

F = np.float32  # every sum is rounded to it, as there
_SIGNATURE = (
    "void(float32[:,:,::1], int32[::1], int64, int64, float32[::1], float32[:,:,::1], boolean)"
)


class LatticeLoss(torch.autograd.Function):
    """Negative log-likelihood of each utterance; the gradient is found with it, where it is wanted.

    Called as ``apply(logits, labels, frames, tokens, blank)`` with logits float32 [B, T, U + 1, V],
    labels int32 [B, U] and lengths int32 [B] on the CPU; gives float32 [B].
    """

    @staticmethod
    def forward(ctx, logits, labels, frames, tokens, blank):
        """Compute the losses [B] in nats; see the class for the arguments after ``ctx``."""
        wanted = ctx.needs_input_grad[0]
        losses = logits.new_empty(len(logits))
        gradients = torch.zeros_like(logits) if wanted else logits.new_empty(len(logits), 0, 0, 0)
        arrays = [tensor.detach().contiguous().numpy() for tensor in (logits, labels)]
        fill, found = compiled(), (losses.numpy(), gradients.numpy())

        def one(row: int) -> None:
            size = (int(frames[row]), int(tokens[row]) + 1)
            fill(
                arrays[0][row, : size[0]], arrays[1][row, : size[1] - 1], size[1], blank,
                found[0][row : row + 1], found[1][row], wanted,
            )  # fmt: skip

        threads = min(torch.get_num_threads(), len(logits))
        if threads == 1:
            for row in range(len(logits)):
                one(row)
        else:
            with ThreadPoolExecutor(threads) as pool:
                list(pool.map(one, range(len(logits))))
        ctx.save_for_backward(gradients)
        return losses

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_output):
        """Gradient of the logits [B, T, U + 1, V], for ``grad_output`` [B], that of the losses."""
        (gradients,) = ctx.saved_tensors
        return gradients * grad_output.view(-1, 1, 1, 1), None, None, None, None


@functools.cache
def compiled() -> Callable[..., None]:
    """``fill`` as machine code, kept on disk for the next process where numba finds a place."""
    import numba  # a second of start-up, which only a training on a CPU pays

    numba.extending.register_jitable(_log_add)
    numba.extending.register_jitable(_forward)
    numba.extending.register_jitable(_backward)
    numba.extending.register_jitable(_gradients)
    options = {"nogil": True, "error_model": "numpy"}
    try:
        return numba.njit(_SIGNATURE, cache=True, **options)(fill)
    except RuntimeError:  # neither this package nor the user's cache can be written to
        return numba.njit(_SIGNATURE, **options)(fill)


def fill(logits, labels, positions, blank, loss, gradients, wanted):
    """Loss and gradients of one utterance.

    Parameters
    ----------
    logits : [T, at least U + 1, V].
    labels : [U].
    positions : U + 1.
    blank : id of the blank.
    loss : [1], written.
    gradients : [at least T, at least U + 1, V], zeros, written where ``wanted``.
    """
    frames, vocabulary = logits.shape[0], logits.shape[2]
    norm = np.empty((frames, positions), F)
    skip = np.empty((frames, positions), F)
    emit = np.empty((frames, positions), F)
    for t in range(frames):
        for u in range(positions):
            row = logits[t, u]
            top = row[0]
            for v in range(1, vocabulary):
                if row[v] > top:
                    top = row[v]
            total = F(0)
            for v in range(vocabulary):
                total = total + F(math.exp(row[v] - top))
            norm[t, u] = top + F(math.log(total))
            skip[t, u] = row[blank] - norm[t, u]
            if u < positions - 1:
                emit[t, u] = row[labels[u]] - norm[t, u]
    beta = _backward(skip, emit)
    loss[0] = -beta[0, 0]
    if wanted:
        _gradients(logits, labels, blank, norm, _forward(skip, emit), beta, gradients)


def _log_add(x, y):
    if y > x:
        return y + F(math.log1p(F(math.exp(x - y))))
    return x + F(math.log1p(F(math.exp(y - x))))


def _forward(skip, emit):
    """Log-probabilities [T, U + 1] of all paths to a node."""
    frames, positions = skip.shape
    alpha = np.empty((frames, positions), F)
    alpha[0, 0] = F(0)
    for t in range(1, frames):
        alpha[t, 0] = alpha[t - 1, 0] + skip[t - 1, 0]
    for u in range(1, positions):
        alpha[0, u] = alpha[0, u - 1] + emit[0, u - 1]
    for t in range(1, frames):
        for u in range(1, positions):
            alpha[t, u] = _log_add(
                alpha[t - 1, u] + skip[t - 1, u], alpha[t, u - 1] + emit[t, u - 1]
            )
    return alpha


def _backward(skip, emit):
    """Log-probabilities [T, U + 1] of all paths from a node."""
    frames, positions = skip.shape
    beta = np.empty((frames, positions), F)
    beta[frames - 1, positions - 1] = skip[frames - 1, positions - 1]
    for t in range(frames - 2, -1, -1):
        beta[t, positions - 1] = beta[t + 1, positions - 1] + skip[t, positions - 1]
    for u in range(positions - 2, -1, -1):
        beta[frames - 1, u] = beta[frames - 1, u + 1] + emit[frames - 1, u]
    for t in range(frames - 2, -1, -1):
        for u in range(positions - 2, -1, -1):
            beta[t, u] = _log_add(beta[t + 1, u] + skip[t, u], beta[t, u + 1] + emit[t, u])
    return beta


def _gradients(logits, labels, blank, norm, alpha, beta, gradients):
    """Of the loss with respect to the logits."""
    frames, positions = norm.shape
    loss = -beta[0, 0]
    for t in range(frames):
        for u in range(positions):
            row, out = logits[t, u], gradients[t, u]
            shift, onward = alpha[t, u] + loss - norm[t, u], beta[t, u]
            for v in range(row.size):
                out[v] = F(math.exp(row[v] + shift + onward))
            by_blank = t < frames - 1
            if by_blank:
                out[blank] -= F(math.exp(row[blank] + shift + beta[t + 1, u]))
            elif u == positions - 1:
                out[blank] -= F(math.exp(row[blank] + shift))
            if u < positions - 1 and not (by_blank and labels[u] == blank):
                label = labels[u]
                out[label] -= F(math.exp(row[label] + shift + beta[t, u + 1]))
