"""An exported student listening, in ONNX Runtime: no PyTorch, no ESPnet."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from distill_asr.decode.recognised import Recognised
from distill_asr.errors import UserError
from distill_asr.experiments.export.directory import altered_files
from distill_asr.experiments.export.recognise import Recogniser, Stream

_FACTS = "export.json"


class OnnxSession:
    """Audio in, hypotheses out, as ``StreamingSession`` gives them.

    One token a frame at most comes out, and ``<unk>`` counts as blank, as in sherpa-onnx.

    Parameters
    ----------
    recogniser : see ``open_export``; many sessions may share one.
    endpoint : a segment ends when no token came out for this many seconds; None: only at the end.
    """

    def __init__(self, recogniser: Recogniser, endpoint: float | None = 0.8) -> None:
        self._recogniser, self._stream = recogniser, Stream(recogniser)
        self._rate, self._endpoint, self._samples = recogniser.facts["sample_rate"], endpoint, 0
        sizes, shift = recogniser.facts["stream"], recogniser.features.options["shift"]
        self._step = sizes["subsampling_factor"] * shift / self._rate  # seconds of a frame
        self._chunk = sizes["decode_chunk_len"] * shift  # a piece completes one chunk at most

    def push(self, samples: np.ndarray) -> list[Recognised]:
        """Take more audio [n] in [-1, 1]; return every change of the hypothesis."""
        results = []
        for begin in range(0, len(samples), self._chunk):
            piece = samples[begin : begin + self._chunk]
            self._samples += len(piece)
            known = len(self._stream.search.tokens)
            self._stream.push(piece)
            results += self._changes(known)
        return results

    def finish(self) -> list[Recognised]:
        """The audio is over: what it still holds, and the last segment as final."""
        known = len(self._stream.search.tokens)
        self._stream.finish()
        results = self._changes(known)
        return results + ([self._close()] if self._stream.search.tokens else [])

    def _changes(self, known: int) -> list[Recognised]:
        search = self._stream.search
        results = [self._recognised(final=False)] if len(search.tokens) > known else []
        if search.tokens and self._endpoint is not None:
            silence = (search.time - search.frames[-1] - 1) * self._step
            if silence >= self._endpoint:
                results.append(self._close())
        return results

    def _close(self) -> Recognised:
        """The open segment as final; the next one begins without its tokens."""
        result = self._recognised(final=True)
        self._stream.search.reset()
        return result

    def _recognised(self, final: bool) -> Recognised:
        search = self._stream.search
        times = [frame * self._step for frame in search.frames]
        text = self._recogniser.text(search.tokens)
        return Recognised(text, list(search.tokens), times, self._samples / self._rate, final)


def open_export(directory: str | Path, form: str = "fp32") -> Recogniser:
    """What sessions listen with.

    Parameters
    ----------
    directory : an export made for streaming.
    form : ``fp32``, or one that the export was quantised to.

    Raises
    ------
    UserError : no export, one that does not stream, or one without that form.
    """
    file = Path(directory) / _FACTS
    if not file.is_file():
        raise UserError(
            f"{file}: no such file; --runtime onnx needs a directory that "
            "`distill-asr export --streaming` made, given by --exp"
        )
    if problems := altered_files(Path(directory)):
        raise UserError(problems)
    try:
        recogniser = Recogniser(directory, form)
    except Exception as error:  # ONNX Runtime has errors of its own for each kind of damage
        raise UserError(f"{directory}: cannot be loaded ({error}); export it again") from error
    facts = recogniser.facts
    if facts["stream"] is None:
        raise UserError(f"{directory}: recognises whole utterances; export with --streaming")
    if form != "fp32" and not any(form in files for files in facts["models"].values()):
        raise UserError(
            f"--form {form}: {directory} has no such model; export with --quantize {form}"
        )
    return recogniser
