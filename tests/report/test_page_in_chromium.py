"""The page in a real browser: charts, players, filters, and nothing on the console."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from distill_asr import cli
from distill_asr.experiments.costs import Forecast, JobCost, note_job, write_forecast
from distill_asr.testing.experiments import HOSTILE, make_experiments

selenium = pytest.importorskip("selenium.webdriver")
WebDriverWait = pytest.importorskip("selenium.webdriver.support.wait").WebDriverWait
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its chromedriver"),
]
CHARTS = ("seeds", "curve", "by-length", "by-noise", "by-speaker")


@pytest.fixture(scope="module")
def browser() -> Iterator[selenium.Chrome]:
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
                 "window-size=1280,1800", "autoplay-policy=no-user-gesture-required"):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    driver.set_script_timeout(60)
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("recipe")
    make_experiments(made, utterances=60)
    return made


def opened(browser: selenium.Chrome, folder: Path, *options: str) -> None:
    page, found = folder / "report.html", sorted(folder.glob("exp/*_seed*"))
    assert (
        cli.main(["report", *map(str, found), "--out", str(page), "--title", "a recipe", *options])
        == 0
    )
    browser.get(page.as_uri())
    ready = "return document.body.dataset.ready === 'true'"
    WebDriverWait(browser, 60).until(lambda page: page.execute_script(ready))


def choose(browser: selenium.Chrome, name: str, value: str) -> None:
    script = """const one = document.getElementById(arguments[0]); one.value = arguments[1];
        one.dispatchEvent(new Event(one.tagName === "INPUT" ? "input" : "change"));"""
    browser.execute_script(script, name, value)


def texts(browser: selenium.Chrome, query: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
    return browser.execute_script(script, query)


def test_charts_players_filters(browser: selenium.Chrome, folder: Path) -> None:
    opened(browser, folder)
    assert browser.title == "a recipe", "no text of the data was run"
    script = """return arguments[0].map((id) =>
        document.querySelectorAll(`#${id} .scatterlayer .trace`).length)"""
    assert all(n >= 3 for n in browser.execute_script(script, CHARTS))
    choose(browser, "term", "distill/hubert")
    traces = len(texts(browser, "#curve .scatterlayer .trace"))
    assert traces == 14, "training and validation of six systems' runs and of stage 1"

    assert len(texts(browser, ".utterance")) == 50
    assert texts(browser, "#count") == ["60 of 60 utterances"]
    assert HOSTILE in texts(browser, ".reference td")
    browser.find_element("id", "next").click()
    assert len(texts(browser, ".utterance")) == 10
    counts = {}
    for outcome in ("better", "worse", "equal"):
        choose(browser, "outcome", outcome)
        (count,) = texts(browser, "#count")
        counts[outcome] = int(count.split()[0])
        assert set(texts(browser, f".utterance:not(.{outcome})")) == set()
    assert sum(counts.values()) == 60 and counts["better"] > counts["worse"]
    choose(browser, "outcome", "all")
    choose(browser, "search", "spk3-00003")
    assert texts(browser, ".head .id") == ["spk3-00003"]
    choose(browser, "search", "")
    choose(browser, "speaker", "spk5")
    assert {one[:4] for one in texts(browser, ".head .id")} == {"spk5"}

    browser.execute_script("document.querySelector('.utterance details').open = true")
    time.sleep(0.2)
    assert texts(browser, ".timing button")
    script = """const done = arguments[0], one = document.querySelector("audio"); one.muted = true;
        one.ontimeupdate = () => { if (one.currentTime > 0.1) done([one.duration, one.error]); };
        one.onerror = () => done([0, one.error && one.error.message]);
        one.play().catch((error) => done([0, String(error)]));"""
    assert browser.execute_async_script(script) == [1.0, None]
    assert browser.get_log("browser") == []


@dataclass
class Picture:
    """As ``pictures.Picture``, which needs ESPnet."""

    step_ms: float = 40.0
    tokens: tuple[str, ...] = ("a", HOSTILE, "<blank>")
    probabilities: tuple = ((0.9, 0.0, 0.1), (0.0, 0.8, 0.1), (0.1, 0.2, 0.8))
    weights: tuple[float, ...] = (0.4, 0.7, 0.2)
    fires: tuple[int, ...] = (1,)


def test_pictures_and_costs(
    browser: selenium.Chrome, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def paint(directory: Path, audio: list[tuple[str, str]]) -> dict[str, Picture]:
        return {utterance: Picture() for utterance, _ in audio}

    monkeypatch.setattr("distill_asr.report.command._paint", lambda study, count: paint)
    jobs = {"train": [JobCost("train baseline_seed1", 90.0, 900.0)]}
    write_forecast(folder / "exp", Forecast(jobs, {"train": 90.0}, 2, 2), [])
    note_job(folder / "exp", JobCost("train baseline_seed1", 100.0, 950.0, 1.0, 131.0))
    opened(browser, folder, "--audio", "none", "--pictures", "4")
    assert "-10 %" in texts(browser, "#costs td") and "2 min 10 s" in texts(browser, "#costs td")
    browser.set_window_size(760, 1200)
    hidden = """const one = document.querySelector("#costs .wide");
        return window.innerWidth < 1000 && one.scrollWidth - one.clientWidth;"""
    WebDriverWait(browser, 20).until(lambda page: page.execute_script(hidden) == 0)
    browser.set_window_size(1280, 1800)
    choose(browser, "outcome", "pictured")
    assert len(texts(browser, ".utterance")) == 4
    browser.execute_script("document.querySelector('.pictured').open = true")
    time.sleep(0.5)
    assert len(texts(browser, ".pictures .heatmaplayer .hm")) == 3, "a map a system"
    assert len(texts(browser, ".pictures .barlayer .trace")) == 3
    assert HOSTILE in texts(browser, ".pictures .ytick text")
    assert browser.get_log("browser") == []


def test_linked_audio_plays_too(browser: selenium.Chrome, folder: Path) -> None:
    opened(browser, folder, "--audio", "link")
    script = """const done = arguments[0], one = document.querySelector("audio");
        one.onloadedmetadata = () => done(one.duration); one.onerror = () => done(0);
        one.preload = "metadata"; one.load();"""
    assert browser.execute_async_script(script) == 1.0
    assert browser.get_log("browser") == []


def test_many_utterances_stay_quick(browser: selenium.Chrome, folder: Path) -> None:
    """Two sets of 10,200 and three systems: a change of the filter is no wait."""
    opened(browser, folder, "--audio", "none")
    page = folder / "report.html"
    head, data, tail = re.split(
        r"""(?<=id="data">)(.*?)(?=</script>)""", page.read_text("utf-8"), maxsplit=1, flags=re.S
    )
    many = json.loads(data) | {"seeds": [1]}
    for one in many["sets"]:
        columns = ("ids", "references", "speakers", "seconds", "audio")
        one |= {key: one[key] * 170 for key in columns}
        one["runs"] = {key: run * 170 for key, run in one["runs"].items() if key.endswith(" 1")}
    page.write_text(head + json.dumps(many).replace("<", "\\u003c") + tail, encoding="utf-8")
    browser.get(page.as_uri())
    assert texts(browser, "#place") == ["page 1 of 204"]
    script = """const begun = performance.now(), one = document.getElementById("search");
        one.value = "dogs"; one.dispatchEvent(new Event("input"));
        document.getElementById("order").value = "change";
        document.getElementById("order").dispatchEvent(new Event("change"));
        return performance.now() - begun"""
    took = browser.execute_script(script)
    print(f"filtered and sorted in {took:.0f} ms")
    assert took < 5000, "milliseconds, of a busy machine"
    assert browser.get_log("browser") == []
