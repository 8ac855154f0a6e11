"""An ssh server on this machine that lets everybody in and runs what it is told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import asyncssh


class _Open(asyncssh.SSHServer):
    def begin_auth(self, username: str) -> bool:
        return False


async def _run(process: asyncssh.SSHServerProcess) -> None:
    pipe = asyncio.subprocess.PIPE
    child = await asyncio.create_subprocess_exec(
        "bash", "-c", process.command, stdin=pipe, stdout=pipe, stderr=pipe
    )
    await process.redirect(stdin=child.stdin, stdout=child.stdout, stderr=child.stderr)
    ended = asyncio.ensure_future(child.wait())
    gone = asyncio.ensure_future(process.channel.wait_closed())
    await asyncio.wait({ended, gone}, return_when=asyncio.FIRST_COMPLETED)
    if child.returncode is None:
        child.kill()
    process.exit(await child.wait())


@contextmanager
def ssh_server() -> Iterator[int]:
    """Give the port."""
    loop = asyncio.new_event_loop()
    key = asyncssh.generate_private_key("ssh-ed25519")
    server = loop.run_until_complete(
        asyncssh.listen(
            "127.0.0.1", 0, server_factory=_Open, server_host_keys=[key], process_factory=_run
        )
    )
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        loop.call_soon_threadsafe(server.close)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
