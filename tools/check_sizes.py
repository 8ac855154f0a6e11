"""Fail when a function, a file or a recipe script has grown too long.

Counted are lines, docstrings left out of functions; the limits stand below. A function is as long
as one thought: nearly all stay far below the limit, and none is cut in two only to get there.

    python tools/check_sizes.py [DIRECTORY]
"""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

FUNCTION, FILE = 60, 450
USUAL, OVER_USUAL = 40, 0.03  # at most this share of functions is longer than usual
INIT_FILE = 40  # lines of statements in an __init__.py: it names things, it does nothing
SCRIPTS = {"egs/*/*/run.sh": 40, "egs/common/distill.sh": 200}
FOLDERS = ("distill_asr", "tests", "tools", "bench", "egs")

# "path::qualname": "reason" for a function, "path": "reason" for a file
EXCEPTIONS: dict[str, str] = {}

Finding = tuple[str, int, int]  # what, its lines, the limit


def main(argv: list[str]) -> int:
    """Print what is over its limit; 1 if something is."""
    root = Path(argv[0]) if argv else Path(__file__).resolve().parent.parent
    problems = check(root, EXCEPTIONS)
    print(*problems, sep="\n", end="\n" if problems else "")
    return 1 if problems else 0


def check(root: Path, exceptions: dict[str, str]) -> list[str]:
    """Say what is over its limit, and which exceptions are needed no longer."""
    over = {what: (lines, limit) for what, lines, limit in measure(root) if lines > limit}
    problems = [
        f"{what}: {lines} lines, at most {limit}"
        for what, (lines, limit) in sorted(over.items())
        if what not in exceptions
    ]
    problems += _too_often_long(root)
    idle = sorted(set(exceptions) - set(over))
    return problems + [f"{what}: no longer over its limit, drop the exception" for what in idle]


def _too_often_long(root: Path) -> list[str]:
    functions = [lines for what, lines, _ in measure(root) if "::" in what]
    long = sum(lines > USUAL for lines in functions)
    if long <= max(3, OVER_USUAL * len(functions)):
        return []
    return [f"{long} of {len(functions)} functions over {USUAL} lines, at most {OVER_USUAL:.0%}"]


def measure(root: Path) -> Iterator[Finding]:
    """Measure every Python file and recipe script below a repository's root."""
    for folder in FOLDERS:
        for path in sorted((root / folder).rglob("*.py")):
            yield from measure_python(path.read_text(encoding="utf-8"), str(path.relative_to(root)))
    for pattern, limit in SCRIPTS.items():
        for path in sorted(root.glob(pattern)):
            lines = path.read_text(encoding="utf-8").splitlines()
            yield str(path.relative_to(root)), len(lines), limit


def measure_python(source: str, name: str) -> Iterator[Finding]:
    """Measure a file and its functions, methods and nested functions."""
    tree = ast.parse(source, filename=name)
    if Path(name).name == "__init__.py":
        yield name, _body_lines(tree), INIT_FILE
    else:
        yield name, len(source.splitlines()), FILE
    for qualname, node in functions(tree):
        yield f"{name}::{qualname}", _lines(node) - _docstring_lines(node), FUNCTION


def functions(
    node: ast.AST, prefix: str = ""
) -> Iterator[tuple[str, ast.FunctionDef | ast.AsyncFunctionDef]]:
    """Every function below a node with its qualified name."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield prefix + child.name, child
        if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield from functions(child, f"{prefix}{child.name}.")
        else:
            yield from functions(child, prefix)


def _lines(node: ast.stmt) -> int:
    return node.end_lineno - node.lineno + 1


def _docstring_lines(node: ast.FunctionDef | ast.AsyncFunctionDef | ast.Module) -> int:
    return _lines(node.body[0]) if ast.get_docstring(node, clean=False) is not None else 0


def _body_lines(tree: ast.Module) -> int:
    return sum(map(_lines, tree.body)) - _docstring_lines(tree)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
