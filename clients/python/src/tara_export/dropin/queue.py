"""Requests that are not exported yet, each in its own folder on disk.

A request is written before or while it is first sent, and removed when its bundle exists. If this process
ends, the next one can send the request with its documents and the same id.

    <queue>/<request id>/        complete as soon as it has this name
        lock                     locked by the process that sends it
        entry.json               metadata of the other files, with digests
        request.bin              the StartExportRequest, with small documents
        document_0 …             all documents if one of them is large
    <queue>/refused/<request id>/   the same with error.json: a permanently refused request
    <queue>/.…                   being added or removed
    <queue>/backlog.lock         locked by the process that sends in the background
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import json
import logging
import shutil
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Callable, Optional

from google.protobuf.message import DecodeError

from tara.export.v1 import service_pb2

from ..errors import CallError, ExportFailed, TaraExportError
from .disk import FileLock, FileTooLarge, copy_durably, make_folder, sync_folder, write_durably
from .outgoing import DamagedEntry, DocumentFile, OutgoingRequest

_log = logging.getLogger(__name__)
_SCHEMA = 1
_REFUSED = "refused"
#: The minimum age of an unlocked temporary folder before it is removed.
_STALE_SECONDS = 3600


@dataclass(frozen=True)
class QueueLimits:
    """Limits of the queue, including the refused requests."""

    max_requests: int = 1000
    max_bytes: int = 8 * 1024**3


class QueueFull(TaraExportError):
    """The queue is full."""


class Canceled(TaraExportError):
    """The request no longer has to be queued."""


class NewerEntry(TaraExportError):
    """A later release wrote this entry, which this release cannot read."""


class Entry:
    """A queued request, locked so that no other process sends it."""

    def __init__(self, folder: Path, lock: FileLock) -> None:
        self.folder = folder
        self._lock = lock

    def __enter__(self) -> Entry:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.release()

    def release(self) -> None:
        """Releases the lock, so that other processes may send the request."""
        self._lock.release()

    @property
    def request_id(self) -> str:
        """The request's id."""
        return self.folder.name

    def read(self) -> OutgoingRequest:
        """Reads the request. Raises DamagedEntry if it was changed on disk."""
        try:
            entry = json.loads((self.folder / "entry.json").read_bytes())
            if entry["schema"] > _SCHEMA:
                raise NewerEntry(f"{self.folder} was queued by a later release")
            data = (self.folder / "request.bin").read_bytes()
            if hashlib.sha256(data).hexdigest() != entry["request_sha256"]:
                raise DamagedEntry(f"{self.folder}/request.bin is damaged")
            request = service_pb2.StartExportRequest.FromString(data)
            if request.documents:
                return OutgoingRequest.of_request(request, self.folder / "request.bin")
            documents = tuple(self._document(document) for document in entry["documents"])
        except (KeyError, TypeError, ValueError, DecodeError, FileNotFoundError) as error:
            raise DamagedEntry(f"{self.folder} is damaged: {error!r}") from error
        return OutgoingRequest(request, documents)

    def _document(self, document: dict[str, Any]) -> DocumentFile:
        path = self.folder / document["stored_as"]
        if not path.is_file():
            raise DamagedEntry(f"{path} is missing")
        return DocumentFile(document["kind"], document["file_name"], path, document["sha256"])

    def remove(self) -> None:
        """Removes the request from the queue."""
        removed = self.folder.with_name(f".{self.request_id}.{uuid.uuid4()}")
        try:
            self.folder.rename(removed)
        except OSError as error:
            # It will be sent again, which is harmless.
            _log.warning("cannot remove %s: %s", self.folder, error)
            return
        shutil.rmtree(removed, ignore_errors=True)

    def move_to_refused(self, error: Exception) -> Path:
        """Moves the request to the permanently refused requests, with the error."""
        refused = self.folder.parent / _REFUSED
        make_folder(refused)
        path = self.folder / "error.json"
        # A previous process may have written it before a crash.
        path.unlink(missing_ok=True)
        write_durably(path, _json(_error_json(error)))
        sync_folder(self.folder)
        target = refused / self.request_id
        self.folder.rename(target)
        sync_folder(refused)
        sync_folder(self.folder.parent)
        return target


