"""The Debian packages with the recordings: fetched and unpacked, or taken from a directory."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Iterable
from pathlib import Path

from distill_asr.corpora.distributed import files
from distill_asr.errors import Problems, UserError
from distill_asr.io.files import write_text_atomic

ASTERISK = "asterisk-core-sounds"
PROMPTS = tuple(f"{ASTERISK}-{language}" for language in ("en", "es", "fr", "it", "ru"))
_DEFAULT = (
    "festvox-ru",
    "tuxpaint-stamps-default",
    "klettres-data",
    "gcin-voice",
    *(name + kind for name in PROMPTS for kind in ("", "-g722")),
)
SPACE = "about 430 MB of downloads, 500 MB unpacked"
_READY = ".unpacked"  # lies in a package that was unpacked to its end


def find_packages(given: str | Path | None, downloads: Path) -> dict[str, Path]:
    """Root of each package (with ``usr/`` in it), by its name.

    Parameters
    ----------
    given : a directory with one directory a package, as ``dpkg-deb -x`` fills it; with ``*.deb``
        files in it, these are unpacked below ``downloads``. None: the packages of ``DEFAULT`` are
        fetched with apt-get.
    downloads : where packages are fetched and unpacked; what is there already stays.

    Raises
    ------
    UserError : nothing there, or a package that is not whole.
    """
    if given is None:
        return _fetched(downloads)
    folder = Path(given)
    if not folder.is_dir():
        raise UserError(
            f"{folder}: no such directory; expected a directory with one directory for each package"
        )
    debs = files(folder, "*.deb")
    if debs:
        return {name: _unpacked(deb, downloads) for name, deb in _named(debs).items()}
    roots = {path.name: path for path in sorted(folder.iterdir()) if path.is_dir()}
    problems = Problems()
    for name, path in roots.items():
        if not (path / "usr/share").is_dir():
            problems.add("half-unpacked package", f"{path}: no usr/share; {_again(name)}")
    if not roots:
        way_out = "unpack them there, or leave the option out where apt-get is"
        problems.add("no package", f"{folder}: expected {', '.join(_DEFAULT[:3])} ...; {way_out}")
    problems.raise_if_any()
    return roots


def absent_packages(given: str | Path | None) -> list[str]:
    """Packages that a directory of them lacks; none where they are fetched."""
    if given is None:
        return []
    present = {path.name.partition("_")[0] for path in Path(given).iterdir()}
    return [name for name in _DEFAULT if name not in present]


def _again(name: str) -> str:
    return f"`apt-get download {name}` and `dpkg-deb -x {name}_*.deb {name}` there"


def _named(debs: Iterable[Path]) -> dict[str, Path]:
    """The last version of each package; a file is NAME_VERSION_ARCHITECTURE.deb."""
    return {deb.name.partition("_")[0]: deb for deb in debs}


def _fetched(downloads: Path) -> dict[str, Path]:
    for program in ("apt-get", "dpkg-deb"):
        if shutil.which(program) is None:
            raise UserError(
                f"{program} is not installed, so the packages cannot be fetched; on a Debian "
                "machine, run "
                f"`apt-get download {' '.join(_DEFAULT)}`, copy the files here, and give their "
                "directory as HUMAN_PACKAGES=DIR or --packages DIR"
            )
    downloads.mkdir(parents=True, exist_ok=True)
    present = _named(files(downloads, "*.deb"))
    missing = [name for name in _DEFAULT if name not in present]
    if missing:
        _run(["apt-get", "download", *missing], downloads)
    present = _named(files(downloads, "*.deb"))
    return {name: _unpacked(present[name], downloads) for name in _DEFAULT}


def _unpacked(deb: Path, downloads: Path) -> Path:
    """Where a package lies unpacked; unpacked under a temporary name first."""
    target = downloads / "packages" / deb.name.partition("_")[0]
    if (target / _READY).is_file() and (target / _READY).read_text() == deb.name:
        return target
    if shutil.which("dpkg-deb") is None:
        raise UserError(
            f"dpkg-deb is not installed, so {deb} cannot be unpacked; {_again(target.name)}"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".tmp", dir=target.parent))
    try:
        _run(["dpkg-deb", "-x", str(deb.resolve()), str(temporary.resolve())], downloads)
        write_text_atomic(temporary / _READY, deb.name)
        shutil.rmtree(target, ignore_errors=True)
        temporary.chmod(0o755)
        temporary.rename(target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return target


def _run(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip() or "nothing said").splitlines()[-1]
        raise UserError(
            f"`{' '.join(command)}` in {folder} fails ({said}); run it by hand to see why, or give "
            "a directory of unpacked packages as HUMAN_PACKAGES=DIR"
        )
