"""A world for one test, and clients of every mode with the same interface."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

from tara_export import Client, Policy, aio

ROOT = Path(__file__).parents[3]
MODES = ("grpc", "grpc-web", "asyncio")
_PROGRAM = os.environ.get("TEST_WORLD_BINARY", str(ROOT / "target/debug/test-world"))


def content(size_bytes: int) -> bytes:
    """The bytes of a document that scenarios.json specifies by its size."""
    period = bytes(i * 31 % 251 for i in range(251))
    return (period * (size_bytes // 251 + 1))[:size_bytes]


class World:
    """The program test-world; clients/README.md documents its commands."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin and process.stdout
        self._stdin, self._stdout = process.stdin, process.stdout
        self.addresses: dict[str, str] = json.loads(self._stdout.readline())

    def run(self, command: str) -> None:
        self._stdin.write(command + "\n")
        self._stdin.flush()
        assert self._stdout.readline().strip() == "ok", command


@contextmanager
def started(settings: Optional[dict[str, str]] = None) -> Iterator[World]:
    """Starts a world. `settings` are environment variables of the server."""
    pipe = subprocess.PIPE
    environment = {**os.environ, **(settings or {})}
    with subprocess.Popen(
        [_PROGRAM],
        stdin=pipe,
        stdout=pipe,
        stderr=subprocess.DEVNULL,
        text=True,
        cwd=ROOT,
        env=environment,
    ) as process:
        assert process.stdin
        try:
            yield World(process)
        finally:
            process.stdin.close()
            process.wait(30)


@contextmanager
def client_of(mode: str, world: World, scheme: str = "http", **options: Any) -> Iterator[Any]:
    address = world.addresses["http1" if mode == "grpc-web" else "grpc"]
    # An address without a scheme has no TLS.
    server = address if (mode, scheme) == ("grpc", "http") else f"{scheme}://{address}"
    with client_at(mode, server, **options) as client:
        yield client


@contextmanager
def client_at(mode: str, server: str, policy: Optional[Policy] = None, **options: Any) -> Iterator[Any]:
    if mode == "asyncio":
        with Blocking(server, policy, **options) as blocking:
            yield blocking
        return
    transport: Any = "grpc" if mode == "grpc" else "grpc-web"
    with Client(server, policy, transport=transport, **options) as client:
        yield client


class Blocking:
    """The client for asyncio with blocking methods and iterators."""

    def __init__(self, server: str, policy: Optional[Policy], **options: Any) -> None:
        self._server, self._policy, self._options = server, policy, options
        self._loop = asyncio.new_event_loop()

    def __enter__(self) -> Blocking:
        async def connect() -> aio.Client:
            return aio.Client(self._server, self._policy, **self._options)

        try:
            self.client = self._loop.run_until_complete(connect())
        except BaseException:
            self._loop.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.run_until_complete(self.client.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()

    def __getattr__(self, name: str) -> Any:
        method = getattr(self.client, name)

        def call(*arguments: Any, **keywords: Any) -> Any:
            result = method(*arguments, **keywords)
            if hasattr(result, "__anext__"):
                return self._read(result)
            return self._loop.run_until_complete(result)

        return call

    def _read(self, items: Any) -> Iterator[Any]:
        async def next_item() -> Any:
            return await items.__anext__()

        while True:
            try:
                yield self._loop.run_until_complete(next_item())
            except StopAsyncIteration:
                return
