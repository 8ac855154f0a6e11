"""Kaldi's log-mel features, batched: the numbers of kaldi-native-fbank, for ESPnet students.

Legend: B batch, N samples, T frames, W samples of a window, F points of the spectrum, M mel bins.
"""

import math
from collections.abc import Callable

import numpy as np
import torch
import torchaudio.compliance.kaldi as kaldi
from espnet2.asr.frontend.abs_frontend import AbsFrontend
from torch import Tensor

WINDOWS: dict[str, Callable[[int], Tensor]] = {
    "povey": lambda n: _double(torch.hann_window, n).pow(0.85),
    "hanning": lambda n: _double(torch.hann_window, n),
    "hann": lambda n: torch.hann_window(n, periodic=True, dtype=torch.float64),
    "hamming": lambda n: _double(torch.hamming_window, n),
    "blackman": lambda n: _double(torch.blackman_window, n),
    "sine": lambda n: torch.sin(torch.arange(n, dtype=torch.float64) * math.pi / (n - 1)),
    "rectangular": lambda n: torch.ones(n, dtype=torch.float64),
}
LOG_FLOOR = torch.finfo(torch.float32).eps  # Kaldi's floor of a mel energy, below the logarithm


class KaldiFbank(AbsFrontend):
    """Log-mel filterbank features equal to those of kaldi-native-fbank.

    The defaults are the convention of icefall and sherpa-onnx, so a student trained on these
    features runs there unchanged. Samples are taken as ESPnet gives them, in [-1, 1]; set
    ``input_scale: 32768`` for models made for Kaldi's own 16-bit range.

    Parameters
    ----------
    fs : sampling rate in Hz.
    n_mels : mel bins.
    frame_length, frame_shift : of a window, in ms.
    low_freq, high_freq : edges of the lowest and highest bin in Hz; a ``high_freq`` of 0 or less
        counts from half the sampling rate.
    preemphasis : coefficient, 0 turns it off.
    remove_dc_offset : subtract each window's mean.
    window : one of ``WINDOWS``.
    round_to_power_of_two : pad windows with zeros to the next power of two before the FFT.
    snip_edges : True keeps only windows that lie inside the utterance; False gives one frame per
        shift, the utterance mirrored at its two ends.
    use_log, use_power : logarithm of the mel energies; power or magnitude spectrum.
    dither : standard deviation of noise added to each window, in units of the scaled samples, in
        training mode only.
    input_scale : factor on the samples before anything else.

    Raises
    ------
    ValueError : an option is out of range; the message names it.

    Notes
    -----
    The features have no energy column, hence no energy floor. Mel energies are floored at the
    epsilon of float32, as in Kaldi. All is computed in float32 under any autocast or model dtype.
    """

    def __init__(
        self,
        fs: int = 16000,
        n_mels: int = 80,
        frame_length: float = 25.0,
        frame_shift: float = 10.0,
        low_freq: float = 20.0,
        high_freq: float = -400.0,
        preemphasis: float = 0.97,
        remove_dc_offset: bool = True,
        window: str = "povey",
        round_to_power_of_two: bool = True,
        snip_edges: bool = False,
        use_log: bool = True,
        use_power: bool = True,
        dither: float = 0.0,
        input_scale: float = 1.0,
    ) -> None:
        super().__init__()
        self.window_size, self.shift = _samples(fs, frame_length), _samples(fs, frame_shift)
        self.fft_size = _fft_size(self.window_size, self.shift, round_to_power_of_two)
        self.preemphasis = _at_least_zero("preemphasis", preemphasis)
        self.remove_dc_offset = remove_dc_offset
        self.snip_edges = snip_edges
        self.use_log, self.use_power = use_log, use_power
        self.dither = _at_least_zero("dither", dither)
        self.input_scale = input_scale
        # Not buffers: nothing of this belongs into a checkpoint, and casting the model to half
        # precision must not round it.
        weights = (
            _window(window, self.window_size),
            _mel_matrix(fs, n_mels, self.fft_size, low_freq, high_freq),
        )
        self._weights = {torch.device("cpu"): weights}
        self.n_mels = n_mels

    def output_size(self) -> int:
        """Width of a frame."""
        return self.n_mels

    def forward(self, input: Tensor, input_lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Turn waveforms into features.

        Parameters
        ----------
        input : [B, N] samples; what lies beyond an utterance's length is never looked at.
        input_lengths : [B] samples.

        Returns
        -------
        [B, T, M] features in the dtype of ``input``, zero beyond the length; [B] frames. An
        utterance too short for a frame has 0.
        """
        self._check(input, input_lengths)
        lengths = self.num_frames(input_lengths)
        n_frames = int(lengths.max()) if lengths.numel() else 0
        if n_frames == 0:
            return input.new_zeros(len(input), 0, self.n_mels), lengths
        with torch.autocast(input.device.type, enabled=False):
            waves = input.float() * self.input_scale
            feats = self._features(self._cut(waves, input_lengths, n_frames))
        padding = torch.arange(n_frames, device=feats.device) >= lengths[:, None]  # [B, T]
        return feats.masked_fill(padding[..., None], 0.0).to(input.dtype), lengths

    @property
    def weights(self) -> tuple[Tensor, Tensor]:
        """Window [W] and mel matrix [F, M], on the CPU."""
        return self._weights[torch.device("cpu")]

    def num_frames(self, samples: Tensor) -> Tensor:
        """[B] frames of utterances with [B] ``samples``."""
        samples = samples.long()
        if self.snip_edges:
            return torch.clamp((samples - self.window_size) // self.shift + 1, min=0)
        return (samples + self.shift // 2) // self.shift

    def _check(self, input: Tensor, lengths: Tensor) -> None:
        if input.dim() != 2 or lengths.shape != input.shape[:1]:
            raise ValueError(
                f"KaldiFbank takes single-channel audio [B, N] with lengths [B], "
                f"found {list(input.shape)} and {list(lengths.shape)}"
            )
        if lengths.numel() and int(lengths.max()) > input.shape[1]:
            raise ValueError(f"a length of {int(lengths.max())} in {input.shape[1]} samples")

    def _cut(self, waves: Tensor, lengths: Tensor, n_frames: int) -> Tensor:
        """[B, N] waveforms to [B, T, W] windows (a view)."""
        reach = (n_frames - 1) * self.shift + self.window_size
        if self.snip_edges:
            return waves[:, :reach].unfold(1, self.window_size, self.shift)
        first = self.shift // 2 - self.window_size // 2
        position = torch.arange(first, first + reach, device=waves.device)
        # ... 1 0 | 0 1 2 | 2 1 0 | 0 1 ...: mirrored at both ends, again and again where an
        # utterance is shorter than what a window reaches over them
        length = lengths.long().clamp(min=1)[:, None]
        position = torch.where(position < 0, -1 - position, position)
        if int(length.min()) < self.window_size:  # divisions of all positions take long
            position = position % (2 * length)
        mirrored = torch.minimum(position, 2 * length - 1 - position).clamp(min=0)
        return waves.gather(1, mirrored).unfold(1, self.window_size, self.shift)

    def _features(self, frames: Tensor) -> Tensor:
        """[B, T, W] windows to [B, T, M] features."""
        window, mel = self._weights_on(frames.device)
        if self.training and self.dither > 0:
            frames = frames + self.dither * torch.randn_like(frames)
        if self.remove_dc_offset:
            frames = frames - frames.mean(-1, keepdim=True)
        if self.preemphasis > 0:
            before = torch.cat([frames[..., :1], frames[..., :-1]], dim=-1)
            frames = frames - self.preemphasis * before
        spectrum = torch.fft.rfft(frames * window, n=self.fft_size)[..., :-1]  # [B, T, F]
        power = spectrum.real.square() + spectrum.imag.square()
        energy = (power if self.use_power else power.sqrt()) @ mel
        return energy.clamp(min=LOG_FLOOR).log() if self.use_log else energy

    def _weights_on(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Window [W] and mel matrix [F, M] on a device, moved there once."""
        if device not in self._weights:
            window, mel = self._weights[torch.device("cpu")]
            self._weights[device] = (window.to(device), mel.to(device))
        return self._weights[device]


def _samples(fs: int, ms: float) -> int:
    # in float32 and cut, as kaldi-native-fbank does: some rates differ by one sample otherwise
    samples = int(np.float32(fs) * np.float32(0.001) * np.float32(ms))
    if samples < 2:
        raise ValueError(f"{ms} ms at {fs} Hz are {samples} samples, expected 2 or more")
    return samples


def _fft_size(window_size: int, shift: int, round_to_power_of_two: bool) -> int:
    if shift > window_size:
        raise ValueError(
            f"frame_shift ({shift} samples) is longer than frame_length ({window_size} samples)"
        )
    size = 1 << (window_size - 1).bit_length() if round_to_power_of_two else window_size
    if size % 2:
        raise ValueError(
            f"a window of {size} samples is odd; change frame_length or set round_to_power_of_two"
        )
    return size


def _window(name: str, size: int) -> Tensor:
    if name not in WINDOWS:
        raise ValueError(f"window: {name!r} is unknown, expected one of {', '.join(WINDOWS)}")
    return WINDOWS[name](size).float()


def _double(window: Callable[..., Tensor], size: int) -> Tensor:
    return window(size, periodic=False, dtype=torch.float64)


def _mel_matrix(fs: int, n_mels: int, fft_size: int, low: float, high: float) -> Tensor:
    """[F, M] weights, without the point at half the sampling rate, which Kaldi leaves out."""
    top = high if high > 0 else fs / 2 + high
    if not 0 <= low < top <= fs / 2 or n_mels < 4:
        raise ValueError(
            f"low_freq={low}, high_freq={high} (= {top} Hz), n_mels={n_mels}: expected "
            f"0 <= low < high <= {fs / 2} Hz and 4 mel bins or more"
        )
    bins, _ = kaldi.get_mel_banks(n_mels, fft_size, fs, low, high, 100.0, -500.0, 1.0)
    empty = int((bins.sum(1) == 0).sum())
    if empty:
        raise ValueError(
            f"n_mels={n_mels} leaves {empty} mel bins without a point of the {fft_size}-point "
            f"spectrum; use fewer bins or a longer frame_length"
        )
    return bins.T.contiguous()


def _at_least_zero(name: str, value: float) -> float:
    if value < 0:
        raise ValueError(f"{name}={value}, expected 0 or more")
    return value
