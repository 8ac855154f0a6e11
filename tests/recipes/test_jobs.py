"""Jobs: what runs when, one line each, and what a failure leaves."""

import sys
from pathlib import Path

import pytest

from distill_asr.errors import UserError
from distill_asr.recipe.jobs import Job, run_jobs


def job(folder: Path, name: str, code: str, *after: str) -> Job:
    program = f"import sys; open('order', 'a').write('{name} '); {code}"
    return Job(name, (sys.executable, "-c", program), Path("logs") / name, folder, after)


def test_a_job_waits_for_those_it_needs(tmp_path: Path) -> None:
    lines: list[str] = []
    jobs = [
        job(tmp_path, "last", "print('done')", "middle"),
        job(tmp_path, "middle", "import time; time.sleep(0.2)", "first"),
        job(tmp_path, "first", "print('more'); print('one thing')"),
    ]
    run_jobs(jobs, 2, lines.append)
    assert (tmp_path / "order").read_text().split() == ["first", "middle", "last"]
    commands = [line for line in lines if line.startswith("(cd ")]
    assert commands == [jobs[i].typed() for i in (2, 1, 0)]
    assert any(line.endswith("s; one thing") and " first: " in line for line in lines)
    assert (tmp_path / "logs" / "first").read_text().endswith("more\none thing\n")


def test_a_progress_bar_is_no_result(tmp_path: Path) -> None:
    lines: list[str] = []
    run_jobs([job(tmp_path, "bar", "print('decode: 100%|####| 20/20')")], 1, lines.append)
    assert lines[-1].split()[1] == "bar:" and lines[-1].endswith(" s")


def test_no_more_at_a_time_than_asked_for(tmp_path: Path) -> None:
    code = (
        "import time, pathlib; p = pathlib.Path('running'); n = int(p.read_text()) if p.exists() "
        "else 0; assert n < 1; p.write_text('1'); time.sleep(0.1); p.write_text('0')"
    )
    run_jobs([job(tmp_path, name, code) for name in "abc"], 1, lambda _: None)


def test_a_failure_names_its_log_and_starts_nothing_else(tmp_path: Path) -> None:
    jobs = [
        job(tmp_path, "bad", "print('this went wrong'); sys.exit(3)"),
        job(tmp_path, "needs", "0", "bad"),
        job(tmp_path, "other", "0"),
    ]
    with pytest.raises(UserError) as raised:
        run_jobs(jobs, 1, lambda _: None)
    head, *rest = raised.value.problems
    assert head.startswith("bad: exit code 3") and str(tmp_path / "logs" / "bad") in head
    assert rest[-1].strip() == "this went wrong"
    assert (tmp_path / "order").read_text().split() == ["bad"]


def test_what_is_printed_can_be_typed(tmp_path: Path) -> None:
    one = Job("n", ("distill-asr", "x", "--set", "a={b: 1}"), Path("log"))
    assert one.typed() == "distill-asr x --set 'a={b: 1}'"
    elsewhere = Job("n", ("distill-asr", "x"), Path("log"), Path("langs/ta"))
    assert elsewhere.typed() == "(cd langs/ta && distill-asr x)"
