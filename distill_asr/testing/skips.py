"""In CI a skipped test is a failed one, but for the reasons written here.

A pytest plugin, at work where the environment says ``CI=true``: a test that is skipped there is
skipped for ever, and nobody sees it.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

# beginnings of the reasons that a machine without special hardware or recordings may give
ALLOWED = (
    "needs a CUDA device",
    "this CPU has no bfloat16",
    "no FSDD recordings at",
    "no Chromium with its chromedriver",
)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn the report of a skipped test into a failure."""
    report = yield
    _fail_if_skipped(report)
    return report


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report() -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    """Turn the report of a skipped file into a failure."""
    report = yield
    _fail_if_skipped(report)
    return report


def _fail_if_skipped(report: pytest.TestReport | pytest.CollectReport) -> None:
    expected_to_fail = hasattr(report, "wasxfail")  # reported as skipped, though it ran
    if os.environ.get("CI") == "true" and report.skipped and not expected_to_fail:
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        reason = reason.removeprefix("Skipped: ")
        if not reason.startswith(ALLOWED):
            report.outcome = "failed"
            report.longrepr = f"skipped, which CI counts as a failure: {reason}"
