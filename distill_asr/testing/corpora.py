"""Little trees in the layout of distributed corpora: tones for speech, real words as text."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill_asr.io.audio import SAMPLE_RATE

LIBRISPEECH_PARTS = (
    "train-clean-100", "train-clean-360", "train-other-500",
    "dev-clean", "dev-other", "test-clean", "test-other",
)  # fmt: skip
ENGLISH = "THE OLD MAN SAT BY THE SEA AND DID NOT SAY WHAT HE HAD SEEN THERE ALL DAY LONG".split()
CHINESE = "而 对 楼市 成交 抑制 作用 最 大 的 限 购".split()


def write_librispeech(
    root: Path, parts: Sequence[str] = LIBRISPEECH_PARTS, speakers: int = 2, utterances: int = 2
) -> Path:
    """Write ``root/LibriSpeech`` and give it.

    Parameters
    ----------
    speakers : of each part, one chapter each; none is in two parts.
    utterances : of each speaker, 1.0 to 1.6 s.
    """
    corpus, rng = Path(root) / "LibriSpeech", np.random.default_rng(0)
    lines = [";ID  |SEX| SUBSET           |MINUTES| NAME"]
    for number, part in enumerate(parts):
        for index in range(speakers):
            speaker, chapter = str(100 + 10 * number + index), str(5000 + index)
            lines.append(f"{speaker}  | F | {part} | 25.03 | Reader |{speaker}|")
            folder = corpus / part / speaker / chapter
            folder.mkdir(parents=True)
            name, texts = f"{speaker}-{chapter}", []
            for utterance in range(utterances):
                key = f"{name}-{utterance:04d}"
                texts.append(f"{key} {' '.join(rng.choice(ENGLISH, 3))}\n")
                _write_tone(folder / f"{key}.flac", rng)
            (folder / f"{name}.trans.txt").write_text("".join(texts))
    (corpus / "SPEAKERS.TXT").write_text("\n".join(lines) + "\n")
    return corpus


def write_aishell(root: Path, speakers: int = 2, utterances: int = 2) -> Path:
    """Write ``root/data_aishell`` and give it.

    Parameters
    ----------
    root : a folder.
    speakers : of each of train, dev and test.
    utterances : of each speaker, 1.0 to 1.6 s.
    """
    corpus, rng = Path(root) / "data_aishell", np.random.default_rng(0)
    lines = []
    for first, name in ((2, "train"), (724, "dev"), (764, "test")):
        for number in range(first, first + speakers):
            folder = corpus / "wav" / name / f"S{number:04d}"
            folder.mkdir(parents=True)
            for utterance in range(utterances):
                key = f"BAC009{folder.name}W{utterance + 122:04d}"
                lines.append(f"{key} {' '.join(rng.choice(CHINESE, 3))}\n")
                _write_tone(folder / f"{key}.wav", rng)
    (corpus / "transcript").mkdir()
    transcripts = corpus / "transcript" / "aishell_transcript_v0.8.txt"
    transcripts.write_text("".join(lines), encoding="utf-8")
    return corpus


def _write_tone(path: Path, rng: np.random.Generator) -> None:
    import soundfile

    time = np.arange(int(SAMPLE_RATE * rng.uniform(1.0, 1.6))) / SAMPLE_RATE
    tone = 0.2 * np.sin(2 * np.pi * rng.uniform(100, 2000) * time)
    soundfile.write(path, tone + rng.normal(0, 0.02, len(time)), SAMPLE_RATE, subtype="PCM_16")
