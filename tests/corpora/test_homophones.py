"""The corpus of homophones: what is in which set, what the teacher reads, what sounds alike."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("babel")
from distill_asr.corpora import homophones, mini
from distill_asr.corpora.homophones import PAIRS, SETS, TOPICS, plan_texts, write_text
from distill_asr.corpora.synthesis import synthesise

TOPIC_OF = {word: topic for topic in TOPICS for word in TOPICS[topic].split()} | {
    word: topic for topic in TOPICS for word in homophones.homophones(topic)
}


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    return plan_texts(SETS, 0)


def written(
    path: Path, texts: dict[str, list[str]], sentences: int = 12000
) -> dict[str, list[str]]:
    write_text(path, SETS, texts, sentences, 0)
    files = ("train", "dev", "choices")
    return {name: (path / "text" / f"{name}.txt").read_text().splitlines() for name in files}


def test_no_sentence_occurs_twice(texts: dict[str, list[str]]) -> None:
    every = [text for name in SETS for text in texts[name]]
    assert len(set(every)) == len(every) == sum(plan.utterances for plan in SETS.values())


def test_the_same_seed_gives_the_same_texts(texts: dict[str, list[str]]) -> None:
    assert plan_texts(SETS, 0) == texts
    assert plan_texts(SETS, 1)["train"] != texts["train"]


def test_every_word_of_the_test_was_heard(texts: dict[str, list[str]]) -> None:
    heard = {word for text in texts["train"] for word in text.split()}
    assert heard == set(homophones.vocabulary())
    assert {word for text in texts["test"] for word in text.split()} <= heard


def test_a_sentence_keeps_to_its_topic(texts: dict[str, list[str]]) -> None:
    for text in texts["test"]:
        words = text.split()
        content = [word for word in words if word in TOPIC_OF]
        assert len({TOPIC_OF[word] for word in content}) == 1, text
        assert len(set(content)) == len(content) >= 2, text


def test_the_text_has_no_sentence_of_dev_or_test(
    tmp_path: Path, texts: dict[str, list[str]]
) -> None:
    text = written(tmp_path, texts)
    read = [*text["train"], *text["dev"]]
    assert len(set(read)) == len(read)
    assert not set(read) & {*texts["test"], *texts["dev"]}
    assert len(text["train"]) == 12000 >= 10 * len(set(texts["train"]))
    assert text["choices"] == [f"{one} {other}" for _, one, _, other in PAIRS]


def test_a_word_has_one_topic_and_one_homophone() -> None:
    spelled = [word for _, one, _, other in PAIRS for word in (one, other)]
    assert len(set(spelled)) == len(spelled)
    plain = [word for words in TOPICS.values() for word in words.split()]
    assert len({*plain, *spelled}) == len(plain) + len(spelled)
    assert all(one != other and {one, other} <= set(TOPICS) for one, _, other, _ in PAIRS)


def test_homophones_sound_the_same_in_every_accent() -> None:
    pytest.importorskip("espeakng_loader")
    voices = {*mini.STUDENT_VOICES, *mini.DEV_VOICES, *mini.TEST_VOICES}
    for accent in sorted({voice.partition("+")[0] for voice in voices}):
        for _, one, _, other in PAIRS:
            first, second = (
                synthesise(f"is the {word} near the house", accent)[0] for word in (one, other)
            )
            assert np.array_equal(first, second), f"{accent}: {one}, {other}"


def test_sets_are_spoken(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    built = homophones.build(tmp_path, sets=homophones.shrunk(2), sentences=20)
    assert {name: one.utterances for name, one in built.sets.items()} == dict.fromkeys(SETS, 2)
    assert len((tmp_path / "text" / "train.txt").read_text().splitlines()) == 20
    before = (tmp_path / "train" / "text").read_text()
    homophones.build(tmp_path, sets=homophones.shrunk(2), sentences=20)
    assert (tmp_path / "train" / "text").read_text() == before
