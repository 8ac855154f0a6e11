"""A recipe's experiments as trainings and decodings leave them, without either."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import soundfile
import yaml

_WORDS = "the old cat sat on a mat and saw two dogs run far away from it".split()
HOSTILE = "</script><script>document.title='broken'</script>"
SYSTEMS = {"baseline": 0.3, "one_teacher": 0.22, "two_teachers": 0.15}
_HEAD = "2026-01-02 03:04:05,678 (trainer:394) INFO: "


def make_experiments(
    folder: Path, utterances: int = 60, seeds: tuple[int, ...] = (1, 2, 3), audio: bool = True
) -> None:
    """Write ``dump/`` with two test sets and ``exp/`` with three systems and a stage 1.

    The first utterance of each set is hostile.

    Parameters
    ----------
    folder : the recipe's folder, in which ``dump``, ``exp`` and ``wav`` are made.
    utterances : of each test set; 8 speakers share them.
    seeds : of each system; only decodings of seed 1 hold the tokens' times.
    audio : also write the sets' audio, 1 s an utterance.
    """
    rng = np.random.default_rng(1)
    for name, harder in (("test_clean", 1.0), ("test_noisy", 1.6)):
        texts = {
            f"spk{i % 8}-{i:05d}": " ".join(rng.choice(_WORDS, size=rng.integers(3, 12)))
            for i in range(utterances)
        }
        texts[next(iter(texts))] = f"the {HOSTILE} sat"
        data = folder / "dump" / name
        write_table(data / "text", texts)
        write_table(data / "utt2spk", {utt: utt.split("-")[0] for utt in texts})
        write_table(data / "utt2num_samples", dict.fromkeys(texts, 16000))
        if audio:
            _write_audio(folder / "wav" / name, data, list(texts), rng)
        for system, rate in SYSTEMS.items():
            for seed in seeds:
                exp = folder / "exp" / f"{system}_seed{seed}"
                if not exp.exists():
                    _write_training(exp, seed, system, rng)
                wrong = rate * harder * np.exp(rng.normal(0, 0.06))
                _write_decoding(exp / "decode" / name, texts, wrong, rng, timed=seed == 1)
    _write_training(folder / "exp" / "pretrain_two_seed1", 1, "pretrain", rng)


def write_table(path: Path, rows: Mapping[str, object]) -> None:
    """Write a Kaldi table, in the order given.

    Parameters
    ----------
    path : the file; its folder is made.
    rows : values by key, one line each.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{k} {v}\n" for k, v in rows.items()), encoding="utf-8")


def _write_audio(
    wav: Path, data: Path, utterances: Sequence[str], rng: np.random.Generator
) -> None:
    """A second each, a quarter of it silent; named from the recipe's folder."""
    wav.mkdir(parents=True)
    paths = {utt: wav.relative_to(data.parent.parent) / f"{utt}.wav" for utt in utterances}
    write_table(data / "wav.scp", paths)
    time = np.arange(16000)
    for i, utt in enumerate(utterances):
        tone = 0.3 * np.sin(time / (20 + i)) * (time > 4000)
        noise = rng.normal(0, 0.002 * (1 + i % 9), 16000)
        soundfile.write(wav / f"{utt}.wav", tone + noise, 16000)


def _write_training(exp: Path, seed: int, system: str, rng: np.random.Generator) -> None:
    """What a training leaves."""
    exp.mkdir(parents=True)
    distill = {"hubert": {"teacher": "hubert", "tap": "encoder", "loss": "l1"}}
    config = {"seed": seed, **({} if system == "baseline" else {"distill": distill})}
    (exp / "train.yaml").write_text(yaml.safe_dump({"config": config, "train": ["dump/train"]}))
    (exp / "done.json").write_text(json.dumps({"fingerprint": "0123456789abcdef"}))
    (exp / "valid.loss.ave.pth").write_bytes(bytes(123_456))
    lines = [
        _HEAD + f"/venv/bin/python /venv/bin/distill-asr train --config a.yaml --output {exp}",
        _HEAD + "pytorch.version=2.12.1+cpu, cuda.available=False",
        "    Total Number of model parameters: 1.16 M",
    ]
    for epoch in range(1, 21):
        loss = 3 * np.exp(-epoch / 6) + SYSTEMS.get(system, 0.2) + rng.normal(0, 0.02)
        taught = "" if system == "baseline" else f"distill/hubert={loss / 3:.3f}, "
        lines.append(
            f"{_HEAD}{epoch}epoch results: [train] iter_time=0.01, {taught}loss={loss:.3f}, "
            f"loss_ctc=nan, loss_scale=1.000, time=1 minute and 2.50 seconds, total_count=9, "
            f"[valid] {taught}loss={loss * 1.1:.3f}, cer_ctc={loss / 4:.3f}, time=1.5 seconds, "
            "total_count=3"
        )
    (exp / "train.log").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _spoilt(text: str, rate: float, rng: np.random.Generator) -> str:
    """A text with errors."""
    found = []
    for word in text.split():
        kind = rng.random() / rate
        if kind < 0.25:
            continue
        found.append(word if kind > 1 else str(rng.choice(_WORDS)))
        if 0.25 < kind < 0.35:
            found.append(str(rng.choice(_WORDS)))
    return " ".join(found)


def _write_decoding(
    out: Path, texts: dict[str, str], rate: float, rng: np.random.Generator, timed: bool
) -> None:
    """What ``decode`` leaves."""
    found = {utt: _spoilt(text, rate, rng) for utt, text in texts.items()}
    write_table(out / "text", found)
    (out / "decode.json").write_text(
        json.dumps({"method": "beam", "beam_size": 4, "utterances": len(texts)})
    )
    times = {"test_clean": 6.0, "test_noisy": 6.0}
    (out.parent.parent / "decode_seconds.json").write_text(json.dumps(times))
    if timed:
        rows = [
            {"utt": utt, "step_ms": 40.0, "nbest": [{"text": text, "tokens": text.split(),
             "frames": [3 * i for i, _ in enumerate(text.split())]}]}
            for utt, text in found.items()
        ]  # fmt: skip
        (out / "nbest.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
