"""Where each collection keeps its recordings and their texts.

A function a collection: its root in, clips out. A file that a text names and that is not there, or
a layout of another version, goes to ``problems``.
"""

from __future__ import annotations

import csv
import gzip
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from distill_asr.corpora.distributed import files
from distill_asr.corpora.human.clips import Clip
from distill_asr.corpora.human.packages import ASTERISK
from distill_asr.corpora.mini import DIGITS
from distill_asr.errors import Problems

_FESTVOX = re.compile(r'\(\s*(\S+)\s+"(.*)"\s*\)')
_STAMP = re.compile(r"([A-Za-z_@]+)\.utf8=(.*)")
_PROMPT = re.compile(r"^([\w/.+-]+)\s*:\s*(.+)$", re.MULTILINE)
_DIGIT = re.compile(r"(\d)_([^_]+)_(\d+)")
LONGEST_LINK = 200  # bytes
_LETTERS = "alphabet"  # of GCompris: single letters and digits


def package_clips(roots: Mapping[str, Path], problems: Problems) -> Iterator[Clip]:
    """Clips of all packages that this module supports; it skips other packages.

    Parameters
    ----------
    roots : folder of each unpacked package, the one with ``usr``, by the package's name.
    problems : gets what cannot be used.
    """
    for name, root in roots.items():
        if name.startswith("festvox-"):
            yield from festvox(name, root, problems)
        elif name == "tuxpaint-stamps-default":
            yield from tuxpaint(root, problems)
        elif name == "klettres-data":
            yield from klettres(root, problems)
        elif name == "gcin-voice":
            yield from gcin(root, problems)
        elif name.startswith(f"{ASTERISK}-") and name.endswith("-g722"):
            yield from asterisk(name.removesuffix("-g722"), roots, problems)


def festvox(name: str, root: Path, problems: Problems) -> Iterator[Clip]:
    """A recorded voice of Festival: ``etc/txt.done.data`` and ``wav/``; '+' marks stress."""
    language = name.removeprefix("festvox-")
    tables = files(root, "usr/share/festival/voices/*/*/etc/txt.done.data")
    if not tables:
        _other_version(name, root, "usr/share/festival/voices/*/*/etc/txt.done.data", problems)
    for table in tables:
        voice = table.parents[1]
        for line in table.read_text(encoding="utf-8", errors="replace").splitlines():
            if (found := _FESTVOX.match(line.strip())) is None:
                continue
            path = voice / "wav" / f"{found[1]}.wav"
            if not path.is_file():
                message = f"{table}: {found[1]}: {path} is not there; unpack {name} again"
                problems.add("text without audio", message)
                continue
            text = found[2].replace("+", "")
            yield Clip(path, name, language, f"{name}_{voice.name}", found[1], text)


def tuxpaint(root: Path, problems: Problems) -> Iterator[Clip]:
    """Stamps of Tux Paint: ``NAME.txt`` with a line a language, ``NAME_desc_LANGUAGE.ogg``."""
    stamps = root / "usr/share/tuxpaint/stamps"
    texts = sorted(stamps.rglob("*.txt"))
    if not texts:
        _other_version("tuxpaint-stamps-default", root, "usr/share/tuxpaint/stamps", problems)
    for table in texts:
        lines = table.read_text(encoding="utf-8", errors="replace").splitlines()
        said = {"en": lines[0]} if lines else {}
        said |= {m[1]: m[2] for line in lines[1:] if (m := _STAMP.match(line))}
        key = table.relative_to(stamps).with_suffix("").as_posix()
        for path in sorted(table.parent.glob(f"{table.stem}_desc*")):
            language = path.stem.removeprefix(f"{table.stem}_desc").removeprefix("_") or "en"
            if path.suffix not in (".ogg", ".wav") or not re.fullmatch(r"[A-Za-z_@]+", language):
                continue
            text = said.get(language, "").strip() or None
            yield Clip(path, "tuxpaint", language, f"tuxpaint_{language}", key, text)


def asterisk(name: str, roots: Mapping[str, Path], problems: Problems) -> Iterator[Clip]:
    """Prompts of a telephone exchange: texts in one package, G.722 in another.

    Parameters
    ----------
    name : of the package with the texts, ``asterisk-core-sounds-LANGUAGE``.
    roots : folders of both packages by name.
    problems : gets a missing package, and another layout.
    """
    language, sound = name.removeprefix(f"{ASTERISK}-"), roots[f"{name}-g722"]
    found = files(roots[name], "usr/share/doc/*/core-sounds*.txt*") if name in roots else []
    if not found:
        message = f"{name}: no usr/share/doc/*/core-sounds*.txt* for the texts of {name}-g722"
        problems.add("missing package", f"{message}; unpack {name} beside it")
        return
    texts = dict(_PROMPT.findall(_decoded(found[0])))
    prompts = sorted((sound / "usr/share/asterisk/sounds").glob("*/**/*.g722"))
    if not prompts:
        _other_version(f"{name}-g722", sound, "usr/share/asterisk/sounds/*/*.g722", problems)
    for path in prompts:
        if not path.stat().st_size:  # the package has such, for words that a language lacks
            continue
        voice, *rest = path.relative_to(sound / "usr/share/asterisk/sounds").parts
        key = "/".join(rest).removesuffix(".g722")
        if (text := texts.get(key, "").strip()) and not text.startswith("["):
            yield Clip(path, "asterisk", language, f"asterisk_{voice}", key, text)


