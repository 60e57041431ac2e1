"""The connection that a manager keeps between its calls."""

from __future__ import annotations

import asyncio
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from dropin_world import World
from forwarding import copy, running
from sessions import sample_session

from tara_export.dropin import S3ExportManager, kept_connection

#: A program that exports, and exports again in forked processes.
_FORKS = """
import os, signal
from sessions import sample_session
from tara_export.dropin import S3ExportManager
manager = S3ExportManager(send_at_start=False)
def export():
    return manager.export_complete_review_to_s3(sample_session(), None, None)["success"]
assert export()
for _ in range(5):
    child = os.fork()
    if child == 0:
        # A hanging call ends the process.
        signal.alarm(60)
        os._exit(0 if not manager._connections._idle and export() else 1)
    status = os.waitpid(child, 0)[1]
    assert status == 0, status
    # It was closed before the fork.
    assert not manager._connections._idle and export()
"""


class Counter:
    """Counts the connections to the server. `address` forwards them."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.count = 0


@contextmanager
def counted(world: World) -> Iterator[Counter]:
    counter = Counter("")
    host, port = world.server.split(":")

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        counter.count += 1
        server_reader, server_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, server_writer), copy(server_reader, writer))

    with running(asyncio.start_server(connect, "127.0.0.1", 0)) as server:
        counter.address = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        yield counter


def export(manager: S3ExportManager) -> bool:
    result = manager.export_complete_review_to_s3(sample_session(), None, None)
    return bool(result["success"])


def test_exports_use_one_connection(world: World) -> None:
    with counted(world) as connections:
        manager = world.manager(connections.address)
        assert all(export(manager) for _ in range(3))
        assert connections.count == 1


@pytest.mark.parametrize("limit", ["_MAX_IDLE_SECONDS", "_MAX_AGE_SECONDS"])
def test_old_connection_is_not_used_again(world: World, monkeypatch: pytest.MonkeyPatch, limit: str) -> None:
    monkeypatch.setattr(kept_connection, limit, 0)
    with counted(world) as connections:
        manager = world.manager(connections.address)
        assert all(export(manager) for _ in range(3))
        assert connections.count == 3


def test_connection_of_a_failed_call_is_not_used_again(world: World) -> None:
    with counted(world) as connections:
        manager = world.manager(connections.address)
        assert export(manager)
        refused = manager.export_complete_review_to_s3(sample_session(document_name=""), None, None)
        assert refused["location"] == "failed"
        assert export(manager)
        assert connections.count == 2


def test_export_after_a_restart_of_the_server_succeeds(world: World) -> None:
    manager = world.patient_manager()
    assert export(manager)
    world("restart")
    assert export(manager) and len(world.exports()) == 2


def test_connection_is_closed_with_its_manager(world: World) -> None:
    manager = world.manager()
    assert export(manager)
    idle = manager._connections._idle
    assert len(idle) == 1
    del manager
    assert not idle


def test_manager_is_copied_to_another_process_without_its_connection(world: World) -> None:
    manager = world.manager()
    assert export(manager)
    copied = pickle.loads(pickle.dumps(manager))
    assert not copied._connections._idle and export(copied)


def test_forked_processes_export(world: World) -> None:
    forked = subprocess.run(
        [sys.executable, "-c", _FORKS], env=world.environment(), capture_output=True, text=True, timeout=300
    )
    assert forked.returncode == 0, forked.stderr
    assert len(world.exports()) == 11
    assert os.listdir(world.folder / "queue") in ([], ["backlog.lock"])
