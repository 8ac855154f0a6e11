"""Streaming Conformer: attention in chunks, causal convolutions, one model for every latency.

Legend: B batch, N feature frames, F their width, T encoder frames, D width, C frames of a chunk,
L frames of left context.
"""

from __future__ import annotations

import torch
from espnet2.asr.encoder.abs_encoder import AbsEncoder
from espnet2.asr_transducer.encoder.blocks.conv_input import ConvInput
from espnet2.asr_transducer.encoder.building import build_body_blocks, build_main_parameters
from espnet2.asr_transducer.encoder.modules.positional_encoding import RelPositionalEncoding
from espnet2.asr_transducer.utils import make_source_mask
from torch import Tensor

FULL_CONTEXT = 0  # chunk size that stands for the whole utterance


class ChunkedEncoder(AbsEncoder):
    """Conformer that reads chunk after chunk, made of the blocks of ``espnet2.asr_transducer``.

    A frame attends to its own chunk and to ``left_frames`` before it; convolutions look back only.
    Training draws the chunk size anew for every batch, full context among them (dynamic chunk
    training, arXiv 2012.05481), so one model serves any chunk size and whole utterances. An
    utterance gives the same numbers alone, in a padded batch, and chunk by chunk
    (``ChunkedStream``). ESPnet's own encoder of these blocks does not: its lengths ignore the
    subsampling, its chunks drop frames at both ends, and its left context must be whole chunks.

    Parameters
    ----------
    input_size : F.
    output_size : D.
    linear_units : hidden width of the feed-forward layers.
    num_blocks : Conformer blocks; their outputs are the taps ``encoder:1`` ...
    cnn_module_kernel : frames that a convolution sees, the current one included; odd.
    subsampling_factor : 2, 4 or 6 feature frames become one.
    conv_size : channels of the subsampling convolutions; D where not given.
    chunk_size : C outside training, 0 for full context; may be set on a trained encoder.
    left_frames : L, which bounds the memory of a stream. Without effect in full context.
    max_chunk : training draws C from 1 to this, evenly ...
    full_context_share : ... except in this share of the batches, which have full context.

    Raises
    ------
    ValueError : an argument is out of range; the message names it.
    """

    def __init__(
        self,
        input_size: int,
        output_size: int = 256,
        attention_heads: int = 4,
        linear_units: int = 1024,
        num_blocks: int = 12,
        cnn_module_kernel: int = 15,
        subsampling_factor: int = 4,
        conv_size: int | None = None,
        chunk_size: int = 8,
        left_frames: int = 64,
        max_chunk: int = 25,
        full_context_share: float = 0.5,
        dropout_rate: float = 0.1,
        positional_dropout_rate: float = 0.1,
        attention_dropout_rate: float = 0.0,
    ) -> None:
        super().__init__()
        _check_sizes(output_size, attention_heads, cnn_module_kernel, subsampling_factor)
        _check_chunks(chunk_size, left_frames, max_chunk, full_context_share)
        self.input_size, self.chunk_size, self.left_frames = input_size, chunk_size, left_frames
        self.max_chunk, self.full_context_share = max_chunk, full_context_share
        channels = conv_size or output_size
        self.embed = ConvInput(input_size, channels, subsampling_factor, False, output_size)
        self.pos_enc = RelPositionalEncoding(output_size, positional_dropout_rate)
        body = {
            "block_type": "conformer",
            "num_blocks": num_blocks,
            "hidden_size": output_size,
            "linear_size": linear_units,
            "heads": attention_heads,
            "conv_mod_kernel_size": cnn_module_kernel,
            "dropout_rate": dropout_rate,
            "pos_wise_dropout_rate": dropout_rate,
            "att_dropout_rate": attention_dropout_rate,
        }
        # to the builder "dynamic_chunk_training" means causal convolutions
        main = build_main_parameters(dynamic_chunk_training=True)
        self.encoders = build_body_blocks([body], main, output_size)

    def output_size(self) -> int:
        """D."""
        return self.embed.output_size

    def num_frames(self, frames: Tensor) -> Tensor:
        """[B] encoder frames of [B] feature frames."""
        once = (frames.to(torch.int64) - 3).div(2, rounding_mode="floor") + 1
        kernel, stride = self.embed.conv_kernel2, self.embed.conv_stride2
        return ((once - kernel).div(stride, rounding_mode="floor") + 1).clamp(min=0)

    def forward(
        self, xs_pad: Tensor, ilens: Tensor, prev_states: Tensor | None = None
    ) -> tuple[Tensor, Tensor, None]:
        """Encode whole utterances, chunks cut by a mask.

        Parameters
        ----------
        xs_pad : [B, N, F]; what lies beyond an utterance's length is never looked at.
        ilens : [B] feature frames.
        prev_states : ESPnet's argument, not used: a stream is a ``ChunkedStream``.

        Returns
        -------
        [B, T, D], [B] frames, None.

        Raises
        ------
        TooShortUttError : not one encoder frame in the whole batch.
        """
        lengths = self.num_frames(ilens)
        frames = int(lengths.max())
        if frames < 1:
            self._refuse(int(ilens.max()))
        hidden = self.embed(xs_pad)[0][:, :frames]
        chunk = self._draw_chunk() if self.training else self.chunk_size
        mask = None
        if chunk != FULL_CONTEXT:
            mask = chunk_mask(frames, chunk, self.left_frames, hidden.device)
        padding = make_source_mask(lengths)
        encoded = self.encoders(hidden, self.pos_enc(hidden), padding, chunk_mask=mask)
        return encoded, lengths, None

    def _draw_chunk(self) -> int:
        if torch.rand(()) < self.full_context_share:
            return FULL_CONTEXT
        return int(torch.randint(1, self.max_chunk + 1, ()))

    def _refuse(self, frames: int) -> None:
        # the exception that the rest of ESPnet, and its callers, catch
        from espnet.nets.pytorch_backend.transformer.subsampling import TooShortUttError

        least = self.embed.min_frame_length
        raise TooShortUttError(
            f"{frames} feature frames are too short for the encoder, which needs {least}",
            frames,
            least,
        )


