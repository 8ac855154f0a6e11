"""The report as a picture: the long tail of training audio, error rates, and the gain."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from distill_asr.errors import UserError
from distill_asr.io.files import atomic_write
from distill_asr.scoring.languages import LanguageResult, LanguageStudy, mean_reduction

_PLAIN, DISTILLED = "#8a8a8a", "#1f6fb2"


def save_picture(path: Path, study: LanguageStudy, results: Sequence[LanguageResult]) -> None:
    """Write a PNG of three rows over the languages, the least audio at the left.

    Parameters
    ----------
    path : the file.
    study : names the systems.
    results : of each language, from left to right.

    Raises
    ------
    UserError : matplotlib is not installed.
    """
    figure = new_figure(max(5.0, 0.5 * len(results) + 2), 7)
    from matplotlib.ticker import LogLocator, NullFormatter

    audio, rates, gain = figure.subplots(3, 1, sharex=True, height_ratios=[1, 2, 2])
    places = range(len(results))
    audio.bar(places, [60 * one.hours for one in results], color=_PLAIN)
    audio.set(yscale="log", ylabel="training audio\n(minutes)")
    audio.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    audio.yaxis.set_major_formatter("{x:g}")
    audio.yaxis.set_minor_formatter(NullFormatter())
    _rates(rates, study, results)
    _gain(gain, results)
    gain.set_xticks(places, [one.language for one in results])
    write_figure(path, figure)


def new_figure(width: float, height: float) -> Any:
    """A matplotlib figure.

    Parameters
    ----------
    width, height : inches.

    Raises
    ------
    UserError : matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise UserError("the picture needs matplotlib: pip install distill_asr[report]") from error
    return Figure(figsize=(width, height), layout="constrained")


def write_figure(path: Path, figure: Any) -> None:
    """Write a PNG."""
    with atomic_write(path) as temporary:
        figure.savefig(temporary, format="png", dpi=150)


def _rates(axes, study: LanguageStudy, results: Sequence[LanguageResult]) -> None:
    for offset, name, color, side in (
        (-0.2, study.baseline, _PLAIN, "baseline"),
        (0.2, "distilled", DISTILLED, "system"),
    ):
        values = [100 * getattr(one, side).words.rate for one in results]
        places = [place + offset for place in range(len(results))]
        axes.bar(places, values, width=0.4, color=color, label=name)
    axes.set_ylabel("WER (%)")
    axes.legend(frameon=False)


def _gain(axes, results: Sequence[LanguageResult]) -> None:
    # a flawless baseline has no bar
    values = [100 * r if math.isfinite(r := one.reduction) else math.nan for one in results]
    axes.bar(range(len(results)), values, color=[DISTILLED if v > 0 else _PLAIN for v in values])
    mean = 100 * mean_reduction(results).value
    axes.axhline(0, color="black", linewidth=0.8)
    axes.axhline(mean, color=DISTILLED, linestyle="--", linewidth=1, label=f"mean {mean:.1f} %")
    axes.set_ylabel("fewer word errors (%)")
    axes.legend(frameon=False)
