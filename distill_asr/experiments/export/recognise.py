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
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import soundfile

BLANK = 0
INT16 = np.float32(2 * np.log(32768))  # of log energies, if samples are not brought to [-1, 1]
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
        self.features: Any = None  # the model reads the waveform
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
        return self.best_path(scores[0, : lengths[0][0] if lengths else None])

    def best_path(self, scores: np.ndarray) -> list[int]:
        """Tokens of frames [F, V], runs of the same one made one."""
        path = scores.argmax(-1)
        begins = np.flatnonzero(np.diff(path, prepend=-1))
        return [int(token) for token in path[begins] if token != BLANK]

    def _transducer(self, feats: np.ndarray) -> list[int]:
        encoded, lengths = self.run("encoder", feats[None], np.array([len(feats)]))
        search = Search(self)
        search.advance(encoded[0, : lengths[0]])
        return search.tokens

    def _streaming_transducer(self, feats: np.ndarray) -> list[int]:
        stream = Stream(self)
        stream.take(feats)
        return stream.search.tokens

    _streaming_ctc = _streaming_transducer

    def chunks(self, feats: np.ndarray) -> Iterator[np.ndarray]:
        """Output [F, ...] of each whole chunk of features [T, C], from caches to caches."""
        return Stream(self).encode(feats)

    def _cif_nar(self, feats: np.ndarray) -> list[int]:
        fired = self._fired(feats)
        if not len(fired):
            return []
        logits = self.run("decoder", fired[None], np.array([len(fired)]))[0][0]
        tokens = [_best_token(row) for row in logits]
        end = self.facts["cif"]["end"]
        return tokens[: tokens.index(end)] if end in tokens else tokens

    def _cif_ar(self, feats: np.ndarray) -> list[int]:
        cif, tokens = self.facts["cif"], list[int]()
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


class Search:
    """The best symbol of each frame, for audio that goes on.

    Attributes
    ----------
    tokens, frames : since ``reset``; and in which frame each came out.
    time : frames there were.
    """

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser, self.time = recogniser, 0
        self.transduces = "joiner" in recogniser.models
        self.reset()

    def reset(self) -> None:
        """Forget the tokens, and what follows from them."""
        self.tokens: list[int] = []
        self.frames: list[int] = []
        self._last = BLANK
        shape = self.recogniser.facts["states"]  # of an LSTM predictor
        self._states = [] if shape is None else [np.zeros(shape, np.float32)] * 2
        self._predicted: Any = self._predict(BLANK) if self.transduces else None

    def advance(self, output: np.ndarray) -> None:
        """Take frames: encoder output [F, J] of a transducer, scores [F, V] of CTC."""
        for frame in output:
            token = self._transduce(frame) if self.transduces else self._spell(frame)
            if token is not None:
                self.tokens.append(token)
                self.frames.append(self.time)
            self.time += 1

    def _transduce(self, frame: np.ndarray) -> int | None:
        """One token a frame at most, and unknown ones count as blank."""
        best = int(self.recogniser.run("joiner", frame[None], self._predicted)[0].argmax())
        if best in (BLANK, self.recogniser.facts["unk"]):
            return None
        self._predicted = self._predict(best)
        return best

    def _spell(self, scores: np.ndarray) -> int | None:
        best, last = int(scores.argmax()), self._last
        self._last = best
        return None if best in (BLANK, last) else best

    def _predict(self, token: int) -> np.ndarray:
        last = np.array([[token]])
        predicted, *self._states = self.recogniser.run("decoder", last, *self._states)
        return predicted


class Stream:
    """Audio that comes in pieces of any length.

    Parameters
    ----------
    recogniser : of an export that streams.

    Attributes
    ----------
    search : has the tokens.
    """

    def __init__(self, recogniser: Recogniser) -> None:
        self.recogniser, self.shape = recogniser, recogniser.facts["stream"]
        self.search = Search(recogniser)
        self._audio = np.zeros(0, np.float32)
        self._given = 0  # frames of the audio kept that were given already
        self._waiting: list[np.ndarray] = []  # features [C]
        sizes = self.shape
        width, kept = sizes["encoder_dim"], sizes["cnn_module_kernel"] - 1
        blocks, left = sizes["num_encoder_layers"], sizes["left_context"]
        self._caches = [np.zeros((blocks, left, 1, width), np.float32),
                        np.zeros((blocks, kept, 1, width), np.float32)]  # fmt: skip
        if not self.search.transduces:  # sherpa-onnx's wenet_ctc has others
            self._caches = [np.zeros((blocks, 1, left, 2 * width), np.float32),
                            np.zeros((blocks, 1, width, kept), np.float32)]  # fmt: skip

    def push(self, samples: np.ndarray) -> None:
        """Take samples [S]."""
        features = self.recogniser.features
        shift, size = features.options["shift"], len(features.window)
        snip = features.options["snip_edges"]
        self._audio = np.concatenate([self._audio, samples.astype(np.float32)])
        reach = size if snip else shift // 2 - size // 2 + size
        complete = (len(self._audio) - reach) // shift + 1
        if complete <= self._given:
            return
        self.take(features(self._audio)[self._given : complete])
        passed = max(0, complete - (0 if snip else -(-size // shift)))
        self._audio, self._given = self._audio[passed * shift :], complete - passed

    def finish(self) -> None:
        """The audio is over: silence fills the last chunk."""
        self.push(np.zeros(self.recogniser.facts["tail_samples"], np.float32))
        self.take(self.recogniser.features(self._audio)[self._given :])

    def take(self, feats: np.ndarray) -> None:
        """Take features [T, C] and search what is complete."""
        for output in self.encode(feats):
            self.search.advance(output)

    def encode(self, feats: np.ndarray) -> Iterator[np.ndarray]:
        """Output [F, ...] of each chunk that features [T, C] complete."""
        self._waiting += list(feats)
        while len(self._waiting) > self.shape["T"]:  # sherpa-onnx waits for one frame more
            window = np.stack(self._waiting[: self.shape["T"]])[None]
            del self._waiting[: self.shape["decode_chunk_len"]]
            output, *self._caches = self._run(window)
            yield output[0]

    def _run(self, window: np.ndarray) -> list[np.ndarray]:
        if self.search.transduces:
            return self.recogniser.run("encoder", window, *self._caches, np.zeros(1, np.int64))
        left = self.shape["left_context"]
        chunk = self.shape["decode_chunk_len"] // self.shape["subsampling_factor"]
        seen = np.ones((1, 1, left + chunk), bool)
        size = np.array([left])
        return self.recogniser.run("model", window + INT16, size, size, *self._caches, seen)


def integrate_and_fire(
    frames: np.ndarray, weights: np.ndarray, threshold: float, tail_threshold: float
) -> np.ndarray:
    """``frames`` [F, D] and their ``weights`` [F] to token vectors [U, D] (arXiv 1905.11235).

    A token ends ("fires") in the frame where its weight reaches ``threshold``; it is counted as 1,
    and what is left of the frame begins the next one. What is left at the end makes a token where
    it is more than ``tail_threshold``.
    """
    fired: list[np.ndarray] = []
    total = 0.0
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
    """The best of all tokens [V] but the blank, which a CIF student never emits."""
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
