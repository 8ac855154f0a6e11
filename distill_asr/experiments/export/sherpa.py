"""An export in sherpa-onnx."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

try:
    import sherpa_onnx
except ImportError:  # an extra
    sherpa_onnx = None

GREEDY, BEAM = "greedy_search", "modified_beam_search"


def installed() -> bool:
    """Whether sherpa-onnx can be imported."""
    return sherpa_onnx is not None


def wenet_chunks(stream: dict[str, int]) -> dict[str, int]:
    """Settings of a streaming CTC model that sherpa-onnx needs and no file holds."""
    chunk = stream["decode_chunk_len"] // stream["subsampling_factor"]
    return {"chunk_size": chunk, "num_left_chunks": stream["left_context"] // chunk}


class SherpaRecogniser:
    """Offline or online recogniser, whichever the export is for.

    Parameters
    ----------
    directory : of the export.
    facts : its ``export.json``.
    form : ``fp32``, or a smaller one that the export has.
    method : of the search.
    """

    def __init__(
        self,
        directory: Path,
        facts: dict[str, Any],
        form: str = "fp32",
        method: str = GREEDY,
        threads: int = 1,
    ) -> None:
        self.rate, self.tail = facts["sample_rate"], facts["tail_samples"]
        models = {
            name: str(directory / files.get(form, files["fp32"]))
            for name, files in facts["models"].items()
        }
        options: dict[str, Any] = {
            "tokens": str(directory / "tokens.txt"),
            "num_threads": threads,
            "feature_dim": facts["feature_dim"],
            "decoding_method": method,
        }
        self.online = facts["stream"] is not None
        if facts["kind"] == "streaming_ctc":
            options |= wenet_chunks(facts["stream"])
            self.recogniser = sherpa_onnx.OnlineRecognizer.from_wenet_ctc(**models, **options)
        elif self.online:
            self.recogniser = sherpa_onnx.OnlineRecognizer.from_transducer(**models, **options)
        elif facts["kind"] == "transducer":
            self.recogniser = sherpa_onnx.OfflineRecognizer.from_transducer(**models, **options)
        elif facts["feature_dim"] is None:
            del options["feature_dim"]  # it reads the waveform
            build = sherpa_onnx.OfflineRecognizer.from_omnilingual_asr_ctc
            self.recogniser = build(**models, **options)
        else:
            self.recogniser = sherpa_onnx.OfflineRecognizer.from_zipformer_ctc(**models, **options)

    def __call__(self, batch: Sequence[np.ndarray], piece: int | None = None) -> list[str]:
        """Texts of utterances [S], which are decoded together.

        Parameters
        ----------
        piece : samples handed over at a time to a stream; all of them where not given.
        """
        streams = [self.recogniser.create_stream() for _ in batch]
        if not self.online:
            for stream, samples in zip(streams, batch, strict=True):
                stream.accept_waveform(self.rate, samples)
            self.recogniser.decode_streams(streams)
            return [stream.result.text for stream in streams]
        tail = np.zeros(self.tail, np.float32)
        for stream, samples in zip(streams, batch, strict=True):
            samples = np.concatenate([samples, tail])
            for begin in range(0, len(samples), piece or len(samples)):
                stream.accept_waveform(self.rate, samples[begin : begin + (piece or len(samples))])
                if piece:
                    self._advance([stream])
            stream.input_finished()
        self._advance(streams)
        return [self._text(stream) for stream in streams]

    def _text(self, stream: Any) -> str:
        """The tokens in a row: the text of a stream that begins with ``<unk>`` lacks its ``<``."""
        return "".join(self.recogniser.tokens(stream)).replace("▁", " ").strip()

    def _advance(self, streams: Sequence[Any]) -> None:
        """Decode what is complete, all streams that are ready at a time."""
        while ready := [stream for stream in streams if self.recogniser.is_ready(stream)]:
            self.recogniser.decode_streams(ready)
