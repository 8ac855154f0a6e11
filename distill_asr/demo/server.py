"""The page's server: this machine alone, one recording to all students, words as they come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from aiohttp import WSMsgType, web

from distill_asr.demo.contract import Listener, Words

HOST = "127.0.0.1"
_NAMES = (HOST, "localhost")
MESSAGE_BYTES = 1 << 20  # of one message at most
_RECORDINGS = 4  # at a time
END = "end"  # text message: the recording is over
_PAGE = Path(__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "worker-src 'self'; img-src data:; frame-ancestors 'none'"
)
_PARTS = ("demo.js", "worklet.js", "demo.css")
_KINDS = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@dataclass
class Demo:
    """The students, and what a visitor may ask of them.

    Parameters
    ----------
    rate : of the audio, in Hz.
    seconds : longest recording.
    recordings : that are going on.
    """

    listeners: Sequence[Listener]
    rate: int
    seconds: float
    recordings: int = 0


def build_app(demo: Demo) -> web.Application:
    """The application; it answers to this machine's own names only."""
    app = web.Application(middlewares=[_guarded], client_max_size=MESSAGE_BYTES)
    for address, name in {"/": "demo.html", **{f"/{one}": one for one in _PARTS}}.items():
        app.router.add_get(address, partial(_file, name))
    app.router.add_get("/students", lambda _: _students(demo))
    app.router.add_get("/listen", lambda request: _listen(request, demo))
    return app


@web.middleware
async def _guarded(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse other names (DNS rebinding) and pages of other places that connect here."""
    if request.host.rpartition(":")[0] not in _NAMES:
        raise web.HTTPForbidden(text="this page answers to localhost only")
    origin = request.headers.get("Origin")
    if origin is not None and origin != f"http://{request.host}":
        raise web.HTTPForbidden(text="another page may not listen here")
    return await handler(request)


async def _file(name: str, _: web.Request) -> web.Response:
    path = _PAGE / name
    headers = {"Content-Security-Policy": POLICY, "X-Content-Type-Options": "nosniff"}
    text = await asyncio.to_thread(path.read_text, encoding="utf-8")
    return web.Response(text=text, content_type=_KINDS[path.suffix], headers=headers)


async def _students(demo: Demo) -> web.Response:
    students = [{"name": one.name, "how": one.how} for one in demo.listeners]
    return web.json_response({"rate": demo.rate, "seconds": demo.seconds, "students": students})


async def _listen(request: web.Request, demo: Demo) -> web.StreamResponse:
    """One recording: binary messages of 16-bit little-endian samples, then ``end``."""
    if "Origin" not in request.headers:
        raise web.HTTPForbidden(text="only the page may listen here")
    if demo.recordings >= _RECORDINGS:
        raise web.HTTPServiceUnavailable(text=f"{_RECORDINGS} recordings are going on already")
    socket = web.WebSocketResponse(max_msg_size=MESSAGE_BYTES)
    await socket.prepare(request)
    demo.recordings += 1
    workers = [_Worker(one, socket) for one in demo.listeners]
    try:
        problem = await _received(socket, demo, workers)
        await asyncio.gather(*(worker.finished() for worker in workers))
        with suppress(ConnectionError):
            await socket.send_json({"done": True, "problem": problem})
    finally:
        demo.recordings -= 1
        for worker in workers:
            worker.task.cancel()
        await socket.close()
    return socket


async def _received(
    socket: web.WebSocketResponse, demo: Demo, workers: Sequence[_Worker]
) -> str | None:
    """Hand the audio on; give why the recording was ended, if not by the page."""
    left = int(demo.seconds * demo.rate)
    async for message in socket:
        if message.type == WSMsgType.TEXT and message.data == END:
            return None
        if message.type != WSMsgType.BINARY or len(message.data) % 2:
            return "not 16-bit samples"
        samples = np.frombuffer(message.data, dtype="<i2").astype(np.float32) / 2**15
        for worker in workers:
            worker.take(samples[:left])
        left -= len(samples)
        if left <= 0:
            return f"recordings end after {demo.seconds:g} s"
    return None


class _Worker:
    """One student's part of a recording; what comes while it computes is taken together."""

    def __init__(self, listener: Listener, socket: web.WebSocketResponse) -> None:
        self._listener, self._socket = listener, socket
        self._waiting: list[np.ndarray] = []
        self._news, self._over = asyncio.Event(), False
        self.task = asyncio.create_task(self._work())

    def take(self, samples: np.ndarray) -> None:
        """More audio [n]."""
        self._waiting.append(samples)
        self._news.set()

    async def finished(self) -> None:
        """No more audio comes: wait for the last words."""
        self._over = True
        self._news.set()
        await self.task

    async def _work(self) -> None:
        session = await asyncio.to_thread(self._listener.begin)
        while not (self._over and not self._waiting):
            await self._news.wait()
            self._news.clear()
            if self._waiting:
                samples, self._waiting = np.concatenate(self._waiting), []
                await self._timed(session.push, samples)
        await self._timed(session.finish)

    async def _timed(self, step: Callable[..., list[Words]], *arguments: np.ndarray) -> None:
        begun = time.monotonic()
        found = await asyncio.to_thread(step, *arguments)
        computed = 1000 * (time.monotonic() - begun)
        for words in found:
            await self._told(words, computed)

    async def _told(self, words: Words, computed: float) -> None:
        if self._socket.closed:
            return
        message = {
            "student": self._listener.name,
            "text": words.text,
            "heard": words.heard,
            "final": words.final,
            "computed_ms": round(computed, 1),
        }
        with suppress(ConnectionError):  # the page was closed
            await self._socket.send_json(message)
