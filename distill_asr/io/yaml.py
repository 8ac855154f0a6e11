"""Training YAMLs: ESPnet configs with ``extends:`` and ``distill:``; needs no torch, no ESPnet."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from distill_asr.errors import UserError


class _UniqueKeyLoader(yaml.SafeLoader):
    """Safe loader that refuses a key given twice; plain YAML would keep the last one."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        own = [key for key, _ in node.value if key.tag != "tag:yaml.org,2002:merge"]
        keys = [self.construct_object(key, deep=deep) for key in own]
        twice = sorted({str(key) for key in keys if keys.count(key) > 1})
        if twice:
            raise yaml.constructor.ConstructorError(
                None, None, f"key given twice: {', '.join(twice)}", node.start_mark
            )
        return super().construct_mapping(node, deep=deep)


def load_yaml(path: str | Path) -> dict[str, Any]:
    """One YAML mapping, without ``extends``.

    Raises
    ------
    UserError : missing, not UTF-8, not YAML, a key twice, or no mapping.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8"), Loader=_UniqueKeyLoader)
    except FileNotFoundError:
        raise UserError(f"{path}: no such file; correct the path") from None
    except (UnicodeDecodeError, OSError) as error:
        raise UserError(f"{path}: cannot be read as UTF-8 text: {error}") from error
    except yaml.YAMLError as error:
        raise UserError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected 'key: value' lines, found {type(content).__name__}")
    return content


def load_config(
    path: str | Path | Sequence[str | Path], overrides: Iterable[str] = ()
) -> dict[str, Any]:
    """A config with its bases merged in and the overrides applied.

    Parameters
    ----------
    path : YAML whose ``extends:`` names a base, or a list of bases; see ``find_shared``.
        Mappings merge key by key, everything else replaces; later bases win over earlier ones.
        Several files are merged from left to right, as bases are.
    overrides : ``key.path=value`` with a YAML value; an empty value is null.

    Raises
    ------
    UserError : unreadable files, a circle of bases, or overrides of the wrong form.
    """
    paths = [path] if isinstance(path, (str, Path)) else path
    config: dict[str, Any] = {}
    for one in paths:
        config = merge(config, _load_extended(Path(one), ()))
    problems = []
    for override in overrides:
        try:
            _apply(config, override)
        except ValueError as error:
            problems.append(f"--set {override}: {error}")
    if problems:
        raise UserError(problems)
    return config


def find_shared(name: str, folder: Path) -> Path:
    """A file that a YAML names: relative to the YAML's folder, or else to a ``conf/`` above.

    The nearest ``conf/`` that has it counts; recipes share students, methods and teachers there.
    Where none has it, the path in the folder is given, for messages.

    Parameters
    ----------
    name : as the YAML has it.
    folder : of the YAML.
    """
    shared = (parent / "conf" / name for parent in folder.resolve().parents)
    return next((path for path in (folder / name, *shared) if path.is_file()), folder / name)


def config_name(path: str | Path | Sequence[str | Path]) -> str:
    """What messages call a config of one or several files: ``a.yaml + b.yaml``."""
    return str(path) if isinstance(path, (str, Path)) else " + ".join(map(str, path))


def merge(base: dict[str, Any], diff: dict[str, Any]) -> dict[str, Any]:
    """``diff`` over ``base``, mapping by mapping; neither is changed.

    Where the diff names another class (``encoder: branchformer``), the base's arguments for the
    old one (``encoder_conf``) are dropped, since they belong to it.
    """
    renamed = {f"{key}_conf" for key in diff if key in base and base[key] != diff[key]}
    merged = {key: value for key, value in base.items() if key not in renamed}
    for key, value in diff.items():
        both = isinstance(value, dict) and isinstance(merged.get(key), dict)
        merged[key] = merge(merged[key], value) if both else value
    return merged


def _load_extended(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    resolved = path.resolve()
    if resolved in seen:
        circle = " -> ".join(str(p) for p in (*seen, resolved))
        raise UserError(f"{path}: 'extends' runs in a circle: {circle}; remove one of them")
    config = load_yaml(path)
    bases = config.pop("extends", [])
    bases = [bases] if isinstance(bases, str) else bases
    if not isinstance(bases, list) or not all(isinstance(base, str) for base in bases):
        raise UserError(f"{path}: extends: expected a file name or a list of them, found {bases!r}")
    merged: dict[str, Any] = {}
    for base in bases:
        found = find_shared(base, path.parent)
        merged = merge(merged, _load_extended(found, (*seen, resolved)))
    return merge(merged, config)


def _apply(config: dict[str, Any], override: str) -> None:
    key, equals, text = override.partition("=")
    parts = key.split(".")
    if not equals or not all(parts):
        raise ValueError("expected key.path=value")
    try:
        value = yaml.load(text, Loader=_UniqueKeyLoader)
    except yaml.YAMLError as error:
        raise ValueError(f"the value is not valid YAML: {error}") from error
    block = config
    for depth, part in enumerate(parts[:-1]):
        block = block.setdefault(part, {})
        if not isinstance(block, dict):
            raise ValueError(f"{'.'.join(parts[: depth + 1])} is {block!r}, which has no keys")
    if parts[-1] in block and block[parts[-1]] != value:
        block.pop(f"{parts[-1]}_conf", None)  # as in merge
    block[parts[-1]] = value
