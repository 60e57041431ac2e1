"""Servers in front of the real server that forward its connections."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager, suppress
from typing import Any


@contextmanager
def running(start: Coroutine[Any, Any, asyncio.Server]) -> Iterator[asyncio.Server]:
    """Starts a server and runs it in a thread until the context ends."""
    loop = asyncio.new_event_loop()
    server = loop.run_until_complete(start)
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        for task in asyncio.all_tasks(loop):
            task.cancel()
        server.close()
        loop.run_until_complete(server.wait_closed())
        loop.close()


async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Forwards the bytes of one direction until the connection ends."""
    with suppress(OSError), closing(target):
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
