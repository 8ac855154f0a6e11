"""A little Common Voice: three Tamil clips in each split, MP3 as in the true one."""

from pathlib import Path

import numpy as np

from distill_asr.corpora.commonvoice import SETS

_HEADER = "client_id\tpath\tsentence\tup_votes\tdown_votes\tage\tgender\taccents\tlocale\tsegment"
NEWER = "client_id\tpath\tsentence_id\tsentence\tsentence_domain\tup_votes\tlocale\tsegment"
SENTENCES = ["வணக்கம், உலகம்!", "நன்றி", '"மழை" வருகிறது.']
SECONDS = [0.5, 1.0, 1.5]


def write_clip(path: Path, seconds: float, seed: int) -> None:
    """Write noise of 32 kHz as MP3.

    Parameters
    ----------
    path : the file; its folder is made.
    seconds : duration.
    seed : same seed, same noise.
    """
    import soundfile

    path.parent.mkdir(parents=True, exist_ok=True)
    samples = np.random.default_rng(seed).normal(0, 0.1, int(32000 * seconds))
    soundfile.write(path, samples, 32000, format="MP3")


def write_language(folder: Path, newer: bool = False) -> Path:
    """Write a language's folder: three clips in each split, the longer the later, two speakers.

    Parameters
    ----------
    newer : with the columns of later releases.
    """
    for number, split in enumerate(SETS):
        lines = [NEWER if newer else _HEADER]
        for place, (sentence, seconds) in enumerate(zip(SENTENCES, SECONDS, strict=True)):
            name = f"common_voice_ta_{10 * number + place}.mp3"
            write_clip(folder / "clips" / name, seconds, 10 * number + place)
            client = f"{split}{place % 2}" * 16
            if newer:
                lines.append(f"{client}\t{name}\tabc{place}\t{sentence}\t\t2\tta\t")
            else:
                lines.append(f"{client}\t{name}\t{sentence}\t2\t0\t\t\t\tta\t")
        (folder / f"{split}.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
