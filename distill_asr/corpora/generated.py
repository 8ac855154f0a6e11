"""Writing a generated corpus: one Kaldi-style directory per set, each finished or absent."""

import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from distill_asr.corpora.contract import CorpusSet
from distill_asr.errors import UserError
from distill_asr.io.parallel import parallel_map

SAMPLING_RATE = 16000  # Hz, of everything that is generated
_MANIFEST = "manifest.json"  # lies only in a finished set


@dataclass(frozen=True)
class Planned:
    """One utterance that is to be rendered.

    ``plan`` is what the corpus' ``render`` function needs (picklable); it decides every
    sample, so that the order and the number of workers do not matter.
    """

    utterance: str
    speaker: str
    text: str
    plan: Any


def speaker_name(voice: str) -> str:
    """A Kaldi speaker id without hyphens, so that sorting by utterance also sorts by speaker."""
    return "".join(char if char.isascii() and char.isalnum() else "_" for char in voice)


def build_set(
    out: Path,
    name: str,
    planned: Sequence[Planned],
    render: Callable[[Planned], np.ndarray],
    settings: dict[str, Any],
    *,
    labelled: bool = True,
    nj: int = 1,
) -> CorpusSet:
    """Render one set into ``out/name``; keep the set that is there if it has these settings.

    Parameters
    ----------
    out : the data directory; paths in wav.scp start with it, exactly as given.
    planned : the utterances.
    render : a module-level function, utterance -> float ``[N]`` at 16 kHz in [-1, 1].
    settings : everything that decides the content (JSON); compared with the finished set's.
    labelled : write a ``text`` file.
    nj : worker processes.

    Returns
    -------
    The content of its manifest, without settings and voices.

    Raises
    ------
    UserError : ``out/name`` exists and was not made by this function.
    """
    target = out / name
    wanted = json.loads(json.dumps(settings))
    found = _read_manifest(target)
    if found is not None and found["settings"] == wanted:
        return _facts(found)
    out.mkdir(parents=True, exist_ok=True)
    for killed in out.glob(f".{name}.*.tmp"):
        shutil.rmtree(killed)
    temporary = Path(tempfile.mkdtemp(prefix=f".{name}.", suffix=".tmp", dir=out))
    try:
        temporary.chmod(0o755)
        (temporary / "wav").mkdir()
        planned = sorted(planned, key=lambda one: one.utterance)
        work = partial(_render_one, render, temporary / "wav")
        counts = parallel_map(work, planned, nj, name)
        manifest = _summary(planned, counts, wanted, labelled)
        _write_files(temporary, target, planned, counts, labelled)
        (temporary / _MANIFEST).write_text(
            json.dumps(manifest, indent=1, ensure_ascii=False) + "\n"
        )
        if target.exists():
            shutil.rmtree(target)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return _facts(manifest)


def _facts(manifest: dict[str, Any]) -> CorpusSet:
    return CorpusSet(
        utterances=manifest["utterances"],
        speakers=len(manifest["voices"]),
        labelled=manifest["labelled"],
        minutes=manifest["minutes"],
    )


def _read_manifest(target: Path) -> dict[str, Any] | None:
    if not target.exists():
        return None
    path = target / _MANIFEST
    if not path.is_file():
        raise UserError(
            f"{target} exists, but has no {_MANIFEST}, so this command did not make it and will "
            "not overwrite it; move it away or choose another --out"
        )
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        _facts(manifest)
        manifest["settings"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise UserError(
            f"{path}: damaged or cut short ({error}); remove {target}, and run the same command "
            "again"
        ) from error
    return manifest


def _render_one(render: Callable[[Planned], np.ndarray], folder: Path, one: Planned) -> int:
    import soundfile

    samples = np.asarray(render(one))
    peak = float(np.max(np.abs(samples), initial=0.0))
    if not len(samples) or not np.isfinite(peak) or peak > 1.0:
        raise RuntimeError(f"{one.utterance}: {len(samples)} samples with peak {peak}")
    integers = np.round(samples * 32767.0).astype(np.int16)
    soundfile.write(folder / f"{one.utterance}.wav", integers, SAMPLING_RATE, subtype="PCM_16")
    return len(integers)


def _summary(
    planned: Sequence[Planned], counts: Sequence[int], settings: dict[str, Any], labelled: bool
) -> dict[str, Any]:
    return {
        "utterances": len(planned),
        "minutes": round(sum(counts) / SAMPLING_RATE / 60, 3),
        "labelled": labelled,
        "words": len({word for one in planned for word in one.text.split()}) if labelled else None,
        "voices": dict(sorted(Counter(one.speaker for one in planned).items())),
        "settings": settings,
    }


def _write_files(
    folder: Path, target: Path, planned: Sequence[Planned], counts: Sequence[int], labelled: bool
) -> None:
    speakers: dict[str, list[str]] = {}
    for one in planned:
        speakers.setdefault(one.speaker, []).append(one.utterance)
    files = {
        "wav.scp": [f"{one.utterance} {target / 'wav' / one.utterance}.wav" for one in planned],
        "utt2spk": [f"{one.utterance} {one.speaker}" for one in planned],
        "spk2utt": [f"{name} {' '.join(speakers[name])}" for name in sorted(speakers)],
        "utt2num_samples": [f"{o.utterance} {n}" for o, n in zip(planned, counts, strict=True)],
    }
    if labelled:
        files["text"] = [f"{one.utterance} {one.text}" for one in planned]
    for name, lines in files.items():
        (folder / name).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
