"""The corpus ``human``: finding recordings, dividing them, writing the sets."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from distill_asr.corpora.contract import Built, Corpus, CorpusSet, option
from distill_asr.corpora.generated import Planned, build_set
from distill_asr.corpora.human.by_text import LEAST, divide_by_text
from distill_asr.corpora.human.clips import Clip, spoken_words
from distill_asr.corpora.human.mismatched import LIMIT, read_mismatched, write_mismatched
from distill_asr.corpora.human.packages import SPACE, absent_packages, find_packages
from distill_asr.corpora.human.scan import read_clip, scan
from distill_asr.corpora.human.sets import TRAIN, UNLAB, Division, Shares, divide
from distill_asr.corpora.human.sources import OTHERS, package_clips
from distill_asr.errors import Problems, UserError

_VERSION = 1
NO_PACKAGES = "none"


@dataclass(frozen=True)
class HumanOptions:
    """Options of ``Human``."""

    langs: tuple[str, ...] = option(("ru",), "languages with labels, split by commas")
    language: str | None = option(
        None, "instead of --langs: one language, by text alone, to OUT/{train,dev,test}"
    )
    joint: tuple[str, ...] | None = option(
        None,
        "instead of --langs: languages, by text alone, to OUT/CODE_{train,dev,test}; split by "
        "commas",
    )
    packages: str | None = option(
        None,
        f"directory of unpacked Debian packages; if not given, they are fetched ({SPACE}); "
        f"{NO_PACKAGES}: use no packages",
        env="HUMAN_PACKAGES",
    )
    gcompris_voices: str | None = option(
        None, "directory of GCompris' voices repository", env="GCOMPRIS_VOICES"
    )
    speech_to_intent: str | None = option(
        None, "directory of the orders at a coffee machine, with clips/", env="SPEECH_TO_INTENT"
    )
    fsdd: str | None = option(None, "directory of the Free Spoken Digit Dataset", env="FSDD")
    downloads: str = option("downloads", "directory to fetch and unpack packages in")
    least_minutes: float = option(
        LEAST, "fewest minutes of a language with a text, with --joint and --language"
    )
    minutes: float = option(20.0, "minutes of audio in train, for each language")
    dev_minutes: float = option(3.0, "minutes of audio in dev")
    test_minutes: float = option(10.0, "largest number of minutes in each test set")
    unlab_langs: str = option(
        "all", "languages of the unlabelled audio: all, or own (those of --langs)"
    )
    reader: str | None = option(
        None, "voice or corpus of train; default: the voice with the most labelled audio"
    )
    left_out: str | None = option(
        None,
        "table of recordings whose audio does not match their text; they are left out of "
        "dev and tests",
    )
    check_with: str | None = option(
        None, "Whisper to check dev and tests with, a hub id or directory; writes --left-out"
    )
    check_limit: float = option(
        LIMIT, "character error rate above which a text does not match its audio"
    )
    seed: int = option(0, "seed of the draw of texts for the sets")
    utterances: int | None = option(None, "largest number of utterances in a set")
    nj: int = option(2, "number of processes; the result does not depend on it")


class Human(Corpus[HumanOptions]):
    """Human recordings of some twenty languages."""

    summary = "Human recordings of 20 languages from Debian packages, GCompris, and others."
    needs = (
        "apt-get and dpkg-deb, or HUMAN_PACKAGES=DIR; GCOMPRIS_VOICES=, SPEECH_TO_INTENT=, FSDD= "
        "if you like"
    )
    options = HumanOptions

    def build(self, out: Path, options: HumanOptions) -> Built:
        """Write ``out/{train,dev,test_reader,test_corpus,test_voices,unlab}``.

        With ``language`` write ``out/{train,dev,test}``, with ``joint`` the same for each code.
        """
        _check(options)
        clips = find_clips(options)
        heard = scan(list(clips.values()), out, options.nj)
        silent = {name for name, clip in clips.items() if heard[clip.path].is_silent}
        clips = {name: clip for name, clip in clips.items() if name not in silent}
        minutes = {name: heard[clip.path].seconds / 60 for name, clip in clips.items()}
        division = _divided(clips, minutes, options)
        division.left_out["silent"] += len(silent)
        if options.check_with:
            _check_texts(division, clips, options)
        _leave_out(division, options.left_out)
        _shorten(division, options.utterances)
        built = {
            name: _write(out, name, {one: clips[one] for one in found}, options.nj)
            for name, found in division.sets.items()
        }
        reasons = ", ".join(f"{n} {why}" for why, n in division.left_out.items() if n)
        return Built(built, (f"left out: {reasons or 'none'}",))


def _divided(
    clips: Mapping[str, Clip], minutes: Mapping[str, float], options: HumanOptions
) -> Division:
    """The sets; where there is too little, an error names the packages that were not given."""
    shares = Shares(options.minutes, options.dev_minutes, options.test_minutes)
    try:
        if codes := options.joint or (options.language and (options.language,)):
            prefixed = options.joint is not None
            return divide_by_text(
                clips,
                minutes,
                codes,
                shares,
                prefixed=prefixed,
                least=options.least_minutes,
                seed=options.seed,
            )
        return divide(
            clips,
            minutes,
            options.langs,
            shares,
            reader=options.reader,
            other_languages=options.unlab_langs == "all",
            seed=options.seed,
        )
    except UserError as error:
        absent = [] if options.packages == NO_PACKAGES else absent_packages(options.packages)
        if not absent:
            raise
        raise UserError(
            [
                *error.problems,
                f"missing packages: {options.packages}: has no {', '.join(absent)}; unpack those "
                "whose recordings are wanted there",
            ]
        ) from error


def find_clips(options: HumanOptions) -> dict[str, Clip]:
    """All recordings of all sources that are there, by utterance id.

    Raises
    ------
    UserError : everything that is missing or damaged.
    """
    problems = Problems()
    clips: list[Clip] = []
    if options.packages != NO_PACKAGES:
        roots = find_packages(options.packages, Path(options.downloads))
        clips += package_clips(roots, problems)
    for name, find in OTHERS.items():
        given = vars(options)[name]
        if given and not Path(given).is_dir():
            flag = f"--{name.replace('_', '-')} {given}"
            problems.add(
                "no such directory", f"{flag}: give another directory, or leave the option out"
            )
        elif given:
            clips += find(Path(given), problems)
    problems.raise_if_any()
    if not clips:
        raise UserError("no recordings: give HUMAN_PACKAGES=DIR, GCOMPRIS_VOICES=DIR or FSDD=DIR")
    return _named(clips)


def render(one: Planned) -> np.ndarray:
    """The samples of one recording: float32 [N] at 16 kHz."""
    return read_clip(one.plan)


def _check(options: HumanOptions) -> None:
    problems = [
        f"--{name.replace('_', '-')} {value:g}: expected more than 0"
        for name in ("minutes", "dev_minutes", "test_minutes")
        if not (value := getattr(options, name)) > 0
    ]
    if options.joint and options.language:
        problems.append("--joint and --language: expected one of them")
    if options.unlab_langs not in ("all", "own"):
        problems.append(f"--unlab-langs {options.unlab_langs}: expected all or own")
    if options.check_with and not options.left_out:
        problems.append("--check-with: give the table to write, --left-out FILE")
    elif options.left_out and not options.check_with and not Path(options.left_out).is_file():
        problems.append(
            f"--left-out {options.left_out}: no such file; correct the path, or write it with "
            "--check-with"
        )
    if problems:
        raise UserError(problems)


def _named(clips: Iterable[Clip]) -> dict[str, Clip]:
    """Ids that differ: what is lost in an id's letters comes back as a number."""
    clips = sorted(clips, key=lambda clip: (clip.utterance, clip.key, str(clip.path)))
    often = Counter(clip.utterance for clip in clips)
    named = {}
    for clip in clips:
        more = f"{clip.key} {clip.path.name}".encode()
        name = clip.utterance
        named[name if often[name] == 1 else f"{name}_{zlib.crc32(more):08x}"] = clip
    return named