class Queue:
    """The requests in a folder, which several processes may use concurrently."""

    def __init__(self, folder: Path, limits: QueueLimits) -> None:
        self.folder = folder
        self._limits = limits

    def add(self, outgoing: OutgoingRequest, is_canceled: Callable[[], bool] = lambda: False) -> Entry:
        """Writes the request and its documents to disk, and locks the request.

        Raises QueueFull, or OSError if a write fails. `is_canceled` is called before each step: if it
        returns True, the request is removed and Canceled is raised.
        """

        def check() -> None:
            if is_canceled():
                raise Canceled(f"exports/{outgoing.request_id} no longer has to be queued")

        make_folder(self.folder)
        remaining_bytes = self._remaining_bytes()
        new = self.folder / f".{outgoing.request_id}.{uuid.uuid4()}"
        new.mkdir(mode=0o700)
        lock = FileLock(new / "lock")
        try:
            lock.try_acquire()
            self._write(new, outgoing, remaining_bytes, check)
            check()
            folder = self.folder / outgoing.request_id
            new.rename(folder)
        except BaseException:
            lock.release()
            shutil.rmtree(new, ignore_errors=True)
            raise
        lock.path = folder / "lock"
        sync_folder(self.folder)
        return Entry(folder, lock)

    def _remaining_bytes(self) -> int:
        entries = [*self.waiting(), *self.refused()]
        used_bytes = sum(map(_size_bytes, entries))
        if len(entries) >= self._limits.max_requests or used_bytes >= self._limits.max_bytes:
            raise QueueFull(
                f"the queue {self.folder} is full: {len(entries)} requests with {used_bytes} bytes, "
                f"{len(self.refused())} of them refused"
            )
        return self._limits.max_bytes - used_bytes

    def _write(
        self, folder: Path, outgoing: OutgoingRequest, remaining_bytes: int, check: Callable[[], None]
    ) -> None:
        check()
        # One file instead of four: each of them takes a while until it is durable.
        request = _serialized(outgoing.with_contents() if outgoing.is_loaded else outgoing.request)
        if len(request) > remaining_bytes:
            raise FileTooLarge(f"the request is larger than the remaining {remaining_bytes} bytes")
        write_durably(folder / "request.bin", request)
        remaining_bytes -= len(request)
        documents = []
        for index, document in enumerate(() if outgoing.is_loaded else outgoing.documents):
            check()
            stored_as = f"document_{index}"
            sha256, size_bytes = copy_durably(document.path, folder / stored_as, remaining_bytes)
            remaining_bytes -= size_bytes
            documents.append(
                {
                    "kind": document.kind,
                    "file_name": document.file_name,
                    "stored_as": stored_as,
                    "size_bytes": size_bytes,
                    "sha256": sha256,
                }
            )
        entry = {
            "schema": _SCHEMA,
            "request_id": outgoing.request_id,
            "queued_time": _now(),
            "document_name": outgoing.request.review.document_name,
            "session_id": outgoing.request.review.session_id,
            "request_sha256": hashlib.sha256(request).hexdigest(),
            "documents": documents,
        }
        check()
        write_durably(folder / "entry.json", _json(entry))
        check()
        sync_folder(folder)

    def waiting(self) -> list[Path]:
        """The folders of the requests to send, the oldest first."""
        return self._entries(self.folder)

    def refused(self) -> list[Path]:
        """The folders of the permanently refused requests, the oldest first."""
        return self._entries(self.folder / _REFUSED)

    def _entries(self, parent: Path) -> list[Path]:
        if not parent.is_dir():
            return []
        found = []
        for folder in parent.iterdir():
            if folder.name.startswith(".") or folder.name == _REFUSED or not folder.is_dir():
                continue
            # Another process may have removed it in the meantime.
            with contextlib.suppress(FileNotFoundError):
                found.append((folder.stat().st_mtime_ns, folder))
        return [folder for _, folder in sorted(found)]

    def claim(self, folder: Path) -> Optional[Entry]:
        """Locks the request in this folder. None if another process is sending it or it was removed."""
        lock = FileLock(folder / "lock")
        try:
            return Entry(folder, lock) if lock.try_acquire() else None
        except FileNotFoundError:
            return None

    def claim_backlog(self) -> Optional[FileLock]:
        """Locks the sending in the background. None if another thread or process has the lock."""
        lock = FileLock(self.folder / "backlog.lock")
        return lock if lock.try_acquire() else None

    def remove_stale(self) -> None:
        """Removes the temporary folders of processes that have ended."""
        for folder in self.folder.glob(".*"):
            try:
                if time.time() - folder.stat().st_mtime < _STALE_SECONDS:
                    continue
                with FileLock(folder / "lock") as lock:
                    if lock.try_acquire():
                        shutil.rmtree(folder, ignore_errors=True)
            except OSError as error:
                _log.debug("cannot remove %s: %s", folder, error)


def _serialized(request: service_pb2.StartExportRequest) -> bytes:
    return request.SerializeToString(deterministic=True)


def _size_bytes(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return sum(file.stat().st_size for file in folder.iterdir())
    return 0


def _error_json(error: Exception) -> dict[str, Any]:
    description: dict[str, Any] = {"time": _now(), "message": str(error)}
    if isinstance(error, CallError):
        description.update(code=error.code.name, reason=error.reason)
        description["fields"] = {
            violation.field: violation.description for violation in error.field_violations
        }
    elif isinstance(error, ExportFailed):
        description["reason"] = error.reason
    return description


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
