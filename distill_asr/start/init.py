"""From sources to a recipe folder: read, look, split, choose, write, check."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from distill_asr.data.normalise import TranscriptRule, plain_blanks
from distill_asr.data.prepare import read_sources
from distill_asr.errors import Problems, UserError
from distill_asr.io.audio import MIX
from distill_asr.io.locks import locked
from distill_asr.start.choices import Amount, Choices, Wishes, choose
from distill_asr.start.contract import TRAIN, UNLABELLED, Clip, ReadOptions, Source
from distill_asr.start.data_files import named_sets, set_tables
from distill_asr.start.folder import AUDIO, RecipeFolder, Written
from distill_asr.start.languages import Languages, describe, find_languages
from distill_asr.start.look import Seen, look_at, oddities, without_copies
from distill_asr.start.machine import Machine
from distill_asr.start.pretrained import ChosenTeacher, choose_teachers
from distill_asr.start.readers.audio_folder import AudioFolderReader
from distill_asr.start.recipe_files import (
    Preparation,
    SetFacts,
    config_files,
    readme,
    require_checkout,
    run_script,
)
from distill_asr.start.registry import reader_for
from distill_asr.start.splits import Split, SplitOptions, speakers_known, split_clips

UNTOLD = ("unlabelled", "leave-out")  # what happens to audio that no transcript belongs to
NORMALISE = ("auto", "unicode", "letters_only", "none")
# problems of whole sources, which are not left out
_WHOLE = ("source", "several languages", "no such column", "missing column", "not UTF-8",
         "unreadable table", "empty table", "bad header", "unreadable manifest")  # fmt: skip
SKIPPED = "left_out.txt"  # every problem that --skip-bad went over


@dataclass(frozen=True)
class InitOptions:
    """What a recipe is made of.

    Parameters
    ----------
    folder : of the recipe.
    sources, unlabelled : with transcripts, and audio alone.
    kind : of all sources; None: by content.
    speaker_pattern : regular expression on a clip's path; its first group is the speaker.
    language : of the transcripts; None: told by the source, or guessed.
    several_languages : one student for all that are found.
    normalise : one of ``NORMALISE``.
    untold : one of ``UNTOLD``.
    teachers : directories or hub ids; empty: chosen.
    teacher_count : how many are chosen.
    skip_bad : leave out what cannot be used, and report it.
    force : also files that the user has edited.
    nj : processes that look at audio.
    """

    folder: Path
    sources: tuple[Path, ...] = ()
    unlabelled: tuple[Path, ...] = ()
    kind: str | None = None
    read: ReadOptions = field(default_factory=ReadOptions)
    split: SplitOptions = field(default_factory=SplitOptions)
    wishes: Wishes = field(default_factory=Wishes)
    speaker_pattern: str | None = None
    language: str | None = None
    several_languages: bool = False
    normalise: str = NORMALISE[0]
    untold: str = UNTOLD[0]
    teachers: tuple[str, ...] = ()
    teacher_count: int = 2
    skip_bad: bool = False
    force: bool = False
    nj: int = 1

    def problems(self) -> list[str]:
        """Say what is wrong with them, in the words of the command line."""
        found = self.split.problems()
        if not self.sources:
            found.append("--from: expected a source with transcripts")
        if self.teacher_count < 1:
            found.append(f"--teacher-count {self.teacher_count}: expected at least 1")
        try:
            if self.speaker_pattern and re.compile(self.speaker_pattern).groups < 1:
                found.append("--speaker-pattern: expected a group, such as '_([a-z]+)_'")
        except re.error as error:
            found.append(f"--speaker-pattern {self.speaker_pattern!r}: {error}")
        try:
            TranscriptRule(language=self.language)
        except ValueError as error:
            found.append(f"--{error}")
        wishes = self.wishes
        for option, value in (("--epochs", wishes.epochs), ("--vocab-size", wishes.vocabulary),
                              ("--batch-seconds", wishes.batch_seconds)):  # fmt: skip
            if value is not None and not value > 0:
                found.append(f"{option} {value}: expected more than 0")
        given = (("--from", self.sources), ("--unlabelled", self.unlabelled))
        found += [
            f"{option} {source}: no such file or directory; correct the path"
            for option, sources in given
            for source in sources
            if not source.exists()
        ]
        return found


@dataclass(frozen=True)
class Data:
    """What was found, looked at and split."""

    sources: list[Source]
    split: Split
    unlabelled: list[Seen]
    languages: Languages
    preparation: Preparation
    notes: tuple[str, ...]
    skipped: tuple[str, ...]
    language_given: bool = False  # with --language

    @property
    def sets(self) -> dict[str, list[Seen]]:
        """All sets by name."""
        more = {UNLABELLED: self.unlabelled} if self.unlabelled else {}
        return self.split.sets | more

    @property
    def everything(self) -> list[Seen]:
        """All utterances."""
        return [one for members in self.sets.values() for one in members]


@dataclass(frozen=True)
class Result:
    """A recipe that was written, for the report."""

    data: Data
    facts: dict[str, SetFacts]
    machine: Machine
    choices: Choices
    teachers: list[ChosenTeacher]
    written: Written

    @property
    def reasons(self) -> list[str]:
        """Why things are as they are."""
        return _reasons(self.data, self.choices, self.teachers)


def init_recipe(options: InitOptions, machine: Machine, check: Callable[[Path], None]) -> Result:
    """Make the recipe; nothing is there where it fails.

    Parameters
    ----------
    options : the sources, and what the user chooses.
    machine : cores, memory and GPUs, which decide the sizes.
    check : raises UserError where the recipe in a folder is not right.

    Raises
    ------
    UserError : everything wrong with the options, or with the sources.
    """
    problems = options.problems()
    if problems:
        raise UserError(problems)
    require_checkout()
    folder = RecipeFolder(options.folder.absolute())
    with locked(folder.path, "writing a recipe"):
        folder.require_ours()
        folder.begin()
        try:
            return _init(options, machine, folder, check)
        finally:
            shutil.rmtree(folder.draft, ignore_errors=True)


def check_tables(folder: Path) -> None:
    """Read the data directories of a recipe as ``prepare`` will.

    Raises
    ------
    UserError : everything wrong in their tables.
    """
    problems = Problems()
    for place in sorted((folder / "data").iterdir()):
        read_sources(place, True, problems)
    problems.raise_if_any()


def _init(
    options: InitOptions, machine: Machine, folder: RecipeFolder, check: Callable[[Path], None]
) -> Result:
    teachers = choose_teachers(options.teachers, options.language, machine, options.teacher_count)
    data = collect(options, folder.embedded)
    if not options.teachers:
        language = options.language or data.languages.language
        if options.several_languages:
            language = None
        teachers = choose_teachers((), language, machine, options.teacher_count)
    train, more = ([one.seconds for one in data.sets.get(n, ())] for n in (TRAIN, UNLABELLED))
    amount = Amount(tuple(train), tuple(more))
    choices = choose(amount, data.languages, machine, options.wishes)
    known = speakers_known([one for members in data.split.sets.values() for one in members])
    facts = {name: _facts(members, known) for name, members in data.sets.items()}
    files = _files(folder, options, data, facts, choices, teachers)
    written = folder.write(files, options.force, check)
    return Result(data, facts, machine, choices, teachers, written)


def collect(options: InitOptions, embedded: Path) -> Data:
    """Read all sources, look at their audio, split them.

    Parameters
    ----------
    options : the sources, and what the user chooses.
    embedded : folder for audio that a source holds within its tables.

    Raises
    ------
    UserError : everything that is wrong, or with ``skip_bad`` only what leaves nothing to use.
    """
    problems, read = Problems(), replace(options.read, embedded=embedded, embedded_name=AUDIO)
    sources = _read(options.sources, options.kind, read, problems)
    alone = _read(options.unlabelled, None, read, problems)
    clips = [_with_speaker(clip, options) for source in sources for clip in source.clips]
    labelled = [clip for clip in clips if clip.text is not None]
    unlabelled = [clip for clip in clips if clip.text is None]
    unlabelled += [_with_speaker(replace(c, text=None), options) for s in alone for c in s.clips]
    notes: list[str] = []
    unlabelled += _untold(sources, options, notes)
    languages = _languages(labelled, options, problems)
    if languages.told and options.language:
        labelled = _of_language(labelled, options.language, notes)
        languages = _languages(labelled, options, problems)
    preparation = _preparation(labelled, languages, options)
    rule = _rule(preparation)
    wanted = [*labelled, *unlabelled]
    here = str(embedded.parent)
    seen = look_at(wanted, rule, options.nj, problems, options.read.allow_pipes, here)
    seen, copies = without_copies(seen, problems)
    if copies:
        notes.append(f"{copies} recording(s) occur twice with the same text; one of each is kept")
    found = _without_bad(problems, options.skip_bad, seen)
    if any(one.recording.facts.channels > 1 for one in seen):
        preparation = replace(preparation, channel=MIX)
    told = [one for one in seen if one.clip.text is not None]
    audio = [one for one in seen if one.clip.text is None]
    if not told:
        raise UserError(_no_texts(options))
    split = split_clips(told, options.split)
    notes += oddities(seen)
    return Data(
        [*sources, *alone], split, audio, languages, preparation, tuple(notes), tuple(found),
        options.language is not None,
    )  # fmt: skip


def _read(
    paths: Sequence[Path], kind: str | None, options: ReadOptions, problems: Problems
) -> list[Source]:
    """Sources one by one; that one of them is missing is told with what is wrong in the others."""
    sources = []
    for path in paths:
        try:
            sources.append(reader_for(path, kind).read(path, options, problems))
        except UserError as error:
            for message in error.problems:
                problems.add("source", message)
    return sources


def _with_speaker(clip: Clip, options: InitOptions) -> Clip:
    if options.speaker_pattern is None or clip.speaker is not None:
        return clip
    found = re.search(options.speaker_pattern, clip.audio.location)
    return clip if found is None else replace(clip, speaker=found[1])


def _untold(sources: Sequence[Source], options: InitOptions, notes: list[str]) -> list[Clip]:
    """Audio beside a table that the table does not name."""
    clips = []
    for source in sources:
        if not source.untold:
            continue
        count, example = len(source.untold), source.untold[0]
        use = "unlab" if options.untold == UNTOLD[0] else "left out"
        notes.append(
            f"{source.path}: {count} audio file(s) without a text, such as {example}: {use} "
            f"(--untold {'|'.join(UNTOLD)})"
        )
        if options.untold == UNTOLD[0]:
            reader, known = AudioFolderReader(), set(map(str, source.untold))
            folder = source.path if source.path.is_dir() else source.path.parent
            root = options.read.audio_root or folder
            found = reader.read(root, options.read, Problems()).clips
            clips += [_with_speaker(c, options) for c in found if c.audio.location in known]
    return clips


def _languages(labelled: Sequence[Clip], options: InitOptions, problems: Problems) -> Languages:
    found = find_languages((clip.text or "", clip.language) for clip in labelled)
    mixed = {} if options.several_languages or options.language else found.mixed()
    if mixed:
        problems.add(
            "several languages",
            f"{len(mixed)} are mixed, by utterances: {describe(mixed)} "
            + (
                "(by the source); --language CODE takes the texts of one, "
                if found.told
                else "(guessed from the texts); if all texts are in one language, name it "
                "with --language CODE; otherwise give the texts of one language only; "
            )
            + "--several-languages trains one student for all",
        )
    return found


def _of_language(labelled: Sequence[Clip], language: str, notes: list[str]) -> list[Clip]:
    """Without the utterances that their source marks as another language."""
    kept = [clip for clip in labelled if clip.language in (None, language)]
    if len(kept) < len(labelled):
        notes.append(f"{len(labelled) - len(kept)} utterance(s) not in {language} are left out")
    return kept


def _preparation(
    labelled: Sequence[Clip], languages: Languages, options: InitOptions
) -> Preparation:
    normalise: str | None = options.normalise
    if normalise == "auto":
        rule = TranscriptRule("unicode")
        texts = [plain_blanks(clip.text or "") for clip in labelled]
        normalise = "unicode" if any(rule(text) != text for text in texts) else None
    language = options.language or (None if options.several_languages else languages.language)
    try:
        TranscriptRule(language=language)
    except ValueError:
        language = None  # a source may call it anything
    return Preparation(
        None if normalise == "none" else normalise, language, None, options.read.allow_pipes
    )


def _rule(preparation: Preparation) -> TranscriptRule | None:
    if preparation.normalise is None:
        return None
    return TranscriptRule(preparation.normalise, language=preparation.language)


def _without_bad(problems: Problems, skip: bool, seen: Sequence[Seen]) -> list[str]:
    """What is left out; UserError where nothing may be, or nothing is left."""
    if not len(problems):
        return []
    fatal = problems.of(_WHOLE)
    if skip and seen and not fatal:
        return problems.all_messages()
    if not fatal and not skip:
        hint = "; --skip-bad leaves out the recordings that cannot be used"
    else:
        hint = ""
    raise UserError(problems.messages(), f"nothing was written{hint}")


def _no_texts(options: InitOptions) -> str:
    named = ", ".join(map(str, options.sources))
    return (
        f"{named}: no utterance has a transcript; give a table of texts beside the audio, or name "
        "audio alone with --unlabelled and the source of texts with --from"
    )


def _hours(seen: Sequence[Seen]) -> float:
    return sum(one.seconds for one in seen) / 3600


def _facts(members: Sequence[Seen], known: bool) -> SetFacts:
    voices = {one.clip.speaker for one in members} - {None}
    return SetFacts(len(members), _hours(members), len(voices) if known and voices else None)


def _files(
    folder: RecipeFolder,
    options: InitOptions,
    data: Data,
    facts: Mapping[str, SetFacts],
    choices: Choices,
    teachers: Sequence[ChosenTeacher],
) -> dict[str, str]:
    unlabelled, tests = bool(data.unlabelled), [name for name in facts if name.startswith("test")]
    streaming = options.wishes.streaming
    files = config_files(choices, teachers, streaming, unlabelled)
    files["run.sh"] = run_script(choices, data.preparation, tests, unlabelled)
    reasons = _reasons(data, choices, teachers)
    files["README.md"] = readme(folder.path.name, facts, reasons, data.split.warnings)
    labelled = [one for members in data.split.sets.values() for one in members]
    for name, members in named_sets(data.sets, speakers_known(labelled)).items():
        for table, text in set_tables(members, name != UNLABELLED).items():
            files[f"data/{name}/{table}"] = text
    if data.skipped:
        files[SKIPPED] = "".join(f"{line}\n" for line in data.skipped)
    return files


def _reasons(data: Data, choices: Choices, teachers: Sequence[ChosenTeacher]) -> list[str]:
    languages, counts = data.languages, Counter(one.recording.facts.rate for one in data.everything)
    rates = ", ".join(f"{rate} Hz ({count})" for rate, count in sorted(counts.items()))
    how = "by the source" if languages.told else "guessed from frequent words or the script"
    language = data.preparation.language
    told = f"language {language}" if language else "language not known (--language CODE)"
    if language is None and (mixed := languages.mixed()):
        told = f"languages by utterances: {describe(mixed)}, {how}; one student for all"
    elif data.language_given:
        told += ": as given (--language)"
    elif language and language == languages.language:
        told += f": {how} (--language)"
    rule = data.preparation.normalise or "none, since they are plain words already"
    return [
        f"sampling rates: {rates}; `prepare` brings all to 16000 Hz",
        f"{told}; script {languages.script.lower()}, {languages.characters} characters",
        f"sets: {data.split.how} (--split-by, --dev-share, --test-share)",
        f"transcripts: normalise {rule} (--normalise)",
        *choices.reasons,
        *(f"teacher {one.name}: {one.model}, layer {one.layer}: {one.why}" for one in teachers),
    ]
