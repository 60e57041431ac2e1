"""Requests that are sent while they are written to the queue: every order of both, with real processes."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any, Optional

import pytest
import world as worlds
from dropin_world import World
from sessions import SAMPLE, sample_session, wait_until
from world import content

from tara.export.v1 import export_pb2, service_pb2
from tara_export import Client
from tara_export.dropin import QueueLimits, spool
from tara_export.dropin.outgoing import OutgoingRequest
from tara_export.dropin.queue import Queue

#: A program that exports the sample with this document, and prints the result.
_EXPORT = """
from tara_export.dropin import S3ExportManager
manager = S3ExportManager(send_at_start=False)
result = manager.export_complete_review_to_s3(sample_session(), None, sys.argv[1])
print(json.dumps(result), flush=True)
"""
_IMPORTS = """
import json, os, sys, threading
from pathlib import Path
from sessions import sample_session
from tara_export.dropin import first, queue, spool
fsync = os.fsync
"""
#: The disk never ends its first write.
_STUCK_DISK = """
def stuck(descriptor):
    Path(sys.argv[2]).touch()
    threading.Event().wait()
os.fsync = stuck
"""
#: The disk ends its first write when the spool has been discarded.
_DISK_SLOWER_THAN_EXPORT = """
discarded = threading.Event()
def slow(descriptor):
    discarded.wait()
    with open(sys.argv[2], "a") as calls:
        calls.write("fsync\\n")
    fsync(descriptor)
def discard(self):
    self._is_discarded.set()
    discarded.set()
    real_discard(self)
real_discard, spool.Spool.discard, os.fsync = spool.Spool.discard, discard, slow
"""
#: The disk ends its first write when the sending has failed.
_DISK_SLOWER_THAN_FAILURE = """
failed = threading.Event()
def slow(descriptor):
    failed.wait()
    fsync(descriptor)
def attempt(*arguments):
    outcome = real_attempt(*arguments)
    failed.set()
    return outcome
real_attempt, first.attempt, os.fsync = first.attempt, attempt, slow
"""
#: The process stops when the bundle exists, before its request is removed from the queue.
_STUCK_BEFORE_REMOVAL = """
def stuck(self):
    Path(sys.argv[2]).touch()
    threading.Event().wait()
queue.Entry.remove = stuck
"""
#: The document's file is replaced when the first file of the queue is on disk.
_CHANGED_DOCUMENT = """
def changed(descriptor):
    Path(sys.argv[1]).write_bytes(b"something else")
    fsync(descriptor)
