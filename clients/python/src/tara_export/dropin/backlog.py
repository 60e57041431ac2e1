"""Sends the queued requests."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Callable, Optional

from tara.export.v1 import export_pb2

from ..client import Client
from .disk import FileLock
from .outgoing import OutgoingRequest
from .queue import Entry, Queue
from .sending import FailureKind, failure_kind, send
from .settings import Settings

_log = logging.getLogger(__name__)
#: Short, because the program's exit waits for the request that is being sent.
_BACKGROUND_TIMEOUT_SECONDS = 5.0


@dataclass(frozen=True)
class Outcome:
    """The outcome of one request: `export`, or `error` and its kind."""

    request_id: str
    #: The current folder of the request. It was removed if there is an export.
    folder: Path
    export: Optional[export_pb2.Export] = None
    error: Optional[Exception] = None
    failure_kind: Optional[FailureKind] = None


def connect(settings: Settings) -> Client:
    """Connects for a few calls: a permanent connection would not survive a fork of the process."""
    return settings.connect()


def send_entry(entry: Entry, settings: Settings) -> Outcome:
    """Sends a queued request, and removes it from the queue when its bundle exists."""
    outcome = attempt(entry.read, entry.folder, settings, lambda: connect(settings))
    # After any error the request stays in the queue, and the others are sent.
    if outcome.export is not None:
        entry.remove()
    return outcome


def attempt(
    read: Callable[[], OutgoingRequest],
    folder: Path,
    settings: Settings,
    connected: Callable[[], AbstractContextManager[Client]],
) -> Outcome:
    """Sends the request that `read` returns. `folder` is its folder in the queue."""
    request_id = folder.name
    try:
        with connected() as client:
            export = send(client, read(), settings.stall_timeout_seconds)
    except Exception as error:
        return Outcome(request_id, folder, error=error, failure_kind=failure_kind(error))
    _log.info("%s is stored: %s", export.name, export.location)
    return Outcome(request_id, folder, export=export)


class Backlog:
    """Sends the queued requests."""

    def __init__(self, queue: Queue, settings: Settings) -> None:
        self._queue = queue
        self._settings = settings

    def send(self) -> Iterator[Outcome]:
        """Sends the queued requests, the oldest first, and yields their outcomes.

        Skips requests that another process is sending, and stops if the server is unreachable.
        """
        return self._send(self._settings)

    def _send(self, settings: Settings) -> Iterator[Outcome]:
        for folder in self._queue.waiting():
            entry = self._queue.claim(folder)
            if entry is None:
                continue
            with entry:
                outcome = send_entry(entry, settings)
                if outcome.error is not None and outcome.failure_kind is FailureKind.PERMANENT:
                    _log.error("exports/%s is permanently refused: %s", entry.request_id, outcome.error)
                    outcome = _move_to_refused(entry, outcome, outcome.error)
            yield outcome
            if outcome.failure_kind is FailureKind.UNREACHABLE:
                return

    def send_in_background(self) -> None:
        """Starts a thread that sends the queued requests, unless there are none or another process does so.

        The program's exit waits only for the request that is being sent.
        """
        try:
            self._queue.remove_stale()
            lock = self._queue.claim_backlog() if self._queue.waiting() else None
        except OSError as error:
            _log.warning("cannot read the queue: %s", error)
            return
        if lock is None:
            return
        try:
            threading.Thread(target=self._send_all, args=(lock,), name="tara-export-backlog").start()
        except RuntimeError:
            # The program is exiting.
            lock.release()

    def _send_all(self, lock: FileLock) -> None:
        policy = self._settings.policy
        timeout_seconds = min(policy.progress_timeout_seconds, _BACKGROUND_TIMEOUT_SECONDS)
        settings = dataclasses.replace(
            self._settings, policy=dataclasses.replace(policy, progress_timeout_seconds=timeout_seconds)
        )
        with lock:
            try:
                for outcome in self._send(settings):
                    if outcome.failure_kind in (FailureKind.UNREACHABLE, FailureKind.TEMPORARY):
                        _log.warning("exports/%s is still queued: %s", outcome.request_id, outcome.error)
                    if not threading.main_thread().is_alive():
                        return
            except OSError as error:
                _log.warning("cannot send the queued requests: %s", error)


def _move_to_refused(entry: Entry, outcome: Outcome, error: Exception) -> Outcome:
    try:
        return dataclasses.replace(outcome, folder=entry.move_to_refused(error))
    except OSError as failure:
        # It stays in the queue and will be refused again. Continue with the others.
        _log.error("cannot move %s to the refused requests: %s", entry.folder, failure)
        return outcome
