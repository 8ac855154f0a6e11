#!/usr/bin/env python3
"""Do students choose homophones by their context? Run from the recipe, after its training.

    pip install "distill_asr[probe]"
    local/probe.py exp/baseline_seed1 exp/both_seed1

For each experiment, over every third training utterance and over the test set, the number of words
given: how often the right one of two homophones scores higher, and how often a linear model, fitted
to the training utterances, reads the topic from the decoder's states of function words. First the
same choice by a linear model of the other words of a transcript, which hears all of them.
"""

import argparse
from pathlib import Path

import numpy as np
import soundfile
import torch
from sklearn.linear_model import LogisticRegression

from distill_asr.corpora.homophones import PAIRS, SETS, TOPICS, homophones, plan_texts, vocabulary
from distill_asr.experiments.student import load_student
from distill_asr.io.tables import read_table

FUNCTION_WORDS = {"the", "near", "was", "were", "and", "about", "beside", "to"}
OTHER = {word: other for _, a, _, b in PAIRS for word, other in ((a, b), (b, a))}
TOPIC = {w: t for t in TOPICS for w in (*TOPICS[t].split(), *homophones(t))}


def choice_by_words() -> float:
    """Share of the test's homophones that a linear model of the other words chooses rightly."""
    sound = {word: min(word, OTHER.get(word, word)) for word in vocabulary()}
    places = {word: i for i, word in enumerate(sorted(set(sound.values())))}
    texts, rows, wanted = plan_texts(SETS, 0), {}, {}
    for name in ("train", "test"):
        split = [text.split() for text in texts[name]]
        asked = [(words, i) for words in split for i, word in enumerate(words) if word in OTHER]
        rows[name] = np.zeros((len(asked), len(places)))
        wanted[name] = [words[i] for words, i in asked]
        for row, (words, i) in zip(rows[name], asked, strict=True):
            for word in words[:i] + words[i + 1 :]:
                row[places[sound[word]]] += 1
    model = LogisticRegression(max_iter=500, C=10).fit(rows["train"], wanted["train"])
    known = {word: i for i, word in enumerate(model.classes_)}
    scores = model.decision_function(rows["test"])
    pairs = zip(scores, wanted["test"], strict=True)
    return float(np.mean([row[known[word]] > row[known[OTHER[word]]] for row, word in pairs]))


def heard(experiment: str, name: str, every: int) -> tuple[np.ndarray, list[str], list[bool]]:
    """Decoder states of function words, their topics, and if homophones were chosen rightly."""
    student, args = load_student(experiment)
    ids = {token: i for i, token in enumerate(args.token_list)}
    audio, text = (read_table(Path("dump") / name / file) for file in ("wav.scp", "text"))
    states, topics, right = [], [], []
    for key in list(text)[::every]:
        words = text[key].split()
        samples = torch.from_numpy(soundfile.read(audio[key], dtype="float32")[0])[None]
        with torch.inference_mode():
            encoded, lengths = student.encode(samples, torch.tensor([samples.size(1)]))
            wanted = torch.tensor([len(words) + 1])
            cif = student.integrate(encoded, lengths.to(torch.int64), wanted)
            if int(cif.lengths[0]) != len(words) + 1:
                continue
            logits, decoded = student.decoder(cif.states, cif.lengths, None)
        topic = next(TOPIC[word] for word in words if word in TOPIC)
        for place, word in enumerate(words):
            if word in FUNCTION_WORDS:
                states.append(decoded[0, place].numpy())
                topics.append(topic)
            if word in OTHER:
                scores = logits[0, place]
                right.append(bool(scores[ids[word]] > scores[ids[OTHER[word]]]))
    return np.array(states), topics, right


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("experiments", nargs="*")
    args = parser.parse_args()
    print(f"linear model of the transcript's other words: {choice_by_words():.1%} chosen rightly")
    for experiment in args.experiments:
        states, topics, known = heard(experiment, "train", every=3)
        others, wanted, right = heard(experiment, "test", every=1)
        topic = LogisticRegression(max_iter=300, C=0.1).fit(states, topics).score(others, wanted)
        print(
            f"{experiment}: chosen rightly {np.mean(known):.1%} in training, {np.mean(right):.1%} "
            f"of {len(right)} in test; topic read from function words {topic:.1%}"
        )


if __name__ == "__main__":
    main()
