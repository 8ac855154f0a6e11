"""Recognise audio files with an exported student: ONNX Runtime, numpy and soundfile, no more.

This file is part of every export and needs nothing else of the toolkit that wrote it:

    pip install numpy onnxruntime soundfile
    python recognise.py test_wavs/*.wav

Each line printed has the file's name and its words. ``--form int8`` takes the small models.

Legend: S samples, T feature frames, C their width, F encoder frames, V vocabulary.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import soundfile

BLANK = 0
LOG_FLOOR = float(np.finfo(np.float32).eps)  # of a mel energy, below the logarithm


class Features:
    """Kaldi's log-mel features, as the student was trained with.

    Parameters
    ----------
    path : ``features.npz``.
    """

    def __init__(self, path: Path) -> None:
        with np.load(path) as stored:
            self.window, self.mel = stored["window"], stored["mel"]  # [W], [FFT / 2, C]
            self.options = json.loads(str(stored["options"]))

    def __call__(self, samples: np.ndarray) -> np.ndarray:
        """Samples [S] in [-1, 1] to features [T, C]."""
        frames = self._cut(samples.astype(np.float32) * np.float32(self.options["input_scale"]))
        if not len(frames):
            return np.zeros((0, self.mel.shape[1]), np.float32)
        if self.options["remove_dc_offset"]:
            frames = frames - frames.mean(-1, keepdims=True)
        if self.options["preemphasis"]:
            before = np.concatenate([frames[:, :1], frames[:, :-1]], axis=1)
            frames = frames - np.float32(self.options["preemphasis"]) * before
        spectrum = np.fft.rfft(frames * self.window, n=self.options["fft_size"])[:, :-1]
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        if not self.options["use_power"]:
            power = np.sqrt(power)
        energy = power.astype(np.float32) @ self.mel
        return np.log(np.maximum(energy, LOG_FLOOR)) if self.options["use_log"] else energy

    def _cut(self, samples: np.ndarray) -> np.ndarray:
        """Windows [T, W], the samples mirrored at both ends unless edges are snipped."""
        size, shift, count = len(self.window), self.options["shift"], len(samples)
        if self.options["snip_edges"]:
            first, number = 0, max(0, (count - size) // shift + 1)
        else:
            first, number = shift // 2 - size // 2, (count + shift // 2) // shift
        place = first + shift * np.arange(number)[:, None] + np.arange(size)
        if not number:
            return place[:0].astype(np.float32)
        place = place % (2 * count)
        return samples[np.where(place < count, place, 2 * count - 1 - place)]


class Recogniser:
    """An exported student.

    Parameters
    ----------
    directory : of the export.
    form : ``fp32``, or a smaller one where the export has it.
    threads : of ONNX Runtime.
    """

    def __init__(self, directory: str | Path, form: str = "fp32", threads: int = 1) -> None:
        self.directory = Path(directory)
        self.facts = json.loads((self.directory / "export.json").read_text(encoding="utf-8"))
        lines = (self.directory / "tokens.txt").read_text(encoding="utf-8").splitlines()
        self.tokens = [line.rsplit(" ", 1)[0] for line in lines]
        self.features = None  # the model reads the waveform
        if self.facts["feature_dim"] is not None:
            self.features = Features(self.directory / "features.npz")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = threads
        self.models = {}
        for name, files in self.facts["models"].items():
            path = self.directory / files.get(form, files["fp32"])
            self.models[name] = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )

    def __call__(self, samples: np.ndarray) -> str:
        """Samples [S] at the student's sampling rate to words."""
        return self.text(self.search(samples))

    def search(self, samples: np.ndarray) -> list[int]:
        """Samples [S] to tokens, by the best symbol everywhere."""
        tail = np.zeros(self.facts["tail_samples"], np.float32)  # of a stream, to fill a chunk
        feats = np.concatenate([samples, tail]).astype(np.float32)
        if self.features is not None:
            feats = self.features(feats)
        return getattr(self, f"_{self.facts['kind']}")(feats) if len(feats) else []

    def run(self, model: str, *inputs: np.ndarray) -> list[np.ndarray]:
        """Outputs of one model."""
        session = self.models[model]
        names = [one.name for one in session.get_inputs()]  # one on the waveform has no lengths
        return session.run(None, dict(zip(names, inputs, strict=False)))

    def text(self, tokens: list[int]) -> str:
        """Words of tokens, as sherpa-onnx writes them."""
        symbols = (self.tokens[token] for token in tokens)
        return "".join(symbols).replace("▁", " ").strip()

    def _ctc(self, feats: np.ndarray) -> list[int]:
        scores, *lengths = self.run("model", feats[None], np.array([len(feats)]))
        path = scores[0, : lengths[0][0] if lengths else None].argmax(-1)
        begins = np.flatnonzero(np.diff(path, prepend=-1))
        return [int(token) for token in path[begins] if token != BLANK]

    def _transducer(self, feats: np.ndarray) -> list[int]:
        encoded, lengths = self.run("encoder", feats[None], np.array([len(feats)]))
        return self.transduce(encoded[0, : lengths[0]])

    def _streaming_transducer(self, feats: np.ndarray) -> list[int]:
        chunks = list(self.chunks(feats))
        return self.transduce(np.concatenate(chunks)) if chunks else []

    def chunks(self, feats: np.ndarray) -> Any:
        """Encoder output [F, J] of each whole chunk of features [T, C], from caches to caches."""
        stream = self.facts["stream"]
        blocks, left, width = (stream[k] for k in ("num_encoder_layers", "left_context",
                                                   "encoder_dim"))  # fmt: skip
        attention = np.zeros((blocks, left, 1, width), np.float32)
        convolution = np.zeros((blocks, stream["cnn_module_kernel"] - 1, 1, width), np.float32)
        last = len(feats) - stream["T"]  # sherpa-onnx waits for one frame more
        for begin in range(0, last, stream["decode_chunk_len"]):
            piece = feats[None, begin : begin + stream["T"]]
            encoded, attention, convolution = self.run(
                "encoder", piece, attention, convolution, np.array([begin])
            )
            yield encoded[0]

    def transduce(self, encoded: np.ndarray) -> list[int]:
        """Tokens of frames [F, J]: one a frame at most, and unknown ones count as blank."""
        tokens: list[int] = []
        predicted = self.run("decoder", np.array([[BLANK]]))[0]
        for frame in encoded:
            best = int(self.run("joiner", frame[None], predicted)[0].argmax())
            if best not in (BLANK, self.facts["unk"]):
                tokens.append(best)
                predicted = self.run("decoder", np.array([[best]]))[0]
        return tokens

    def _cif_nar(self, feats: np.ndarray) -> list[int]:
        fired = self._fired(feats)
        if not len(fired):
            return []
        logits = self.run("decoder", fired[None], np.array([len(fired)]))[0][0]
        tokens = [_best_token(row) for row in logits]
        end = self.facts["cif"]["end"]
        return tokens[: tokens.index(end)] if end in tokens else tokens

    def _cif_ar(self, feats: np.ndarray) -> list[int]:
        cif, tokens = self.facts["cif"], []
        width, heads = cif["width"], cif["heads"]
        past = np.zeros((cif["layers"], 2, 1, heads, 0, width // heads), np.float32)
        previous = np.zeros((1, width), np.float32)
        for place, current in enumerate(self._fired(feats)[:, None]):
            last = np.array([tokens[-1] if tokens else cif["start"]])
            logits, past = self.run("decoder", last, previous, current, np.array([place]), past)
            if (best := _best_token(logits[0])) == cif["end"]:
                break
            tokens.append(best)
            previous = current
        return tokens

    def _fired(self, feats: np.ndarray) -> np.ndarray:
        frames, weights, lengths = self.run("encoder", feats[None], np.array([len(feats)]))
        limits = self.facts["cif"]["threshold"], self.facts["cif"]["tail_threshold"]
        return integrate_and_fire(frames[0, : lengths[0]], weights[0, : lengths[0]], *limits)


def integrate_and_fire(
    frames: np.ndarray, weights: np.ndarray, threshold: float, tail_threshold: float
) -> np.ndarray:
    """Frames [F, D] and their weights [F] to token vectors [U, D].

    A token ends ("fires") in the frame where its weight reaches the threshold; it is counted as 1,
    and what is left of the frame begins the next one. What is left at the end makes a token where
    it is more than ``tail_threshold``.
    """
    fired, total = [], 0.0
    begun = np.zeros(frames.shape[1])
    for frame, weight in zip(frames, weights.astype(np.float64), strict=True):
        before, total = total, total + weight
        if total + (1.0 - threshold) < len(fired) + 1:
            begun = begun + weight * frame
            continue
        fired.append(begun + (len(fired) + 1 - before) * frame)
        begun = (total - len(fired)) * frame
    left = total - len(fired)
    if left > tail_threshold + 1e-6:
        fired.append(begun / (left + 1e-10))
    return np.array(fired, np.float32).reshape(-1, frames.shape[1])


def _best_token(logits: np.ndarray) -> int:
    """The best of all tokens [V] but the blank, which is no token of a CIF student."""
    return 1 + int(logits[1:].argmax())  # the blank is token 0


def main() -> int:
    """Print the words of the files given."""
    parser = argparse.ArgumentParser(description="Recognise audio files.")
    parser.add_argument("audio", nargs="+", help="mono files of the student's sampling rate")
    parser.add_argument("--dir", default=Path(__file__).parent, help="of the export")
    parser.add_argument("--form", default="fp32", help="fp32, int8 or fp16, where it is there")
    options = parser.parse_args()
    recogniser = Recogniser(options.dir, options.form)
    for path in options.audio:
        samples, rate = soundfile.read(path, dtype="float32")
        if samples.ndim > 1 or rate != recogniser.facts["sample_rate"]:
            print(f"{path}: expected mono at {recogniser.facts['sample_rate']} Hz", file=sys.stderr)
            return 1
        print(path, recogniser(samples), sep="\t")
    return 0


if __name__ == "__main__":
    sys.exit(main())
