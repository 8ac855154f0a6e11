"""Mozilla Common Voice: from its own layout to data directories, one language at a time.

A language's folder holds ``clips/*.mp3`` and ``train.tsv``, ``dev.tsv``, ``test.tsv`` with the
columns ``client_id path sentence ...``. The official splits are taken as they are.
"""

import csv
import hashlib
import json
import os
import re
import shutil
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import soundfile

from distill_asr.corpora.contract import Built, Corpus, CorpusSet, option
from distill_asr.corpora.distributed import files
from distill_asr.data.datadir import DataDir
from distill_asr.errors import Problems, UserError
from distill_asr.io.audio import BadAudioError, audio_seconds
from distill_asr.io.files import write_text_atomic
from distill_asr.io.occupied import DATA, occupied
from distill_asr.io.parallel import parallel_map

# of the paper's code; the paper itself counts 20
_LANGUAGES = tuple("ar ca cs el et fi hi hu id it ja ka lt lv nl pt ro sl ta th tr uk vi".split())
SETS = ("train", "dev", "test")
COLUMNS = ("client_id", "path", "sentence")
_MANIFEST = "manifest.json"
GET = "get it from https://commonvoice.mozilla.org/datasets and give its folder as COMMONVOICE=DIR"

_CODE = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z]+)*")
_FILE_NAME = re.compile(r"[^\s/\\]+")


@dataclass(frozen=True)
class DurationLimits:
    """Which clips are left out, and of which sets; nothing is by default.

    Parameters
    ----------
    max_seconds, max_characters : of a clip and of its sentence; the published code has 10 and 200.
    sets : where the limits hold. The published code has them in all sets, so that its error rates
        are those of a shortened test set.
    """

    max_seconds: float | None = None
    max_characters: int | None = None
    sets: tuple[str, ...] = ("train",)

    def problems(self) -> list[str]:
        """List what is wrong with the options."""
        found = [
            f"--{name.replace('_', '-')} {value}: expected more than 0"
            for name in ("max_seconds", "max_characters")
            if (value := getattr(self, name)) is not None and not value > 0
        ]
        unknown = [name for name in self.sets if name not in SETS]
        return found + [f"--limit {name}: expected one of {', '.join(SETS)}" for name in unknown]

    def reason(self, seconds: float, sentence: str) -> str | None:
        """Why a clip of this length in seconds is left out, None where it is not."""
        if self.max_seconds is not None and seconds > self.max_seconds:
            return f"over {self.max_seconds:g} s"
        if self.max_characters is not None and len(sentence) > self.max_characters:
            return f"over {self.max_characters} characters"
        return None


@dataclass(frozen=True)
class CommonVoiceClip:
    """One row of a split."""

    path: str
    speaker: str
    sentence: str


@dataclass(frozen=True)
class CommonVoiceOptions:
    """Options of ``CommonVoice``."""

    language: str | None = option(None, "Common Voice's code of the language, such as ta; needed")
    commonvoice: str | None = option(
        None,
        "folder with LANGUAGE/ or cv-corpus-*/LANGUAGE/ or *-LANGUAGE.tar.gz",
        env="COMMONVOICE",
    )
    downloads: str = option("downloads", "directory to unpack an archive in")
    max_seconds: float | None = option(None, "longest clip, in seconds (published: 10)")
    max_characters: int | None = option(None, "longest sentence, in characters (published: 200)")
    limit: tuple[str, ...] = option(
        ("train",), "sets under these limits, split by commas (published: train,dev,test)"
    )
    nj: int = option(2, "number of processes that read the lengths of clips")


class CommonVoice(Corpus[CommonVoiceOptions]):
    """One language of Common Voice."""

    summary = "Common Voice: one language, by the official splits."
    needs = (
        "--language CODE, and COMMONVOICE=DIR or --commonvoice DIR, from "
        "https://commonvoice.mozilla.org/datasets"
    )
    options = CommonVoiceOptions

    def build(self, out: Path, options: CommonVoiceOptions) -> Built:
        """Write ``out/{train,dev,test}``."""
        limits = DurationLimits(options.max_seconds, options.max_characters, options.limit)
        return build(
            out,
            options.commonvoice,
            options.language or "",
            limits,
            Path(options.downloads),
            options.nj,
        )


