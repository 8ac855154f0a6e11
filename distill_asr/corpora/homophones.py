"""An embedded English corpus of homophones, which only the rest of a sentence distinguishes.

Each sentence keeps to one topic and has words of it that sound like words of another: the sail of
the harbour and the sale of the office. espeak-ng speaks both alike to the sample, in every voice
here, so a recogniser must learn which words go together. A few transcripts show little of that,
and much text shows all of it, as with the homophones of Chinese. A text teacher can therefore
help. See ``mini`` for the voices, the noise and the set plans.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from distill_asr.corpora import mini
from distill_asr.corpora.contract import Built, Corpus
from distill_asr.corpora.mini import Conditions, MiniOptions, SetPlan
from distill_asr.io.files import write_text_atomic

_VERSION = 1  # of the recipe below; a change makes existing sets stale
TEXT_SENTENCES = 12000
TEXT_DEV_SENTENCES = 300
TEXT_SET = "text"

TOPICS = {
    "castle": "castle king queen prince sword soldier crown palace duke army princess",
    "church": "church priest chapel bishop prayer monk sermon temple pilgrim abbey wedding",
    "farm": "farm farmer barn cattle sheep pig fence stable hay tractor shepherd",
    "garden": "garden gardener leaf soil spade bush lawn seed hedge blossom pond",
    "harbour": "harbour captain boat anchor sailor wave beach coast lighthouse fisherman island",
    "hospital": "hospital doctor nurse patient bone skin stomach surgeon shoulder knee wound",
    "house": "house door window room roof floor wall carpet curtain chimney lamp",
    "kitchen": "kitchen cook butter oven recipe spoon sugar chef bowl plate pepper",
    "music": "music piano violin singer drum orchestra melody guitar concert trumpet flute",
    "office": "office bank manager market price customer clerk shop bill lawyer invoice",
    "road": "road driver car highway engine ticket passenger truck station traffic bridge",
    "weather": "weather storm cloud wind thunder sky winter forecast snow fog lightning",
}
PAIRS = tuple(
    # a topic, its word, another topic, its word of the same sound
    line.split()
    for line in """
