"""Measure how a checkout is built: loose modules, circles, directions of imports, recipes.

With two directories the table has a column for each, before and after. ``--list`` names every
finding of the last directory. It measures; ``make lint`` forbids.

    python tools/check_house.py [DIRECTORY] [DIRECTORY] [--list]
"""

from __future__ import annotations

import argparse
import ast
import re
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

PACKAGE = "distill_asr"
ROOT = Path(__file__).resolve().parent.parent
MADE = {"data", "dump", "exp", "downloads", "langs"}  # what recipes write below egs/
VERB = {"add_arguments", "run"}  # what each command module has, so these repeat by design
LONG = (40, 60)  # lines of a function

Graph = dict[str, set[str]]


@dataclass(frozen=True)
class Import:
    """An import of one module by another, and when it happens."""

    importer: str
    imported: str  # a module of the package, or the name of another distribution
    line: int
    lazy: bool  # inside a function
    typing: bool  # under ``if TYPE_CHECKING``


@dataclass
class House:
    """A measured checkout: numbers for the table, and what each of them counts."""

    imports: list[Import]
    found: dict[str, list[str]] = field(default_factory=dict)

    def rows(self) -> dict[str, str]:
        """The table's numbers by what they count."""
        return {what: str(len(items)) for what, items in self.found.items()}