class ChunkedStream:
    """The encoder over features that come in pieces; memory is bounded, however many there were.

    The state is here and not in the encoder, so one encoder serves many streams.

    Parameters
    ----------
    encoder : in evaluation mode.
    chunk_size : C; the encoder's own where not given.

    Raises
    ------
    ValueError : chunk size 0, since full context does not stream.
    """

    def __init__(self, encoder: ChunkedEncoder, chunk_size: int | None = None) -> None:
        self.chunk_size = encoder.chunk_size if chunk_size is None else chunk_size
        if self.chunk_size < 1:
            raise ValueError(f"chunk size {self.chunk_size}: a stream needs chunks of 1 or more")
        factor, self._window = encoder.embed.subsampling_factor, encoder.embed.min_frame_length
        self._step = factor * self.chunk_size  # feature frames from chunk to chunk ...
        self._needed = self._step - factor + self._window  # ... and those that make one
        self._encoder = encoder
        device = next(encoder.parameters()).device
        self._waiting = torch.zeros(1, 0, encoder.input_size, device=device)
        self._behind = 0  # encoder frames of left context, L at most
        self._caches = []
        for block in encoder.encoders.blocks:
            block.reset_streaming_cache(encoder.left_frames, device)
            self._caches.append(block.cache)
            block.cache = None

    @torch.inference_mode()
    def push(self, feats: Tensor, final: bool = False) -> list[Tensor]:
        """Take [1, N, F] features; give the chunks [1, C, D] that are complete by now.

        Parameters
        ----------
        feats : [1, N, F], the next features.
        final : nothing comes after these; the last chunk may be shorter.
        """
        chunks = []
        self._waiting = torch.cat([self._waiting, feats], dim=1)
        while self._waiting.size(1) >= self._needed:
            chunks.append(self._encode(self._waiting[:, : self._needed]))
            self._waiting = self._waiting[:, self._step :]
        if final and self._waiting.size(1) >= self._window:
            chunks.append(self._encode(self._waiting))
        self._waiting = self._waiting.clone()  # a view would keep all that was pushed
        return chunks

    def _encode(self, feats: Tensor) -> Tensor:
        encoder, left = self._encoder, self._encoder.left_frames
        hidden = encoder.embed(feats)[0]
        position = encoder.pos_enc(hidden, left_context=left)
        frames = hidden.size(1)
        # caches are as long as the left context from the start: hide what is not filled yet
        mask = torch.arange(left + frames, device=hidden.device) < left - self._behind
        for index, block in enumerate(encoder.encoders.blocks):
            block.cache = self._caches[index]
            hidden, _ = block.chunk_forward(hidden, position, mask[None], left_context=left)
            self._caches[index] = block.cache
            block.cache = None
        self._behind = min(left, self._behind + frames)
        return encoder.encoders.norm_blocks(hidden)


def chunk_mask(frames: int, chunk: int, left: int, device: torch.device | None = None) -> Tensor:
    """[T, T], True where frame (row) must not look at frame (column).

    Parameters
    ----------
    frames : T.
    chunk : C; chunks are counted from the first frame.
    left : frames before a chunk that all of it sees.
    device : of the mask.
    """
    position = torch.arange(frames, device=device)
    begin = (position // chunk * chunk)[:, None]
    return (position < begin - left) | (position >= begin + chunk)


def _check_sizes(width: int, heads: int, kernel: int, factor: int) -> None:
    if heads < 1 or width % heads or width % 2:
        raise ValueError(
            f"output_size: {width}, expected an even multiple of attention_heads ({heads})"
        )
    if kernel < 1 or kernel % 2 == 0:
        raise ValueError(f"cnn_module_kernel: {kernel}, expected an odd number")
    if factor not in (2, 4, 6):
        raise ValueError(f"subsampling_factor: {factor}, expected 2, 4 or 6")


def _check_chunks(chunk: int, left: int, longest: int, share: float) -> None:
    if chunk < 0:
        raise ValueError(f"chunk_size: {chunk}, expected frames, or 0 for full context")
    if left < 0:
        raise ValueError(f"left_frames: {left}, expected 0 or more")
    if longest < 1:
        raise ValueError(f"max_chunk: {longest}, expected 1 or more")
    if not 0 <= share <= 1:
        raise ValueError(f"full_context_share: {share}, expected between 0 and 1")
