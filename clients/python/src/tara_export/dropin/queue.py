"""Requests that are not known to be exported yet, each in a folder of its own on disk.

A request is written before it is first sent, and removed when its bundle exists. So whatever ends this
process, the request is there for the next one, with its documents and under the same id.

    <queue>/<request id>/        complete from the moment it has this name
        lock                     held by whoever sends it
        entry.json               what is in the others, with digests
        request.bin              the StartExportRequest without its documents
        document_0 …             the documents
    <queue>/refused/<request id>/   the same with error.json: what the server refused for good
    <queue>/.…                   on its way in or out
    <queue>/backlog.lock         held by whoever sends the others in the background
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
from typing import Any, Optional

from google.protobuf.message import DecodeError

from tara.export.v1 import service_pb2

from ..errors import CallError, ExportFailed, TaraExportError
from .disk import FileLock, copy_durably, make_folder, sync_folder, write_durably
from .outgoing import DamagedEntry, DocumentFile, Outgoing

_log = logging.getLogger(__name__)
_SCHEMA = 1
_REFUSED = "refused"
#: So long a folder on its way in or out is left alone, even where nobody seems to have it.
_STALE_SECONDS = 3600


@dataclass(frozen=True)
class QueueLimits:
    """How much the queue takes, what was refused included."""

    max_requests: int = 1000
    max_bytes: int = 8 * 1024**3


class QueueFull(TaraExportError):
    """The queue takes no more."""


class NewerEntry(TaraExportError):
    """A later release wrote this entry."""


class Entry:
    """A request in the queue, that nobody else sends as long as this exists."""

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
        self._lock.release()

    @property
    def request_id(self) -> str:
        """The request's id."""
        return self.folder.name

    def read(self) -> Outgoing:
        """The request as it was queued; raises DamagedEntry when it is another."""
        try:
            entry = json.loads((self.folder / "entry.json").read_bytes())
            if entry["schema"] > _SCHEMA:
                raise NewerEntry(f"{self.folder} was queued by a later release")
            data = (self.folder / "request.bin").read_bytes()
            if hashlib.sha256(data).hexdigest() != entry["request_sha256"]:
                raise DamagedEntry(f"{self.folder}/request.bin is not what was queued")
            request = service_pb2.StartExportRequest.FromString(data)
            documents = tuple(self._document(described) for described in entry["documents"])
        except (KeyError, TypeError, ValueError, DecodeError, FileNotFoundError) as error:
            raise DamagedEntry(f"{self.folder} is not what was queued: {error!r}") from error
        return Outgoing(request, documents)

    def _document(self, described: dict[str, Any]) -> DocumentFile:
        path = self.folder / described["stored_as"]
        if not path.is_file():
            raise DamagedEntry(f"{path} is gone")
        return DocumentFile(described["kind"], described["file_name"], path, described["sha256"])

    def remove(self) -> None:
        """Takes the request out of the queue, since its bundle exists or its caller knows why not."""
        gone = self.folder.with_name(f".{self.request_id}.{uuid.uuid4()}")
        try:
            self.folder.rename(gone)
        except OSError as error:
            # It will be sent again, which does no harm.
            _log.warning("%s can't be removed: %s", self.folder, error)
            return
        shutil.rmtree(gone, ignore_errors=True)

    def set_aside(self, error: Exception) -> Path:
        """Moves the request to those that were refused for good, with the reason."""
        refused = self.folder.parent / _REFUSED
        make_folder(refused)
        path = self.folder / "error.json"
        # What was written before a crash would be in the way.
        path.unlink(missing_ok=True)
        write_durably(path, _json(_described(error)))
        sync_folder(self.folder)
        target = refused / self.request_id
        self.folder.rename(target)
        sync_folder(refused)
        sync_folder(self.folder.parent)
        return target