def build(
    out: Path,
    source: str | Path | None,
    language: str,
    limits: DurationLimits | None = None,
    downloads: Path = Path("downloads"),
    nj: int = 1,
) -> Built:
    """Write ``out/{train,dev,test}``; sets that are there with the same rows and limits stay.

    Parameters
    ----------
    out : data directory.
    source : see ``find``.
    language : Common Voice's code, such as ``ta``.
    downloads : where an archive is unpacked.
    nj : processes that read the clips' lengths.

    Raises
    ------
    UserError : no corpus there, bad options, and every bad row of all sets in one report.
    """
    limits = limits or DurationLimits()
    problems = limits.problems()
    problems += [one for name in SETS for one in occupied(out / name, DATA, "--out")]
    if _CODE.fullmatch(language) is None:
        problems.append(f"--language {language!r}: expected a code such as ta")
    if problems:
        raise UserError(problems)
    _require_mp3()
    folder = find(source, language, downloads)
    found = Problems()
    clips = read_splits(folder, found)
    found.raise_if_any()
    settings = {name: _settings(folder, name, limits) for name in SETS}
    done = {name: _finished(out / name, settings[name]) for name in SETS}
    left = [name for name in SETS if done[name] is None]
    seconds = {name: _seconds(clips[name], found, nj, f"{language} {name}") for name in left}
    found.raise_if_any()
    for name, lengths in seconds.items():
        done[name] = _write(out / name, clips[name], lengths, limits, settings[name])
    return Built({name: _facts(manifest) for name, manifest in done.items()})


def find(source: str | Path | None, language: str, downloads: Path) -> Path:
    """The folder of a language, unpacked below ``downloads`` first where only its archive is there.

    Parameters
    ----------
    source : the language's folder; or a folder with ``LANGUAGE/`` or ``cv-corpus-*/LANGUAGE/`` in
        it, or with an archive ``*-LANGUAGE.tar.gz`` or ``LANGUAGE.tar.gz``; or that archive.

    Raises
    ------
    UserError : no such folder or archive, or more than one.
    """
    if not source:
        raise UserError(f"Common Voice is needed: {GET}")
    source = Path(source)
    if _is_archive(source):
        return unpack_archive(source, language, downloads)
    if not source.is_dir():
        raise UserError(f"{source}: no such folder or archive (.tar.gz); {GET}")
    folders = [source, source / language, *sorted(source.glob(f"cv-corpus-*/{language}"))]
    folders = [one for one in folders if (one / "train.tsv").is_file()]
    if source in folders:
        return source
    if folders:
        return _only(folders, language)
    archives = [*sorted(source.glob(f"*-{language}.tar.gz")), source / f"{language}.tar.gz"]
    archives = [one for one in archives if one.is_file() and not one.name.startswith("._")]
    if not archives:
        raise UserError(
            f"{source}: found neither {language}/train.tsv, nor cv-corpus-*/{language}/train.tsv, "
            f"nor *-{language}.tar.gz there; {GET}"
        )
    return unpack_archive(_only(archives, language), language, downloads)


def unpack_archive(archive: Path, language: str, downloads: Path) -> Path:
    """Unpack an archive once, below ``downloads``, and find the language in it by its code.

    No member of the archive can leave its folder, and nothing but files and folders is written.

    Raises
    ------
    UserError : not a complete tar.gz, a member that would leave the folder, another language.
    """
    target = downloads / archive.name.removesuffix(".tar.gz")
    if not target.is_dir():
        downloads.mkdir(parents=True, exist_ok=True)
        for killed in downloads.glob(f".{target.name}.*.tmp"):
            shutil.rmtree(killed)
        temporary = tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=downloads)
        try:
            with tarfile.open(archive, "r:gz") as tar:
                # before Python 3.11.4 there are no filters; _harmless refuses as much with any
                tar.extraction_filter = getattr(tarfile, "data_filter", None)
                tar.extractall(temporary, members=_harmless(tar))
            Path(temporary).chmod(0o755)
            Path(temporary).rename(target)
        except (tarfile.TarError, EOFError, OSError) as error:
            raise UserError(f"{archive}: cannot be unpacked: {error}; get it again") from error
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    places = [target, target / language, *sorted(target.glob(f"*/{language}"))]
    for folder in places:
        if (folder / "train.tsv").is_file():
            return folder
    raise UserError(
        f"{archive}: no {language}/train.tsv in it; is it of another language? Remove {target}"
    )