def klettres(root: Path, problems: Problems) -> Iterator[Clip]:
    """Letters and syllables of KLettres; the file names do not spell the words."""
    tables = files(root, "usr/share/klettres/*/sounds.xml")
    if not tables:
        _other_version("klettres-data", root, "usr/share/klettres/*/sounds.xml", problems)
    for table in tables:
        try:
            sounds = ElementTree.parse(table).getroot().iter("sound")
        except ElementTree.ParseError as error:
            problems.add("damaged package", f"{table}: {error}; unpack klettres-data again")
            continue
        language = table.parent.name
        for path in sorted({table.parents[1] / sound.get("file", "") for sound in sounds}):
            if path.is_file():
                key = path.relative_to(table.parent).with_suffix("").as_posix()
                yield Clip(path, "klettres", language, f"klettres_{language}", key)


def gcin(root: Path, problems: Problems) -> Iterator[Clip]:
    """Mandarin syllables of two speakers."""
    found = files(root, "usr/share/gcin-voice/ogg/*/*.ogg")
    if not found:
        _other_version("gcin-voice", root, "usr/share/gcin-voice/ogg/*/*.ogg", problems)
    for path in found:
        yield Clip(path, "gcin", "zh", f"gcin_{path.stem}", path.parent.name)


def gcompris(root: Path, problems: Problems) -> Iterator[Clip]:
    """Voices of GCompris: ``LANGUAGE/KIND/*.ogg``, and ``texts.tsv`` where somebody made one."""
    texts = _gcompris_texts(root / "texts.tsv", problems)
    found = files(root, "*/**/*.ogg")
    if not found:
        message = f"{root}: no LANGUAGE/KIND/*.ogg there; expected GCompris' voices repository"
        problems.add("missing recordings", message)
    for path in found:
        place = path.relative_to(root)
        if _is_link(path):  # to a recording that is there under its own name
            continue
        language, key = place.parts[0], "/".join(place.parts[1:]).removesuffix(".ogg")
        text = None if _LETTERS in place.parts else texts.pop(place.as_posix(), None)
        yield Clip(path, "gcompris", language, f"gcompris_{language}", key, text)
    for lost in sorted(texts):
        if _LETTERS not in lost:
            message = f"{root / 'texts.tsv'}: {root / lost} is not there; copy it again"
            problems.add("text without audio", message)


def orders(root: Path, problems: Problems) -> Iterator[Clip]:
    """English orders at a coffee machine, ``clips/*.ogg``: many people, no transcripts."""
    found = files(root, "clips/*.ogg")
    if not found:
        problems.add("missing recordings", f"{root}: no clips/*.ogg there; copy it again")
    for path in found:
        yield Clip(path, "orders", "en", "orders", path.stem)


def fsdd(root: Path, problems: Problems) -> Iterator[Clip]:
    """English digits of the Free Spoken Digit Dataset, with or without ``recordings/``."""
    found = files(root / "recordings", "*.wav") or files(root, "*.wav")
    if not found:
        problems.add(
            "missing recordings",
            f"{root}: no *.wav, nor recordings/*.wav there; give the directory of the dataset",
        )
    for path in found:
        if name := _DIGIT.fullmatch(path.stem):
            yield Clip(path, "fsdd", "en", f"fsdd_{name[2]}", path.stem, DIGITS[int(name[1])])


# option -> collection, besides the packages
OTHERS: dict[str, Callable[[Path, Problems], Iterator[Clip]]] = {
    "gcompris_voices": gcompris,
    "speech_to_intent": orders,
    "fsdd": fsdd,
}


def _is_link(path: Path) -> bool:
    """Whether a file is a link, or what git leaves of one where links are not checked out."""
    if path.is_symlink() or path.stat().st_size > LONGEST_LINK:
        return path.is_symlink()
    return path.read_bytes().strip().endswith(b".ogg")


def _gcompris_texts(table: Path, problems: Problems) -> dict[str, str]:
    if not table.is_file():
        return {}
    with open(table, encoding="utf-8", newline="") as stream:
        rows = csv.DictReader(stream, delimiter="\t", quoting=csv.QUOTE_NONE)
        if absent := [one for one in ("path", "text") if one not in (rows.fieldnames or [])]:
            problems.add(
                "missing column",
                f"{table}: no column {', '.join(absent)}; expected a header line with path and "
                "text",
            )
            return {}
        return {row["path"]: row["text"] for row in rows if row["path"] and row["text"]}


def _decoded(path: Path) -> str:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError:
        return content.decode("latin-1")


def _other_version(name: str, root: Path, pattern: str, problems: Problems) -> None:
    message = f"{root}: no {pattern} there; half-unpacked, or of a version that this recipe does "
    problems.add("unknown layout", f"{message}not know: unpack {name} of Debian 12 or later again")