castle heir weather air
castle knight weather night
castle peer harbour pier
castle reign weather rain
castle son weather sun
castle tale farm tail
church bell castle belle
church canon castle cannon
church fair road fare
church nave castle knave
church soul harbour sole
church symbol music cymbal
church veil garden vale
farm bale office bail
farm doe kitchen dough
farm ewe garden yew
farm hare hospital hair
farm moose kitchen mousse
farm plain road plane
farm yoke kitchen yolk
garden beet music beat
garden flower kitchen flour
garden scent office cent
garden stake kitchen steak
harbour current kitchen currant
harbour mussel hospital muscle
harbour quay house key
harbour sail office sale
hospital flu house flue
hospital gait house gate
hospital male office mail
hospital pain house pane
hospital toe road tow
hospital vein weather vane
house cellar office seller
house leak kitchen leek
house suite kitchen sweet
music bass castle base
music lute castle loot
office break road brake
""".strip().splitlines()
)
# SAME is a word with a homophone, WORD one without; all of a sentence are of its topic
PATTERNS = (
    "the WORD and the SAME were near the WORD",
    "we saw the SAME beside the WORD",
    "the SAME was behind the WORD and the SAME",
    "my WORD asked about the SAME",
    "look at the WORD and the SAME",
    "they wrote about a SAME and a WORD",
    "is the SAME near the WORD or the SAME",
    "nobody wants the SAME without the WORD",
    "the WORD has a SAME and a SAME",
    "this SAME belongs to the WORD",
)

_NOISY = Conditions(snr=(15, 30), noisy=1.0)
SETS = {
    "train": SetPlan(1000, mini.TEACHER_VOICES, _NOISY),
    "dev": SetPlan(120, mini.DEV_VOICES, _NOISY, distinct=True),
    "test": SetPlan(300, mini.TEST_VOICES, _NOISY, distinct=True),
}


class Homophones(Corpus[MiniOptions]):
    """The embedded corpus of homophones."""

    summary = "Synthetic English with homophones that only the rest of a sentence tells apart."
    needs = "nothing"
    options = MiniOptions

    def build(self, out: Path, options: MiniOptions) -> Built:
        """Write ``out/{train,dev,test}``, and ``out/text`` for a text teacher."""
        sets = shrunk(options.utterances) if options.utterances else None
        built = build(out, options.seed, sets, nj=options.nj)
        words = f"{len(PAIRS)} pairs of homophones, vocabulary: {len(vocabulary())} words"
        return replace(built, remarks=(words,))


def build(
    out: Path,
    seed: int = 0,
    sets: dict[str, SetPlan] | None = None,
    sentences: int = TEXT_SENTENCES,
    nj: int = 1,
) -> Built:
    """Build every set that is not there yet, and the text.

    ``out/text/train.txt`` holds sentences for a text teacher, a line each, ``out/text/dev.txt``
    others to measure it with, ``out/text/choices.txt`` the homophones, a pair a line. No sentence
    of a distinct set is in any of them.

    Parameters
    ----------
    out : data directory.
    seed : decides texts, voices, styles and noise.
    sets : another plan than ``SETS``.
    sentences : lines of text to train a teacher with.
    nj : worker processes; the result does not depend on it.
    """
    sets = SETS if sets is None else sets
    texts = plan_texts(sets, seed)
    write_text(out, sets, texts, sentences, seed)
    return mini.build_sets(
        out, {"corpus": "homophones", "version": _VERSION}, sets, texts, seed, nj
    )


def plan_texts(sets: dict[str, SetPlan], seed: int) -> dict[str, list[str]]:
    """Draw the sentences of each set; none occurs twice.

    Parameters
    ----------
    sets : plans by name.
    seed : of the corpus.
    """
    return mini.plan_texts(sets, seed, drawn, repeats=False)


def write_text(
    out: Path, sets: dict[str, SetPlan], texts: dict[str, list[str]], sentences: int, seed: int
) -> None:
    """Write the text files, sentences of the distinct sets and repetitions left out.

    Parameters
    ----------
    out : data directory; the files go to ``out/text``.
    sets : plans by name.
    texts : sentences of the sets, by name.
    sentences : lines of ``train.txt``; ``dev.txt`` comes on top.
    seed : of the corpus.
    """
    known = {text for name in sets if sets[name].distinct for text in texts[name]}
    fresh = drawn(mini.generator(TEXT_SET, seed))
    lines: list[str] = []
    while len(lines) < sentences + TEXT_DEV_SENTENCES:
        if (text := next(fresh)) not in known:
            known.add(text)
            lines.append(text)
    files = {
        "train": lines[TEXT_DEV_SENTENCES:],
        "dev": lines[:TEXT_DEV_SENTENCES],
        "choices": [f"{one} {other}" for _, one, _, other in PAIRS],
    }
    for name, chosen in files.items():
        write_text_atomic(out / "text" / f"{name}.txt", "".join(f"{line}\n" for line in chosen))


def drawn(rng: np.random.Generator) -> Iterator[str]:
    """An endless series of sentences.

    No pattern, topic or word again before all had their turn, so that few utterances have most
    words.
    """
    patterns, topics = _in_turn(PATTERNS, rng), _in_turn(tuple(TOPICS), rng)
    words = {topic: _in_turn(tuple(TOPICS[topic].split()), rng) for topic in TOPICS}
    same = {topic: _in_turn(homophones(topic), rng) for topic in TOPICS}
    while True:
        topic = next(topics)
        source = {"WORD": words[topic], "SAME": same[topic]}
        said: list[str] = []
        for slot in next(patterns).split():
            word = next(source[slot]) if slot in source else slot
            while slot in source and word in said:
                word = next(source[slot])
            said.append(word)
        yield " ".join(said)


def _in_turn(items: tuple[str, ...], rng: np.random.Generator) -> Iterator[str]:
    while True:
        for place in rng.permutation(len(items)):
            yield items[place]


def homophones(topic: str) -> tuple[str, ...]:
    """The words of a topic that sound like a word of another."""
    sides = [side for pair in PAIRS for side in (pair[:2], pair[2:])]
    return tuple(word for of, word in sides if of == topic)


def vocabulary() -> tuple[str, ...]:
    """Every word that a sentence may contain, sorted."""
    of_patterns = {word for pattern in PATTERNS for word in pattern.split()} - {"WORD", "SAME"}
    of_topics = {word for words in TOPICS.values() for word in words.split()}
    return tuple(sorted(of_patterns | of_topics | {w for t in TOPICS for w in homophones(t)}))


def shrunk(utterances: int) -> dict[str, SetPlan]:
    """All sets with at most this many utterances: for tests and for a first look."""
    return mini.shrunk(utterances, SETS)