def _leave_out(division: Division, table: str | None) -> None:
    """Drop recordings that do not match their text from all sets but ``train`` and ``unlab``."""
    listed = read_mismatched(Path(table)) if table is not None else {}
    for name, found in division.sets.items():
        if _judges(name):
            kept = [one for one in found if one not in listed]
            division.left_out["whose audio does not match the text"] += len(found) - len(kept)
            division.sets[name] = kept


def _judges(name: str) -> bool:
    """Whether a set is a dev or test set."""
    return name != UNLAB and not name.endswith(TRAIN)


def _check_texts(division: Division, clips: Mapping[str, Clip], options: HumanOptions) -> None:
    """Transcribe dev and the tests with Whisper; write the table of recordings that differ."""
    from distill_asr.corpora.human.whisper import WhisperReader, read_all

    reader, table = WhisperReader(options.check_with or ""), Path(options.left_out or "")
    for name, found in division.sets.items():
        languages = {clips[one].language for one in found} if _judges(name) else set()
        for language in sorted(languages):
            rows = {
                one: (str(clips[one].path), clips[one].text or "")
                for one in found
                if clips[one].language == language
            }
            words = partial(spoken_words, language=language)
            readings = read_all(reader, language, rows, read_clip, words, options.check_limit, name)
            write_mismatched(table, readings, options.check_with or "", options.check_limit)


def _shorten(division: Division, most: int | None) -> None:
    if most is not None:
        division.sets = {name: found[:most] for name, found in division.sets.items()}


def _write(out: Path, name: str, clips: Mapping[str, Clip], nj: int) -> CorpusSet:
    """Write one set; the text is as the collection spells it, but for spaces."""
    labelled = name != UNLAB
    planned = [
        Planned(one, one.partition("-")[0], " ".join((clip.text or "").split()), str(clip.path))
        for one, clip in clips.items()
    ]
    content = "".join(
        f"{one.utterance} {Path(one.plan).stat().st_size} {one.text if labelled else ''}\n"
        for one in planned
    )
    settings = {
        "corpus": "human",
        "version": _VERSION,
        "utterances": len(planned),
        "crc32": zlib.crc32(content.encode()),
    }
    return build_set(out, name, planned, render, settings, labelled=labelled, nj=nj)
