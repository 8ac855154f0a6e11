"""Small trees in the layout of the packages and collections that ``corpus human`` reads.

``python -m distill_asr.testing.human DIR`` also writes tiny random models, for a recipe's smoke.
"""

from __future__ import annotations

import gzip
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import soundfile

from distill_asr.testing.speech_models import save_speech_model
from distill_asr.testing.text_models import save_text_model

_RATE = 16000
_LANGUAGES = ("ru", "es")
_WORDS = {
    "ru": "мама мыла раму утром вечером дома снова быстро тихо громко".split(),
    "es": "la casa roja tiene una puerta muy grande y vieja".split(),
}


def noise(seconds: float, seed: int, rate: int = _RATE) -> np.ndarray:
    """Quiet noise, float32 [N].

    Parameters
    ----------
    seconds : duration.
    seed : same seed, same noise.
    rate : Hz.
    """
    rng = np.random.default_rng(seed)
    return rng.normal(0, 0.1, round(seconds * rate)).clip(-1, 1).astype(np.float32)


def _sentence(language: str, number: int) -> str:
    """A sentence of its own for each number below 1000."""
    words = _WORDS[language]
    digits = f"{number:03d}"
    return " ".join(words[int(digit)] for digit in digits) + f" {words[number % 7]}."


def write_sound(path: Path, samples: np.ndarray, rate: int = _RATE) -> None:
    """Write a file of the format its name ends with.

    Parameters
    ----------
    path : the file; its folder is made.
    samples : [N], or [N, channels].
    rate : Hz.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate)


def write_g722(path: Path, samples: np.ndarray) -> None:
    """Write raw G.722 of 64 kbit/s.

    Parameters
    ----------
    path : the file; its folder is made.
    samples : [N] of 16 kHz, from -1 to 1.
    """
    import av

    path.parent.mkdir(parents=True, exist_ok=True)
    with av.open(str(path), "w", format="g722") as container:
        stream = container.add_stream("g722", rate=_RATE, layout="mono", format="s16")
        integers = (samples * 32767).astype(np.int16)[None]
        frame = av.AudioFrame.from_ndarray(integers, format="s16", layout="mono")
        frame.sample_rate = _RATE
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            container.mux(packet)


def write_festvox(root: Path, sentences: int = 40, seconds: float = 1.5) -> Path:
    """Write festvox-ru, one reader, below ``root``; give the voice's folder.

    Parameters
    ----------
    root : folder of the unpacked packages.
    sentences : how many.
    seconds : duration of each.
    """
    voice = root / "festvox-ru/usr/share/festival/voices/russian/msu_ru_nsh_clunits"
    lines = []
    for number in range(sentences):
        write_sound(voice / f"wav/ru_{number:04d}.wav", noise(seconds, number))
        lines.append(f'( ru_{number:04d} "{_sentence("ru", number).replace("а", "+а", 1)}" )\n')
    (voice / "etc").mkdir()
    (voice / "etc/txt.done.data").write_text("".join(lines), encoding="utf-8")
    return voice


def write_stamps(root: Path, stamps: int = 12) -> Path:
    """Write tuxpaint-stamps-default below ``root``; give the stamps' folder.

    The phrases are the same in two languages; some are in stereo, one is silent.

    Parameters
    ----------
    root : folder of the unpacked packages.
    stamps : how many, 1 s each.
    """
    folder = root / "tuxpaint-stamps-default/usr/share/tuxpaint/stamps/animals"
    folder.mkdir(parents=True)
    for number in range(stamps):
        texts = [f"A stamp {number}."]
        for language in _LANGUAGES:
            texts.append(f"{language}.utf8={_sentence(language, 500 + number)}")
            sound = noise(1.0, 100 + number, 44100) * (0 if number == 0 else 1)
            stereo = np.stack([sound, sound], axis=1) if number % 2 else sound
            write_sound(folder / f"stamp{number}_desc_{language}.ogg", stereo, 44100)
        (folder / f"stamp{number}.txt").write_text("\n".join(texts) + "\n", encoding="utf-8")
    return folder


def write_prompts(root: Path, language: str, prompts: int = 12) -> Path:
    """Write asterisk-core-sounds-LANGUAGE and its G.722 below ``root``; give the voice's folder.

    Parameters
    ----------
    root : folder of the unpacked packages.
    language : ``ru`` or ``es``.
    prompts : sentences, 1 s each; silence, a digit and an empty file come on top.
    """
    name = f"asterisk-core-sounds-{language}"
    lines = [f"p{n}: {_sentence(language, 700 + n)}\n" for n in range(prompts)]
    lines += ["silence/1: [one second of silence]\n", "digits/1: 1\n"]
    table = root / name / f"usr/share/doc/{name}/core-sounds-{language}.txt.gz"
    table.parent.mkdir(parents=True)
    table.write_bytes(gzip.compress("".join(lines).encode()))
    voice = root / f"{name}-g722/usr/share/asterisk/sounds/{language}_f_Somebody"
    for number in range(prompts):
        write_g722(voice / f"p{number}.g722", noise(1.0, 200 + number))
    write_g722(voice / "silence/1.g722", np.zeros(_RATE, dtype=np.float32))
    write_g722(voice / "digits/1.g722", noise(1.0, 299))
    (voice / "empty.g722").write_bytes(b"")
    return voice


def write_gcompris(root: Path, languages: Iterable[str] = _LANGUAGES, words: int = 6) -> Path:
    """Write voices of GCompris with a table of texts, and a link as git leaves it; give ``root``.

    Parameters
    ----------
    root : folder of the voices.
    languages : ``ru``, ``es`` or both.
    words : of each language, at most 10, 1 s each.
    """
    rows = ["path\tlang\tkind\tseconds\ttext"]
    for language in languages:
        for number in range(words):
            write_sound(root / language / f"words/w{number}.ogg", noise(1.0, 300 + number))
            text = f"{_WORDS[language][number]} {_WORDS[language][9 - number]}"
            rows.append(f"{language}/words/w{number}.ogg\t{language}\twords\t1.0\t{text}")
        write_sound(root / language / "alphabet/U0061.ogg", noise(0.5, 398))
        write_sound(root / language / "intro/play.ogg", noise(1.2, 399))
        (root / language / "intro/again.ogg").write_text("play.ogg")
    (root / "texts.tsv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    return root


def write_packages(root: Path) -> Path:
    """All packages that a test needs."""
    write_festvox(root)
    write_stamps(root)
    for language in _LANGUAGES:
        write_prompts(root, language)
    return root


def _main(folder: str) -> None:
    """Packages, voices and two tiny models under the names of Whisper-base and e5-small."""
    root = Path(folder)
    write_packages(root / "packages")
    write_gcompris(root / "gcompris")
    speech = root / "models/whisper-base"
    save_speech_model(speech, "whisper", encoder_layers=6, max_source_positions=600)
    text = root / "models/multilingual-e5-small"
    save_text_model(text, "xlm-roberta", num_hidden_layers=12)


if __name__ == "__main__":
    _main(sys.argv[1])