def _harmless(tar: tarfile.TarFile) -> Iterator[tarfile.TarInfo]:
    """Members, each of them a file or folder that stays where it is unpacked, without an owner."""
    for member in tar:
        path = PurePosixPath(member.name)
        inside = not path.is_absolute() and ".." not in path.parts
        if not inside or not (member.isfile() or member.isdir()):
            raise tarfile.ExtractError(f"{member.name} leaves the folder, or is not a plain file")
        member.uid, member.gid, member.uname, member.gname = os.getuid(), os.getgid(), "", ""
        member.mode = 0o755 if member.isdir() else 0o644
        yield member


def read_splits(folder: Path, problems: Problems) -> dict[str, dict[str, CommonVoiceClip]]:
    """Clips of each split by utterance id; everything wrong is added to ``problems``."""
    present = {path.name for path in files(folder / "clips", "*.mp3")}
    if not present:
        problems.add("missing clips", f"{folder / 'clips'}: no *.mp3 there; unpack it again")
        return {}
    seen: dict[str, str] = {}
    splits = {}
    for name in SETS:
        splits[name] = {}
        for where, row in _rows(folder / f"{name}.tsv", problems):
            clip = _clip(where, row, folder / "clips", present, seen, problems)
            if clip is not None:
                utterance = f"{clip.speaker}-{Path(clip.path).stem}"
                splits[name][utterance] = clip
        if not splits[name]:
            problems.add(
                "empty split", f"{folder / f'{name}.tsv'}: no usable row; get the file again"
            )
    return splits


def _facts(manifest: dict[str, Any]) -> CorpusSet:
    """The manifest entry of a set, with what the limits left out of it."""
    dropped = manifest["dropped"]
    count = sum(dropped["reasons"].values())
    why = ", ".join(f"{number} {reason}" for reason, number in dropped["reasons"].items())
    left_out = f"{count} of {manifest['rows']} ({count / manifest['rows']:.1%}): {why}; "
    return CorpusSet(
        utterances=manifest["clips"],
        speakers=manifest["speakers"],
        minutes=manifest["hours"] * 60,
        left_out=left_out + f"{dropped['hours']:.2f} h" if count else "",
    )


def _rows(path: Path, problems: Problems) -> list[tuple[str, dict[str, str]]]:
    """Rows with where they stand; tabs separate, quotation marks are text."""
    if not path.is_file():
        problems.add("missing file", f"{path}: no such file; unpack the corpus again")
        return []
    csv.field_size_limit(2**31 - 1)
    with open(path, encoding="utf-8-sig", newline="") as stream:
        try:
            reader = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
            absent = [one for one in COLUMNS if one not in (reader.fieldnames or [])]
            if absent:
                message = f"{path}: no column {', '.join(absent)}; found {reader.fieldnames}"
                problems.add("missing column", message)
                return []
            rows = [(f"{path}:{reader.line_num}", row) for row in reader]
        except (UnicodeDecodeError, csv.Error) as error:
            problems.add("unreadable file", f"{path}: {error}; unpack the corpus again")
            return []
    return [(where, row) for where, row in rows if _is_whole(where, row, problems)]


def _is_whole(where: str, row: dict[str | None, Any], problems: Problems) -> bool:
    """Whether a row has no more values than the header has columns; else a problem."""
    extra = row.get(None)  # where csv keeps what the header has no name for
    if not extra:
        return True
    message = f"{where}: {len(extra)} columns more than the header; a tab inside a sentence makes "
    problems.add("long row", message + "two of it: put a space there, or get the file again")
    return False