os.fsync = changed
"""
#: The disk is full: files cannot get longer than this.
_FULL_DISK = """
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
"""


class Program:
    """A process that exports one review. `mark` is a file with which it reports a point in its code."""

    def __init__(self, world: World, state: str, server: Optional[str] = None, after: Any = None) -> None:
        self.mark = world.folder / "mark"
        code = f"{_IMPORTS}{state}{_EXPORT}"
        arguments = [str(after or SAMPLE / "after.docx"), str(self.mark)]
        self.process = subprocess.Popen(
            [sys.executable, "-c", code, *arguments],
            env=world.environment(server),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def __enter__(self) -> Program:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate(timeout=120)

    def result(self) -> Any:
        assert self.process.stdout
        assert select.select([self.process.stdout], [], [], 60)[0], "the program has printed no result"
        return json.loads(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait(120)


def entries(world: World) -> list[Path]:
    """The queued requests."""
    return sorted(path.parent for path in (world.folder / "queue").glob("[!.]*/entry.json"))


def rest(world: World) -> list[str]:
    """Everything in the queue but its lock."""
    return sorted(path.name for path in (world.folder / "queue").iterdir() if path.name != "backlog.lock")


def is_stored(world: World, request_id: str) -> bool:
    with Client(world.server) as client:
        return client.get_export(f"exports/{request_id}").state == export_pb2.Export.STATE_COMMITTED


def test_killed_before_the_disk_and_after_the_acceptance_leaves_it_to_the_server(world: World) -> None:
    world("hold")
    with Program(world, _STUCK_DISK) as program:
        wait_until(lambda: program.mark.exists() and bool(world.exports()))
        program.kill()
    assert entries(world) == []
    (request_id,) = world.exports()
    world("release")
    wait_until(lambda: is_stored(world, request_id))
    assert world.manager().send_queued() == [] and world.exports() == [request_id]


def test_killed_after_the_disk_and_the_acceptance_creates_no_second_bundle(world: World) -> None:
    world("hold")
    with Program(world, "") as program:
        wait_until(lambda: bool(entries(world)) and bool(world.exports()))
        program.kill()
    (folder,) = entries(world)
    world("release")
    (sent,) = world.manager().send_queued()
    assert sent["success"] and sent["request_id"] == folder.name
    assert world.exports() == [folder.name] and rest(world) == []


def test_killed_after_the_bundle_and_before_the_removal_creates_no_second_bundle(world: World) -> None:
    world("hold")
    with Program(world, _STUCK_BEFORE_REMOVAL) as program:
        # Otherwise the export can end before the request is on disk, and there is nothing to remove.
        wait_until(lambda: bool(entries(world)))
        world("release")
        wait_until(program.mark.exists)
        program.kill()
    (folder,) = entries(world)
    assert is_stored(world, folder.name)
    (sent,) = world.manager().send_queued()
    assert sent["success"] and sent["request_id"] == folder.name
    assert world.exports() == [folder.name] and rest(world) == []


def test_export_does_not_wait_for_a_slower_disk_and_leaves_nothing_on_it(world: World) -> None:
    with Program(world, _DISK_SLOWER_THAN_EXPORT) as program:
        result = program.result()
        assert program.process.wait(120) == 0
    assert result["success"] and world.exports() == [result["request_id"]]
    # The first write was pending. No further one follows.
    assert program.mark.read_text().splitlines() == ["fsync"]
    assert rest(world) == []


def test_queued_is_returned_only_after_the_request_is_on_disk(world: World) -> None:
    with Program(world, _DISK_SLOWER_THAN_FAILURE, world.unreachable) as program:
        # Without more time for the exit of the process.
        result = program.result()
        assert [str(folder) for folder in entries(world)] == [result["queued_path"]]
        program.kill()
    assert result["location"] == "queued"
    (sent,) = world.manager().send_queued()
    assert sent["success"] and sent["request_id"] == result["request_id"]


@pytest.mark.parametrize("is_accepted", [True, False])
def test_file_that_changes_meanwhile_is_sent_and_queued_as_it_was(world: World, is_accepted: bool) -> None:
    document = world.folder / "after.docx"
    document.write_bytes(content(100_000))
    world("hold")
    with Program(world, _CHANGED_DOCUMENT, None if is_accepted else world.unreachable, document) as program:
        wait_until(lambda: bool(entries(world)) and bool(world.exports()) == is_accepted)
        program.kill()
    assert document.read_bytes() == b"something else"
    world("release")
    (sent,) = world.manager().send_queued()
    # With other bytes, the server would have stored a second bundle under another id.
    assert sent["success"] and world.exports() == [sent["request_id"]]
    stored = next(file for file in sent["uploaded_files"] if "after_" in file["local_path"])
    assert stored["size"] == 100_000


def test_interrupted_export_stays_queued(world: World) -> None:
    world("hold")
    with Program(world, "") as program:
        wait_until(lambda: bool(world.exports()))
        program.process.send_signal(signal.SIGINT)
        assert program.process.wait(120) != 0
    (folder,) = entries(world)
    world("release")
    (sent,) = world.manager().send_queued()
    assert sent["success"] and world.exports() == [folder.name]


def test_request_is_unlocked_in_the_queue_after_an_exception(tmp_path: Path) -> None:
    queue = Queue(tmp_path / "queue", QueueLimits())
    outgoing = OutgoingRequest(service_pb2.StartExportRequest(request_id="one"), ())
    with pytest.raises(KeyboardInterrupt), spool.Spool(queue, outgoing):
        raise KeyboardInterrupt
    entry = queue.claim(tmp_path / "queue" / "one")
    assert entry is not None and entry.read().request == outgoing.request
    entry.release()


def test_full_disk_does_not_prevent_an_export(world: World) -> None:
    with Program(world, _FULL_DISK) as program:
        result = program.result()
        assert program.process.wait(120) == 0
    assert result["success"] and world.exports() == [result["request_id"]]
    assert rest(world) == []


def test_full_disk_and_an_unreachable_server_are_reported(world: World) -> None:
    with Program(world, _FULL_DISK, world.unreachable) as program:
        result = program.result()
        assert program.process.wait(60) == 0
    assert result["location"] == "failed" and "could not be queued: [Errno 27]" in result["error"]
    assert world.unreachable in result["error"] and rest(world) == []


def test_server_that_dies_after_the_acceptance_ends_the_export_later(world: World) -> None:
    world("hold")
    results: list[dict[str, Any]] = []
    manager = world.patient_manager()
    thread = threading.Thread(
        target=lambda: results.append(manager.export_complete_review_to_s3(sample_session(), None, None))
    )
    thread.start()
    wait_until(lambda: bool(entries(world)) and bool(world.exports()))
    world("restart")
    world("release")
    thread.join(300)
    assert results[0]["success"] and world.exports() == [results[0]["request_id"]]
    assert rest(world) == []


def test_large_document_is_on_disk_before_it_is_sent(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    document = world.folder / "after.bin"
    document.write_bytes(content(9 * 1024 * 1024))
    exports: list[list[str]] = []
    fsync = os.fsync

    def observed(descriptor: int) -> None:
        exports.append(world.exports())
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", observed)
    result = world.manager().export_complete_review_to_s3(sample_session(), None, document)
    assert result["success"] and world.exports() == [result["request_id"]]
    assert len(exports) >= 6 and not any(exports)
    assert rest(world) == []


def test_request_is_queued_first_if_no_thread_starts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def failing(thread: threading.Thread) -> None:
        if thread.name == "tara-export-queue":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", failing)
    assert world.manager().export_complete_review_to_s3(sample_session(), None, None)["success"]
    assert world.queue_one()["location"] == "queued" and len(entries(world)) == 1


def test_documents_that_are_too_large_for_the_server_are_uploaded_from_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "after.bin"
    document.write_bytes(content(2 * 1024 * 1024))
    loaded = OutgoingRequest.loaded

    def changed(request: OutgoingRequest, max_bytes: int) -> Optional[OutgoingRequest]:
        found = loaded(request, max_bytes)
        document.write_bytes(b"something else")
        return found

    monkeypatch.setattr(OutgoingRequest, "loaded", changed)
    limits = {"MAX_REQUEST_SIZE": str(1024 * 1024)}
    with worlds.started(limits) as process, World(process, tmp_path) as world:
        result = world.manager().export_complete_review_to_s3(sample_session(), None, document)
        assert result["success"], result
        stored = next(file for file in result["uploaded_files"] if "after_" in file["local_path"])
        assert stored["size"] == 2 * 1024 * 1024 and world.exports() == [result["request_id"]]


def test_refused_request_is_removed_from_the_queue(world: World) -> None:
    result = world.manager().export_complete_review_to_s3(sample_session(document_name=""), None, None)
    assert result["location"] == "failed" and rest(world) == []


def test_error_of_the_queue_is_logged_although_the_bundle_is_stored(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    (world.folder / "queue").write_text("conflicting")
    assert world.manager().export_complete_review_to_s3(sample_session(), None, None)["success"]
    (record,) = [record for record in caplog.records if record.name == spool.__name__]
    assert "cannot queue requests on disk" in record.getMessage()


def test_request_is_locked_while_it_is_sent(world: World) -> None:
    world("hold")
    with Program(world, "") as program:
        wait_until(lambda: bool(entries(world)) and bool(world.exports()))
        # Its own process sends it.
        assert world.manager().send_queued() == []
        world("release")
        assert program.result()["success"]
    assert rest(world) == []
