"""The demo's server: who may ask, how much, and that every student gets all of the audio."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import numpy as np
import pytest
from aiohttp import WSMsgType, WSServerHandshakeError
from aiohttp.test_utils import TestClient, TestServer

from distill_asr import cli
from distill_asr.demo import server
from distill_asr.demo.server import END, MESSAGE_BYTES, Demo, build_app
from distill_asr.testing.listeners import CountingListener


def with_client(demo: Demo, what: Callable[[TestClient], Awaitable[None]]) -> None:
    async def run() -> None:
        async with TestClient(TestServer(build_app(demo), host="127.0.0.1")) as client:
            await asyncio.wait_for(what(client), 30)

    asyncio.run(run())


def demo(*names: str, slow: float = 0.0, seconds: float = 10) -> Demo:
    return Demo([CountingListener(name, slow) for name in names or ("a", "b")], 16000, seconds)


def origin(client: TestClient) -> dict[str, str]:
    return {"Origin": str(client.make_url("/")).rstrip("/")}


def pcm(samples: int) -> bytes:
    return np.full(samples, 1 << 14, dtype="<i2").tobytes()


async def recorded(client: TestClient, *messages: bytes | str) -> list[dict]:
    async with client.ws_connect("/listen", headers=origin(client)) as socket:
        for message in messages:
            await (socket.send_str if isinstance(message, str) else socket.send_bytes)(message)
        return [message.json() async for message in socket if message.type == WSMsgType.TEXT]


def test_every_student_gets_all_of_it_and_the_last_words_are_final() -> None:
    async def what(client: TestClient) -> None:
        found = await recorded(client, pcm(1600), pcm(800), END)
        assert found[-1] == {"done": True, "problem": None}
        for name in ("a", "b"):
            last = [one for one in found[:-1] if one["student"] == name][-1]
            assert last["text"] == "<b>heard</b> 2400 loudest 0.50"
            assert (last["heard"], last["final"]) == (0.15, True)

    with_client(demo(), what)


def test_a_slow_student_takes_what_has_come_meanwhile_together() -> None:
    shown = demo("slow", slow=0.1)

    async def what(client: TestClient) -> None:
        await recorded(client, *[pcm(160)] * 50, END)

    with_client(shown, what)
    assert sum(shown.listeners[0].pushes) == 8000 and len(shown.listeners[0].pushes) < 10


def test_limits() -> None:
    shown = demo("a", seconds=0.5)

    async def what(client: TestClient) -> None:
        found = await recorded(client, pcm(5000), pcm(5000), pcm(5000))
        assert found[-1]["problem"] == "recordings end after 0.5 s" and shown.recordings == 0
        assert "heard</b> 8000 " in found[-2]["text"]
        odd = await recorded(client, b"abc")
        assert odd[-1]["problem"] == "not 16-bit samples"
        assert (await recorded(client, "what?"))[-1]["problem"] == "not 16-bit samples"
        async with client.ws_connect("/listen", headers=origin(client)) as socket:
            await socket.send_bytes(bytes(MESSAGE_BYTES + 2))
            assert (await socket.receive()).type in (WSMsgType.CLOSE, WSMsgType.CLOSED)
        many = [await client.ws_connect("/listen", headers=origin(client)) for _ in range(4)]
        with pytest.raises(WSServerHandshakeError, match="503"):
            await client.ws_connect("/listen", headers=origin(client))
        for socket in many:
            await socket.close()

    with_client(shown, what)


def test_only_this_machines_page_may_listen() -> None:
    async def what(client: TestClient) -> None:
        for headers in ({"Origin": "http://elsewhere.example"}, {}, {"Origin": "null"},
                        {**origin(client), "Host": "rebound.example:80"}):  # fmt: skip
            with pytest.raises(WSServerHandshakeError, match="403"):
                await client.ws_connect("/listen", headers=headers)
        assert (await client.get("/", headers={"Host": "rebound.example"})).status == 403
        page = await client.get("/")
        assert (
            page.status == 200 and "default-src 'none'" in page.headers["Content-Security-Policy"]
        )
        for name in ("demo.js", "worklet.js", "demo.css"):
            assert (await client.get(f"/{name}")).status == 200
        assert (await client.get("/../server.py")).status == 404
        students = await (await client.get("/students")).json()
        assert students["rate"] == 16000 and [one["name"] for one in students["students"]] == [
            "a",
            "b",
        ]

    with_client(demo(), what)


def test_it_listens_on_this_machine_alone() -> None:
    assert server.HOST == "127.0.0.1"


def test_mistakes_come_together(capsys: pytest.CaptureFixture) -> None:
    assert cli.main(["demo", "exp/a", "other/a", "--port", "70000", "--max-seconds", "0"]) == 1
    found = capsys.readouterr().err
    assert (
        "5 problems" in found
        and "a: given 2 times; the page needs different" in found
        and "--port 70000" in found
    )