def _clip(
    where: str,
    row: dict[str, str],
    clips: Path,
    present: set[str],
    seen: dict[str, str],
    problems: Problems,
) -> CommonVoiceClip | None:
    """The row's clip; None, and a problem, where it is not usable."""
    client, path, sentence = (row[column] for column in COLUMNS)
    if not client or not path or sentence is None:
        problems.add("short row", f"{where}: expected {', '.join(COLUMNS)}; get the file again")
        return None
    sentence = " ".join(sentence.split())
    if path in seen:
        problems.add("duplicate clip", f"{where}: {path} stands in {seen[path]}; keep one")
        return None
    seen[path] = where
    if not sentence:
        problems.add("empty sentence", f"{where}: {path} has no sentence; remove the row")
    if _FILE_NAME.fullmatch(path) is None or path not in present:
        message = f"{where}: {clips / path}: no such file; unpack it again or remove the row"
        problems.add("missing clip", message)
        return None
    # client ids are 128 characters long
    speaker = hashlib.sha256(client.encode()).hexdigest()[:16]
    return CommonVoiceClip(str(clips / path), speaker, sentence) if sentence else None


def _seconds(
    clips: dict[str, CommonVoiceClip], problems: Problems, nj: int, description: str
) -> dict[str, float]:
    paths = [clip.path for clip in clips.values()]
    results = dict(zip(clips, parallel_map(_duration, paths, nj, description), strict=True))
    for utterance, found in results.items():
        if isinstance(found, BadAudioError):
            problems.add(found.kind, f"{clips[utterance].path}: {found.detail}")
    return results


def _duration(path: str) -> float | BadAudioError:
    try:
        return audio_seconds(path)
    except BadAudioError as bad:
        return BadAudioError(bad.kind, f"{bad.detail}; unpack the corpus again")


def _write(
    target: Path,
    clips: dict[str, CommonVoiceClip],
    seconds: dict[str, float],
    limits: DurationLimits,
    settings: dict[str, Any],
) -> dict[str, Any]:
    reasons: dict[str, int] = {}
    kept, dropped = [], []
    for utterance, clip in clips.items():
        reason = limits.reason(seconds[utterance], clip.sentence) if settings["limits"] else None
        if reason is None:
            kept.append(utterance)
        else:
            reasons[reason] = reasons.get(reason, 0) + 1
            dropped.append(utterance)
    if not kept:
        raise UserError(f"{target}: limits leave none of {len(clips)} clips: {reasons}; raise them")
    (target / _MANIFEST).unlink(missing_ok=True)
    DataDir(
        target,
        {key: clips[key].path for key in kept},
        {key: clips[key].sentence for key in kept},
        {key: clips[key].speaker for key in kept},
    ).write(target)
    manifest = {
        "rows": len(clips),
        "clips": len(kept),
        "hours": _hours(kept, seconds),
        "speakers": len({clips[key].speaker for key in kept}),
        "limits": settings["limits"],
        "dropped": {"reasons": reasons, "hours": _hours(dropped, seconds)},
        "settings": settings,
    }
    write_text_atomic(target / _MANIFEST, json.dumps(manifest, indent=1) + "\n")
    return manifest


def _hours(utterances: Sequence[str], seconds: dict[str, float]) -> float:
    return round(sum(seconds[key] for key in utterances) / 3600, 4)


def _settings(folder: Path, name: str, limits: DurationLimits) -> dict[str, Any]:
    """What decides a set's content."""
    rows = hashlib.sha256((folder / f"{name}.tsv").read_bytes()).hexdigest()
    chosen = asdict(limits) if name in limits.sets else None
    if chosen is not None:
        chosen.pop("sets")
        chosen = chosen if any(chosen.values()) else None
    return {"folder": str(folder), "rows": rows, "limits": chosen}


def _finished(target: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    path = target / _MANIFEST
    if not path.is_file():
        return None
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        _facts(manifest)
        same = manifest["settings"] == settings
    except (OSError, ValueError, TypeError, KeyError, ZeroDivisionError):
        return None  # damaged: the set is written again
    return manifest if same else None


def _is_archive(path: Path) -> bool:
    return path.is_file() and path.name.endswith(".tar.gz")


def _only(found: list[Path], language: str) -> Path:
    if len(found) > 1:
        raise UserError(
            f"more than one place has {language}: {', '.join(map(str, found))}; name one of them "
            "as COMMONVOICE="
        )
    return found[0]


def _require_mp3() -> None:
    if "MP3" not in soundfile.available_formats():
        raise UserError(
            f"libsndfile {soundfile.__libsndfile_version__} reads no MP3, 1.1 or newer does; "
            "pip install -U soundfile brings one"
        )
