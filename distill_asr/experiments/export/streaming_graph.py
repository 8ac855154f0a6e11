"""The chunked encoder as a graph that goes on from caches, in forms of sherpa-onnx.

A transducer's is ``conformer``, that of a CTC student ``wenet_ctc``.

Legend: N streams, T feature frames handed over, C their width, F encoder frames of a chunk,
L blocks, M frames of left context, K frames a convolution sees, D width.
"""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from distill_asr.experiments.export.graphs import (
    Normalisation,
    prepare_blocks,
    relative_positions,
    with_products,
)

_SCALE = 2 * math.log(32768)  # of log energies, where samples are not brought to [-1, 1]
FLOOR = math.log(torch.finfo(torch.float32).eps)  # of those that are


@dataclass(frozen=True)
class StreamShape:
    """Sizes of a streaming encoder, as a runtime needs them.

    Parameters
    ----------
    chunk : F.
    left : M.
    window : T.
    step : feature frames by which it moves on.
    blocks, width, kernel : L, D, K.
    """

    chunk: int
    left: int
    window: int
    step: int
    blocks: int
    width: int
    kernel: int

    @classmethod
    def of(cls, encoder: nn.Module, chunk: int, left: int) -> StreamShape:
        """Sizes of a chunked encoder.

        Parameters
        ----------
        encoder : a ``ChunkedEncoder``.
        chunk : encoder frames of a chunk.
        left : encoder frames of left context.
        """
        factor = encoder.embed.subsampling_factor
        step = factor * chunk
        blocks = encoder.encoders.blocks
        return cls(
            chunk=chunk,
            left=left,
            window=step - factor + encoder.embed.min_frame_length,
            step=step,
            blocks=len(blocks),
            width=encoder.output_size(),
            kernel=blocks[0].conv_mod.kernel_size,
        )

    def metadata(self) -> dict[str, object]:
        """Under sherpa-onnx's names."""
        return {
            "model_type": "conformer",
            "num_encoder_layers": self.blocks,
            "T": self.window,
            "decode_chunk_len": self.step,
            "left_context": self.left,
            "encoder_dim": self.width,
            "pad_length": self.window - self.step,
            "cnn_module_kernel": self.kernel,
            "subsampling_factor": self.step // self.chunk,
        }

    def wenet_metadata(self, vocab_size: int) -> dict[str, object]:
        """Of the ``wenet_ctc`` form. One head holds the whole width, for any encoder."""
        return {
            "model_type": "wenet_ctc",
            "head": 1,
            "num_blocks": self.blocks,
            "output_size": self.width,
            "cnn_module_kernel": self.kernel,
            "right_context": self.window - self.step + self.step // self.chunk - 1,
            "subsampling_factor": self.step // self.chunk,
            "vocab_size": vocab_size,
        }

    def caches(self, streams: int = 1) -> tuple[Tensor, Tensor]:
        """Caches of streams before any audio: [L, M, N, D] and [L, K - 1, N, D]."""
        return (
            torch.zeros(self.blocks, self.left, streams, self.width),
            torch.zeros(self.blocks, self.kernel - 1, streams, self.width),
        )


class StreamingGraph(nn.Module):
    """Normalisation and encoder over one chunk of each stream.

    Parameters
    ----------
    student : one that streams, in evaluation mode; it is copied.
    shape : sizes.
    head : applied to the encoder's output.
    """

    def __init__(self, student: nn.Module, shape: StreamShape, head: nn.Module) -> None:
        super().__init__()
        self.normalise = Normalisation(student.normalize)
        self.encoder = with_products(copy.deepcopy(student.encoder))
        prepare_blocks(self.encoder)
        self.shape = shape
        self.head = copy.deepcopy(head)
        self.register_buffer("place", relative_positions(shape.chunk, shape.left, shape.width))

    def forward(
        self, x: Tensor, attention_cache: Tensor, convolution_cache: Tensor, processed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One chunk.

        Parameters
        ----------
        x : [N, T, C].
        attention_cache : [L, M, N, D].
        convolution_cache : [L, K - 1, N, D].
        processed : [N], feature frames before these. Not looked at: after an endpoint
            sherpa-onnx counts from 0 again and keeps the caches, as the sessions here do. Entries
            not filled yet are recognised by their zeros, which a layer norm never gives.

        Returns
        -------
        Output [N, F, J] and the new caches.
        """
        shape = self.shape
        frames = torch.full_like(processed, shape.window)
        hidden = self.encoder.embed(self.normalise(x, frames))[0]
        empty = (attention_cache[0] == 0.0).all(-1).transpose(0, 1)  # [N, M]
        own = torch.zeros(1, 1, dtype=torch.bool).expand(x.size(0), shape.chunk)
        mask = torch.cat([empty, own], dim=1)
        attended, convolved = [], []
        for number, block in enumerate(self.encoder.encoders.blocks):
            block.cache = [
                attention_cache[number].transpose(0, 1),
                convolution_cache[number].permute(1, 2, 0),
            ]
            hidden, _ = block.chunk_forward(hidden, self.place, mask, left_context=shape.left)
            attended.append(block.cache[0].transpose(0, 1))
            convolved.append(block.cache[1].permute(2, 0, 1))
            block.cache = None
        encoded = self.head(self.encoder.encoders.norm_blocks(hidden))
        return encoded, torch.stack(attended), torch.stack(convolved)


class WenetGraph(nn.Module):
    """A ``StreamingGraph`` with the inputs and outputs that sherpa-onnx's ``wenet_ctc`` has.

    That runtime computes features of samples times 32768, keeps keys and values where the blocks
    here keep one vector a frame (the second half stays zero), and gives a mask, which is not used.
    ``StreamingGraph`` explains how filled entries of the caches are recognised.
    """

    def __init__(self, graph: StreamingGraph) -> None:
        super().__init__()
        self.graph = graph

    def forward(
        self,
        x: Tensor,
        offset: Tensor,
        required_cache_size: Tensor,
        attention_cache: Tensor,
        convolution_cache: Tensor,
        attention_mask: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """One chunk of one stream.

        Parameters
        ----------
        x : [1, T, C].
        offset, required_cache_size : [1], encoder frames; not looked at.
        attention_cache : [L, 1, M, 2 D].
        convolution_cache : [L, 1, D, K - 1].
        attention_mask : [1, 1, M + F], bool; not looked at.

        Returns
        -------
        Log-probabilities [1, F, V] and the new caches.
        """
        width = self.graph.shape.width
        feats = (x - _SCALE).clamp(min=FLOOR)
        attended = attention_cache[..., :width].transpose(1, 2)
        convolved = convolution_cache.permute(0, 3, 1, 2)
        scores, attended, convolved = self.graph(feats, attended, convolved, offset)
        attended = nn.functional.pad(attended.transpose(1, 2), (0, width))
        # a runtime hands all inputs over: none may be missing in the file
        unseen = offset + required_cache_size + attention_mask.to(torch.int64).sum()
        scores = scores + 0.0 * unseen.to(scores.dtype)
        return scores, attended, convolved.permute(0, 2, 3, 1)
