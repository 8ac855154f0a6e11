"""The corpus of facts: what is in which set, and what a text teacher may read."""

from pathlib import Path

import pytest

pytest.importorskip("babel")
from distill_asr.data import facts
from distill_asr.data.facts import SETS, every_sentence, plan_texts, write_text


@pytest.fixture(scope="module")
def texts() -> dict[str, list[str]]:
    return plan_texts(SETS, 0)


def written(path: Path, texts: dict[str, list[str]], sentences: int = 6000) -> dict[str, list[str]]:
    write_text(path, SETS, texts, sentences, 0)
    files = ("train", "dev", "answers")
    return {name: (path / "text" / f"{name}.txt").read_text().splitlines() for name in files}


def test_sentences_of_distinct_sets_occur_once(texts: dict[str, list[str]]) -> None:
    apart = [*texts["dev"], *texts["test"]]
    assert len(set(apart)) == len(apart) == 400
    assert not set(apart) & set(texts["train"])
    assert {len(texts[name]) for name in ("train", "test")} == {300}


def test_the_same_seed_gives_the_same_texts(texts: dict[str, list[str]]) -> None:
    assert plan_texts(SETS, 0) == texts
    assert plan_texts(SETS, 1)["train"] != texts["train"]


def test_most_words_of_the_test_were_heard(texts: dict[str, list[str]]) -> None:
    heard = {word for text in texts["train"] for word in text.split()}
    said = " ".join(texts["test"]).split()
    assert sum(word not in heard for word in said) < 0.03 * len(said)


def test_the_text_has_the_facts_of_the_test_but_not_its_sentences(
    tmp_path: Path, texts: dict[str, list[str]]
) -> None:
    text = written(tmp_path, texts)
    read = set(text["train"])
    assert not (read | set(text["dev"])) & set(texts["test"] + texts["dev"])
    assert not read & set(text["dev"])
    assert len(text["train"]) >= 10 * len(texts["train"])
    known = [f for f in facts.facts() if any(f.sentence(p) in read for p in f.patterns)]
    assert len(known) > 0.99 * len(facts.facts())
    assert set(text["answers"]) == {fact.answer for fact in facts.facts()}


def test_a_fact_has_one_answer() -> None:
    for patterns in (facts.SPOKEN, facts.PAID):
        places = [fact.place for fact in facts.facts() if fact.patterns == patterns]
        assert len(set(places)) == len(places)
    assert all(word.isascii() and word.islower() for text in every_sentence() for word in [text])
    assert set(facts.vocabulary()) == {word for text in every_sentence() for word in text.split()}


def test_sets_are_spoken(tmp_path: Path) -> None:
    pytest.importorskip("espeakng_loader")
    built = facts.build(tmp_path, sets=facts.shrunk(2), sentences=20)
    assert {name: one["utterances"] for name, one in built.items()} == dict.fromkeys(SETS, 2)
    assert len((tmp_path / "text" / "train.txt").read_text().splitlines()) == 20
    before = (tmp_path / "train" / "text").read_text()
    facts.build(tmp_path, sets=facts.shrunk(2), sentences=20)
    assert (tmp_path / "train" / "text").read_text() == before