class Queue:
    """The requests in a folder, which several processes may use at the same time."""

    def __init__(self, folder: Path, limits: QueueLimits) -> None:
        self.folder = folder
        self._limits = limits

    def add(self, outgoing: Outgoing) -> Entry:
        """Writes the request and its documents to disk, and keeps others from sending it.

        Raises QueueFull, or OSError when the disk takes nothing.
        """
        make_folder(self.folder)
        left_bytes = self._left_bytes()
        new = self.folder / f".{outgoing.request_id}.{uuid.uuid4()}"
        new.mkdir(mode=0o700)
        lock = FileLock(new / "lock")
        try:
            lock.try_acquire()
            self._write(new, outgoing, left_bytes)
            folder = self.folder / outgoing.request_id
            new.rename(folder)
        except BaseException:
            lock.release()
            shutil.rmtree(new, ignore_errors=True)
            raise
        lock.path = folder / "lock"
        sync_folder(self.folder)
        return Entry(folder, lock)

    def _left_bytes(self) -> int:
        held = [*self.waiting(), *self.refused()]
        used_bytes = sum(map(_size_bytes, held))
        if len(held) >= self._limits.max_requests or used_bytes >= self._limits.max_bytes:
            raise QueueFull(
                f"the queue {self.folder} is full: {len(held)} requests with {used_bytes} bytes, "
                f"{len(self.refused())} of them refused"
            )
        return self._limits.max_bytes - used_bytes

    def _write(self, folder: Path, outgoing: Outgoing, left_bytes: int) -> None:
        request = outgoing.request.SerializeToString(deterministic=True)
        write_durably(folder / "request.bin", request)
        left_bytes -= len(request)
        documents = []
        for index, document in enumerate(outgoing.documents):
            stored_as = f"document_{index}"
            sha256, size_bytes = copy_durably(document.path, folder / stored_as, left_bytes)
            left_bytes -= size_bytes
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
        write_durably(folder / "entry.json", _json(entry))
        sync_folder(folder)

    def waiting(self) -> list[Path]:
        """The folders of the requests that wait, the oldest first."""
        return self._entries(self.folder)

    def refused(self) -> list[Path]:
        """The folders of the requests that were refused for good, the oldest first."""
        return self._entries(self.folder / _REFUSED)

    def _entries(self, parent: Path) -> list[Path]:
        if not parent.is_dir():
            return []
        found = []
        for folder in parent.iterdir():
            if folder.name.startswith(".") or folder.name == _REFUSED or not folder.is_dir():
                continue
            # Another process may have sent it in this moment.
            with contextlib.suppress(FileNotFoundError):
                found.append((folder.stat().st_mtime_ns, folder))
        return [folder for _, folder in sorted(found)]

    def claim(self, folder: Path) -> Optional[Entry]:
        """The request in this folder, unless somebody else sends it or it is gone."""
        lock = FileLock(folder / "lock")
        try:
            return Entry(folder, lock) if lock.try_acquire() else None
        except FileNotFoundError:
            return None

    def claim_backlog(self) -> Optional[FileLock]:
        """The right to send in the background what waits; None where another thread or process has it."""
        lock = FileLock(self.folder / "backlog.lock")
        return lock if lock.try_acquire() else None

    def clear_away(self) -> None:
        """Removes what processes that ended left on its way in or out."""
        for folder in self.folder.glob(".*"):
            try:
                if time.time() - folder.stat().st_mtime < _STALE_SECONDS:
                    continue
                with FileLock(folder / "lock") as lock:
                    if lock.try_acquire():
                        shutil.rmtree(folder, ignore_errors=True)
            except OSError as error:
                _log.debug("%s is left where it is: %s", folder, error)


def _size_bytes(folder: Path) -> int:
    with contextlib.suppress(FileNotFoundError):
        return sum(file.stat().st_size for file in folder.iterdir())
    return 0


def _described(error: Exception) -> dict[str, Any]:
    described: dict[str, Any] = {"time": _now(), "message": str(error)}
    if isinstance(error, CallError):
        described.update(code=error.code.name, reason=error.reason)
        described["fields"] = {violation.field: violation.description for violation in error.field_violations}
    elif isinstance(error, ExportFailed):
        described["reason"] = error.reason
    return described


def _now() -> str:
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, indent=2, ensure_ascii=False).encode() + b"\n"
