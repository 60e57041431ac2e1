"""Sends what waits in the queue."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Optional

from tara.export.v1 import export_pb2

from ..client import Client
from .disk import FileLock
from .queue import Entry, Queue
from .sending import Prospect, prospect, send
from .settings import Settings

_log = logging.getLogger(__name__)
#: Nobody waits for it, and the program's end should not have to.
_BACKGROUND_LIMIT_SECONDS = 5.0


@dataclass(frozen=True)
class Outcome:
    """What became of one request: `export`, or `error` and what that means."""

    request_id: str
    #: Where the request lies now; it is gone when there is an export.
    folder: Path
    export: Optional[export_pb2.Export] = None
    error: Optional[Exception] = None
    prospect: Optional[Prospect] = None


def connect(settings: Settings) -> Client:
    """A connection for a few calls: one that is kept would not survive a fork of the process."""
    return Client(settings.server, settings.patience)


def send_entry(entry: Entry, settings: Settings) -> Outcome:
    """Sends a request of the queue, and removes it when its bundle exists."""
    try:
        with connect(settings) as client:
            export = send(client, entry.read(), settings.stalled_seconds)
    except Exception as error:
        # Whatever it is, the request stays, and the others have their turn.
        return Outcome(entry.request_id, entry.folder, error=error, prospect=prospect(error))
    entry.remove()
    _log.info("%s is stored: %s", export.name, export.location)
    return Outcome(entry.request_id, entry.folder, export=export)


class Backlog:
    """Sends the requests that wait."""

    def __init__(self, queue: Queue, settings: Settings) -> None:
        self._queue = queue
        self._settings = settings

    def send(self) -> Iterator[Outcome]:
        """Sends what waits, the oldest first, as it is asked for the outcomes.

        Skips what another process sends at this moment, and ends when the server can't be reached.
        """
        return self._send(self._settings)

    def _send(self, settings: Settings) -> Iterator[Outcome]:
        for folder in self._queue.waiting():
            entry = self._queue.claim(folder)
            if entry is None:
                continue
            with entry:
                outcome = send_entry(entry, settings)
                if outcome.error is not None and outcome.prospect is Prospect.NEVER:
                    _log.error("exports/%s is refused for good: %s", entry.request_id, outcome.error)
                    outcome = _set_aside(entry, outcome, outcome.error)
            yield outcome
            if outcome.prospect is Prospect.UNREACHABLE:
                return

    def send_in_background(self) -> None:
        """Starts a thread that sends what waits, if there is anything and no other process does it.

        The program's end waits for the request it is at, and for no others.
        """
        try:
            self._queue.clear_away()
            lock = self._queue.claim_backlog() if self._queue.waiting() else None
        except OSError as error:
            _log.warning("the queue can't be read: %s", error)
            return
        if lock is None:
            return
        try:
            threading.Thread(target=self._work_off, args=(lock,), name="tara-export-backlog").start()
        except RuntimeError:
            # The program is ending.
            lock.release()

    def _work_off(self, lock: FileLock) -> None:
        patience = self._settings.patience
        limit_seconds = min(patience.limit_seconds, _BACKGROUND_LIMIT_SECONDS)
        settings = dataclasses.replace(
            self._settings, patience=dataclasses.replace(patience, limit_seconds=limit_seconds)
        )
        with lock:
            try:
                for outcome in self._send(settings):
                    if outcome.prospect in (Prospect.UNREACHABLE, Prospect.LATER):
                        _log.warning("exports/%s still waits: %s", outcome.request_id, outcome.error)
                    if not threading.main_thread().is_alive():
                        return
            except OSError as error:
                _log.warning("the queue can't be worked off: %s", error)


def _set_aside(entry: Entry, outcome: Outcome, error: Exception) -> Outcome:
    try:
        return dataclasses.replace(outcome, folder=entry.set_aside(error))
    except OSError as failure:
        # It will be refused again; the others must not wait for that.
        _log.error("%s can't be set aside: %s", entry.folder, failure)
        return outcome
