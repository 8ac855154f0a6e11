"""The demo's page in a real browser: a microphone that plays a file, and a file that is chosen."""

from __future__ import annotations

import asyncio
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import soundfile
from aiohttp import web

from distill_asr.demo.server import HOST, Demo, build_app
from distill_asr.testing.listeners import CountingListener

selenium = pytest.importorskip("selenium.webdriver")
CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="no Chromium with its chromedriver"),
]


@pytest.fixture(scope="module")
def wav(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("audio") / "tone.wav"
    soundfile.write(path, 0.5 * np.sin(np.arange(2 * 44100) / 20), 44100)
    return path


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    loop, found = asyncio.new_event_loop(), []
    runner = web.AppRunner(
        build_app(Demo([CountingListener("plain"), CountingListener("taught")], 16000, 10))
    )

    async def serve() -> None:
        await runner.setup()
        site = web.TCPSite(runner, HOST, 0)
        await site.start()
        found.append(site._server.sockets[0].getsockname()[1])

    loop.run_until_complete(serve())
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    yield f"http://{HOST}:{found[0]}/"
    asyncio.run_coroutine_threadsafe(runner.cleanup(), loop).result(20)
    loop.call_soon_threadsafe(loop.stop)
    thread.join()


@pytest.fixture(scope="module")
def browser(wav: Path) -> Iterator[selenium.Chrome]:
    options = selenium.ChromeOptions()
    options.binary_location = CHROMIUM
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "disable-dev-shm-usage",
                 "use-fake-ui-for-media-stream", "use-fake-device-for-media-stream",
                 f"use-file-for-fake-audio-capture={wav}"):  # fmt: skip
        options.add_argument(f"--{flag}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = selenium.Chrome(options=options, service=selenium.ChromeService(DRIVER))
    yield driver
    driver.quit()


def texts(browser: selenium.Chrome, query: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map((one) => one.textContent)"
    return browser.execute_script(script, query)


def wait(until: Callable[[], bool], seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not until():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def heard(browser: selenium.Chrome) -> list[tuple[int, float]]:
    found = (
        re.fullmatch(r"<b>heard</b> (\d+) loudest ([\d.]+) ?", one)
        for one in texts(browser, ".words")
    )
    return [(int(one[1]), float(one[2])) for one in found if one]


def test_speaking(browser: selenium.Chrome, address: str) -> None:
    browser.get(address)
    wait(lambda: texts(browser, ".student h2") == ["plain", "taught"])
    browser.find_element("id", "speak").click()
    wait(lambda: any(samples > 16000 for samples, _ in heard(browser)))
    browser.find_element("id", "speak").click()
    wait(lambda: texts(browser, "#status") == ["Done."])
    both = heard(browser)
    assert len(both) == 2 and both[0] == both[1] and both[0][1] > 0.3, "the tone came through"
    assert all(re.match(r"latency \d+ ms", one) for one in texts(browser, ".latency"))
    assert texts(browser, ".words b") == [], "words are no markup"
    assert texts(browser, "#speak") == ["Speak"]
    assert browser.get_log("browser") == []


def test_a_file(browser: selenium.Chrome, address: str, wav: Path, tmp_path: Path) -> None:
    browser.get(address)
    wait(lambda: len(texts(browser, ".student h2")) == 2)
    browser.find_element("id", "file").send_keys(str(wav))
    wait(lambda: texts(browser, "#status") == ["Done."])
    assert heard(browser)[0] == pytest.approx((32000, 0.5), abs=0.02), "at the students' rate"
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"no audio")
    browser.find_element("id", "file").send_keys(str(broken))
    wait(lambda: texts(browser, "#status")[0].startswith("broken.wav: "))