def main(argv: list[str]) -> int:
    """Print the table; always 0."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directories", nargs="*", type=Path, default=[ROOT])
    parser.add_argument("--list", action="store_true", help="name every finding of the last one")
    args = parser.parse_args(argv)
    houses = [measure(directory) for directory in args.directories]
    columns = [house.rows() for house in houses]
    print("| measure |", *(f"{directory} |" for directory in args.directories))
    print("| :-- |" + " --: |" * len(columns))
    for what in columns[-1]:
        print(f"| {what} |", *(f"{column.get(what, '–')} |" for column in columns))
    if args.list:
        for what, items in houses[-1].found.items():
            print(f"\n{what}: {len(items)}", *items, sep="\n    ")
    return 0


def measure(root: Path) -> House:
    """Measure the package, the recipes and the shell scripts of a checkout."""
    sources = read_package(root)
    trees = {name: ast.parse(text) for name, text in sources.items()}
    commands = {name for name, tree in trees.items() if VERB <= set(_public(tree))}
    commands |= {PACKAGE, f"{PACKAGE}.cli", f"{PACKAGE}.__main__"}
    imports = [found for name, tree in trees.items() for found in find_imports(name, tree, sources)]
    house = House(imports)
    loose = [name for name in sources if name.count(".") == 1 and not _is_package(root, name)]
    house.found["modules"] = sorted(sources)
    house.found["loose modules (cli, __main__ included)"] = sorted(loose)
    house.found |= _circles(imports)
    layers = read_layers(root)
    if layers:
        house.found |= _upward(imports, layers)
    ours = [found for found in imports if found.lazy and _room(found.imported)]
    others = [found for found in imports if found.lazy and not _room(found.imported)]
    for kind, group in (("of the package", ours), ("of other packages", others)):
        group = [found for found in group if found.importer not in commands]
        house.found[f"lazy imports {kind} outside command modules"] = _lines(group)
    house.found["getattr and hasattr probes"] = sorted(_probes(trees))
    house.found["public names defined in several files"] = _twice(trees)
    house.found |= _functions(trees)
    house.found |= _recipes(root)
    return house


# --- the package --------------------------------------------------------------------------------


def read_package(root: Path) -> dict[str, str]:
    """Source of every module of the package, by its dotted name."""
    sources = {}
    for path in sorted((root / PACKAGE).rglob("*.py")):
        parts = path.relative_to(root).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        sources[name] = path.read_text(encoding="utf-8")
    return sources


def find_imports(name: str, tree: ast.Module, modules: Iterable[str]) -> Iterator[Import]:
    """Every import of a module, each name of ``from package import a, b`` on its own."""
    for node, lazy, typing in _import_nodes(tree):
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        else:
            targets = [f"{node.module}.{alias.name}" for alias in node.names]
        for target in targets:
            while target not in modules and target.startswith(f"{PACKAGE}."):
                target = target.rpartition(".")[0]
            if target.split(".")[0] != PACKAGE:
                target = target.split(".")[0]
            yield Import(name, target, node.lineno, lazy, typing)


def _import_nodes(
    node: ast.AST, lazy: bool = False, typing: bool = False
) -> Iterator[tuple[ast.Import | ast.ImportFrom, bool, bool]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            yield child, lazy, typing
        elif isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield from _import_nodes(child, True, typing)
        else:
            guarded = isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test)
            yield from _import_nodes(child, lazy, typing or guarded)


def read_layers(root: Path) -> list[set[str]]:
    """Layers of the contract in pyproject.toml, lowest first; empty where there is none."""
    path = root / "pyproject.toml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    listed = re.search(r"^layers = \[(.*?)^\]", text, re.MULTILINE | re.DOTALL)
    names = re.findall(r'^\s*"([^"]+)"', listed[1], re.MULTILINE) if listed else []
    return [{part.strip(" ()") for part in re.split(r"[|:]", name)} for name in reversed(names)]


def _upward(imports: list[Import], layers: list[set[str]]) -> dict[str, list[str]]:
    height = {room: place for place, rooms in enumerate(layers) for room in rooms}

    def goes_up(found: Import) -> bool:
        low, high = height.get(_room(found.importer)), height.get(_room(found.imported))
        return low is not None and high is not None and high > low

    up = [found for found in imports if goes_up(found)]
    return {
        "upward imports": _lines(f for f in up if not f.lazy and not f.typing),
        "upward imports, lazy": _lines(f for f in up if f.lazy and not f.typing),
        "upward imports, for types alone": _lines(f for f in up if f.typing),
    }


def _circles(imports: list[Import]) -> dict[str, list[str]]:
    eager, ever, rooms = defaultdict(set), defaultdict(set), defaultdict(set)
    for found in imports:
        if found.typing or not _room(found.imported):
            continue
        for module in _loaded(found):
            ever[found.importer].add(module)
            if not found.lazy:
                eager[found.importer].add(module)
        if _room(found.importer) != _room(found.imported):
            rooms[_room(found.importer)].add(_room(found.imported))
    graphs = {"of modules": eager, "of modules, lazy imports included": ever}
    graphs["of rooms, lazy imports included"] = rooms
    circles = {}
    for kind, graph in graphs.items():
        groups = find_circles(graph)
        circles[f"circles {kind}"] = [" ".join(group) for group in groups]
        circles[f"in circles {kind}"] = sorted(name for group in groups for name in group)
    return circles


def _loaded(found: Import) -> Iterator[str]:
    """The imported module, and the packages around it that do not hold the importer as well."""
    module = found.imported
    while module.count(".") and not found.importer.startswith(f"{module}."):
        yield module
        module = module.rpartition(".")[0]


def find_circles(graph: Mapping[str, set[str]]) -> list[list[str]]:
    """Groups of nodes each of which can be reached from each other one."""
    reach = {node: _reachable(graph, node) for node in graph}
    groups = {
        tuple(sorted(other for other in reach[node] if node in reach.get(other, ())))
        for node in graph
        if node in reach[node]
    }
    return [list(group) for group in sorted(groups) if len(group) > 1]


def _reachable(graph: Mapping[str, set[str]], start: str) -> set[str]:
    seen: set[str] = set()
    waiting = list(graph.get(start, ()))
    while waiting:
        node = waiting.pop()
        if node not in seen:
            seen.add(node)
            waiting += graph.get(node, ())
    return seen


def _probes(trees: Mapping[str, ast.Module]) -> Iterator[str]:
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
                if node.func.id == "hasattr" or (node.func.id == "getattr" and len(node.args) == 3):
                    yield f"{name}:{node.lineno}: {ast.unparse(node)}"


def _public(tree: ast.Module) -> Iterator[str]:
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names = [node.name]
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = [target.id for target in targets if isinstance(target, ast.Name)]
        else:
            continue
        yield from (name for name in names if not name.startswith("_"))


def _twice(trees: Mapping[str, ast.Module]) -> list[str]:
    places = defaultdict(set)
    for module, tree in trees.items():
        for name in _public(tree):
            places[name].add(module)
    return [
        f"{name}: {', '.join(sorted(where))}"
        for name, where in sorted(places.items())
        if len(where) > 1 and name not in VERB
    ]


def _functions(trees: Mapping[str, ast.Module]) -> dict[str, list[str]]:
    long: dict[str, list[str]] = {f"functions over {limit} lines": [] for limit in LONG}
    for name, tree in trees.items():
        for node in ast.walk(tree):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                lines = node.end_lineno - node.lineno + 1
                if ast.get_docstring(node) is not None:
                    lines -= node.body[0].end_lineno - node.body[0].lineno + 1
                for limit in LONG:
                    if lines > limit:
                        long[f"functions over {limit} lines"].append(f"{name}.{node.name}: {lines}")
    return long


# --- the recipes --------------------------------------------------------------------------------


def _recipes(root: Path) -> dict[str, list[str]]:
    yaml = [path for folder in ("egs", "conf") for path in _kept(root, folder, "*.yaml")]
    short = [path for path in yaml if len(path.read_text(encoding="utf-8").splitlines()) <= 2]
    shell = [
        f"{path.relative_to(root)}:{number}"
        for path in _kept(root, "egs", "*.sh")
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if line.strip() and not line.strip().startswith("#")
    ]
    python = [
        f"{path.relative_to(root)}:{number}"
        for path in _kept(root, "egs", "*.py")
        for number, _ in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
    ]
    return {
        "YAML files in egs and conf": [str(path.relative_to(root)) for path in yaml],
        "of these with at most two lines": [str(path.relative_to(root)) for path in short],
        "lines of shell in egs": shell,
        "lines of Python in egs": python,
    }


def _kept(root: Path, folder: str, pattern: str) -> list[Path]:
    paths = sorted((root / folder).rglob(pattern))
    return [path for path in paths if not MADE & set(path.relative_to(root).parts)]


# --- small --------------------------------------------------------------------------------------


def _room(module: str) -> str:
    parts = module.split(".")
    return parts[1] if parts[0] == PACKAGE and len(parts) > 1 else ""


def _is_package(root: Path, name: str) -> bool:
    return (root / name.replace(".", "/")).is_dir()


def _lines(imports: Iterable[Import]) -> list[str]:
    return sorted(f"{found.importer}:{found.line}: {found.imported}" for found in imports)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
