"""Locks, and cleanup of the queue after ended processes. Without a server."""

from __future__ import annotations

import os
import time
from pathlib import Path

from tara.export.v1 import service_pb2
from tara_export.dropin import QueueLimits
from tara_export.dropin.disk import FileLock
from tara_export.dropin.outgoing import OutgoingRequest
from tara_export.dropin.queue import Queue


def queue_with_one(folder: Path) -> Queue:
    queue = Queue(folder, QueueLimits())
    with queue.add(OutgoingRequest(service_pb2.StartExportRequest(request_id="one"), ())):
        # The request is locked until its first attempt ends.
        assert queue.claim(folder / "one") is None
    return queue


def test_request_is_claimed_once_and_not_after_removal(tmp_path: Path) -> None:
    queue = queue_with_one(tmp_path / "queue")
    (folder,) = queue.waiting()
    first = queue.claim(folder)
    assert first is not None and queue.claim(folder) is None
    with first:
        assert first.read().request_id == "one"
        first.remove()
    assert queue.claim(folder) is None and queue.waiting() == []


def test_lock_of_a_moved_folder_is_not_acquired(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    held, waiting = FileLock(tmp_path / "a/lock"), FileLock(tmp_path / "a/lock")
    assert held.try_acquire() and not waiting.try_acquire()
    (tmp_path / "a").rename(tmp_path / "b")
    moved = FileLock(tmp_path / "b/lock")
    assert not moved.try_acquire()
    held.release()
    assert moved.try_acquire()


def test_queue_is_readable_only_by_its_owner(tmp_path: Path) -> None:
    queue_with_one(tmp_path / "queue")
    for path in (tmp_path / "queue").rglob("*"):
        assert path.stat().st_mode & 0o077 == 0, path


def test_only_stale_folders_are_removed(tmp_path: Path) -> None:
    queue = queue_with_one(tmp_path)
    long_ago = time.time() - 7200
    held = FileLock(tmp_path / ".held/lock")
    for name in (".stale", ".held", ".new"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "document_0").write_bytes(b"half")
    assert held.try_acquire()
    for name in (".stale", ".held", "one"):
        os.utime(tmp_path / name, (long_ago, long_ago))
    queue.remove_stale()
    assert sorted(path.name for path in tmp_path.iterdir()) == [".held", ".new", "one"]
