"""Which utterance goes into which set."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from distill_asr.data.sources import AudioLocation
from distill_asr.io.audio import AudioFacts
from distill_asr.start.contract import Clip
from distill_asr.start.look import Recording, Seen
from distill_asr.start.splits import SplitOptions, split_clips


def spoken(minutes: dict[str, float]) -> list[Seen]:
    """Utterances of six seconds."""
    return [
        Seen(
            Clip(f"{name}{i}", AudioLocation("a.wav"), "t.csv", f"sentence {name} {i}", name),
            Recording(AudioFacts(96000, 16000, 1, "WAV", "PCM_16"), f"{name}{i}", False, False),
            6.0,
        )
        for name, share in minutes.items()
        for i in range(round(10 * share))
    ]


def test_one_speaker_with_nearly_all_audio_stays_in_train() -> None:
    split = split_clips(spoken({"anna": 21.4, "ben": 0.9, "carl": 1.4}), SplitOptions())
    voices = {name: {one.clip.speaker for one in seen} for name, seen in split.sets.items()}
    assert voices == {"train": {"anna"}, "dev": {"anna"}, "test": {"ben", "carl"}}
    assert any("dev is split by utterance" in one for one in split.warnings)


@given(st.lists(st.floats(0.2, 20), min_size=3, max_size=12))
def test_no_set_is_empty(minutes: list[float]) -> None:
    voices = {f"s{i}": share for i, share in enumerate(minutes)} | {"much": 3.0}
    split = split_clips(spoken(voices), SplitOptions())
    assert set(split.sets) == {"train", "dev", "test"} and all(split.sets.values())
    assert sum(map(len, split.sets.values())) == len(spoken(voices))
