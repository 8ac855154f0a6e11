"""The command line dispatches, reports and stays light."""

import errno
import json
import os
import subprocess
import sys
import types
from collections.abc import Callable

import pytest

import distill_asr
from distill_asr import cli
from distill_asr.errors import UserError

HEAVY = ("torch", "torchaudio", "espnet", "espnet2", "transformers", "numpy")


def python(code: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=120
    )


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable:
    """Install a verb `try` that runs a function."""

    def install(run: Callable) -> None:
        module = types.ModuleType("a_verb_for_tests")
        module.add_arguments = lambda parser: parser.add_argument("--number", type=int, default=0)
        module.run = run
        monkeypatch.setitem(sys.modules, "a_verb_for_tests", module)
        monkeypatch.setitem(cli.VERBS, "try", ("a_verb_for_tests", "for tests"))

    return install


@pytest.mark.parametrize(
    "code",
    [
        "import distill_asr",
        "import distill_asr.cli",
        "from distill_asr.cli import main; main(['--help'])",
        "from distill_asr.cli import main; main(['trian'])",
    ],
)
def test_nothing_heavy_is_imported(code: str) -> None:
    report = f"\nimport sys, json\nprint(json.dumps([m for m in {HEAVY!r} if m in sys.modules]))"
    assert json.loads(python(code + report).stdout.splitlines()[-1]) == []


def test_python_dash_m_and_version() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "distill_asr", "--version"], capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, f"distill-asr {distill_asr.__version__}\n")


def test_help_names_every_verb(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["--help"]) == 0
    out = capsys.readouterr().out
    for name, (_, what) in cli.VERBS.items():
        assert f"{name} " in out and what in out


@pytest.mark.parametrize("name", sorted(cli.VERBS))
def test_every_verb_has_help(name: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "distill_asr", name, "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"usage: distill-asr {name}")


def test_arguments_reach_the_verb_and_its_code_comes_back(verb: Callable) -> None:
    verb(lambda args: args.number)
    assert cli.main(["try", "--number", "3"]) == 3
    assert cli.main(["try"]) == 0


def test_wrong_usage(verb: Callable, capsys: pytest.CaptureFixture) -> None:
    verb(lambda args: 0)
    for argv, said in [
        (["trian"], "did you mean train?"),
        (["xyz"], "expected one of "),
        ([], "required: VERB"),
        (["--what"], "VERB"),
        (["try", "--number", "x"], "distill-asr try: error"),
    ]:
        assert cli.main(argv) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize(
    ("problems", "expected"),
    [
        (["a.yaml: wrong"], "distill-asr try: error: 1 problem\na.yaml: wrong\n"),
        (["first", "second"], "distill-asr try: error: 2 problems\nfirst\nsecond\n"),
    ],
)
def test_user_errors_are_listed(
    verb: Callable, capsys: pytest.CaptureFixture, problems: list, expected: str
) -> None:
    def run(args: object) -> int:
        raise UserError(problems)

    verb(run)
    assert cli.main(["try"]) == 1
    assert capsys.readouterr() == ("", expected)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(28, "No space left on device", "exp/a"), "exp/a: No space left on device; make"),
        (PermissionError(13, "Permission denied", "exp"), "exp: Permission denied; correct the"),
        (OSError(36, "File name too long", "b"), "b: File name too long; choose a shorter"),
        (OSError(27, "File too large"), "File too large; raise the limit"),
    ],
)
def test_the_operating_system_fails(
    error: OSError, line: str, verb: Callable, capsys: pytest.CaptureFixture
) -> None:
    def run(args) -> int:
        raise error

    verb(run)
    assert cli.main(["try"]) == 1
    first, second, *more = capsys.readouterr().err.splitlines()
    assert first == "distill-asr try: error: 1 problem"
    assert second.startswith(line) and not more


def test_interrupt(verb: Callable, capsys: pytest.CaptureFixture) -> None:
    def run(args: object) -> int:
        raise KeyboardInterrupt

    verb(run)
    assert cli.main(["try"]) == 130
    assert "interrupted" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error, expected",
    [
        (OSError(errno.ENOSPC, "No space left on device", "a/b"),
         "a/b: No space left on device; make room, and run the same command again"),
        (FileExistsError(errno.EEXIST, "File exists", "a"),
         "a: File exists; a file lies where a directory is needed; remove it, or choose another "
         "path"),
        (PermissionError(errno.EACCES, "Permission denied", b"a"),
         "a: Permission denied; correct the permissions, or choose another place"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
    ],
)  # fmt: skip
def test_files_that_fail_are_named_with_the_reason(
    verb: Callable, capsys: pytest.CaptureFixture, error: OSError, expected: str
) -> None:
    def run(args: object) -> int:
        raise error

    verb(run)
    assert cli.main(["try"]) == 1
    assert capsys.readouterr().err == f"distill-asr try: error: 1 problem\n{expected}\n"


@pytest.mark.parametrize(
    "error", [OSError("no number"), ConnectionResetError(errno.ECONNRESET, "x"), TimeoutError()]
)
def test_other_failures_of_the_system_keep_their_traceback(verb: Callable, error: OSError) -> None:
    def run(args: object) -> int:
        raise error

    verb(run)
    with pytest.raises(type(error)):
        cli.main(["try"])


def test_a_terminal_that_knows_ascii_only() -> None:
    code = (
        "import sys, types\n"
        "from distill_asr import cli\n"
        "from distill_asr.errors import UserError\n"
        "def run(args):\n    print('grün')\n    raise UserError('größe')\n"
        "sys.modules['verb'] = verb = types.ModuleType('verb')\n"
        "verb.add_arguments, verb.run = lambda parser: None, run\n"
        "cli.VERBS['try'] = ('verb', '')\n"
        "sys.exit(cli.main(['try']))\n"
    )
    environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=environment)
    assert (done.returncode, done.stdout) == (1, b"gr\\xfcn\n")
    assert done.stderr.endswith(b"1 problem\ngr\\xf6\\xdfe\n")


def test_programming_errors_keep_their_traceback(verb: Callable) -> None:
    def run(args: object) -> int:
        raise KeyError("x")

    verb(run)
    with pytest.raises(KeyError):
        cli.main(["try"])


def test_a_pipe_that_is_not_stdout_is_not_hushed_up(verb: Callable) -> None:
    def run(args: object) -> int:
        raise BrokenPipeError("a worker's socket")

    verb(run)
    with pytest.raises(BrokenPipeError):
        cli.main(["try"])


@pytest.mark.parametrize("argv", [["try"], ["--help"], ["try", "--help"]])
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_a_reader_that_leaves_is_quiet(argv: list[str], unbuffered: str) -> None:
    code = (
        "import sys, types\n"
        "from distill_asr import cli\n"
        "verb = types.ModuleType('verb')\n"
        "verb.add_arguments = lambda parser: None\n"
        "verb.run = lambda args: print('x' * 100000) or 0\n"
        "sys.modules['verb'] = verb\n"
        "cli.VERBS['try'] = ('verb', '')\n"
        f"sys.exit(cli.main({argv!r}))\n"
    )
    reading, writing = os.pipe()
    os.close(reading)
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=writing,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
    )
    os.close(writing)
    # argparse of newer Pythons swallows a failing write itself, so unbuffered help ends with 0
    swallowed = "--help" in argv and unbuffered
    assert done.stderr == "" and done.returncode in ((0, 141) if swallowed else (141,))
