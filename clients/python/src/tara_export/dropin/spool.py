"""Writes a request to the queue while it is being sent."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Optional

from .outgoing import OutgoingRequest
from .queue import Canceled, Entry, Queue

_log = logging.getLogger(__name__)


class Spool:
    """A thread that writes a request to the queue. Leaving the context waits for it.

    The request stays in the queue unless `discard` is called, so every exception leaves it there.
    """

    def __init__(self, queue: Queue, outgoing: OutgoingRequest) -> None:
        """Raises RuntimeError if no thread can be started, because the program is exiting."""
        self._queue, self._outgoing = queue, outgoing
        self._is_discarded = threading.Event()
        self._entry: Optional[Entry] = None
        self._error: Optional[Exception] = None
        # Not a daemon: the program's exit waits until the request is on disk.
        self._thread = threading.Thread(target=self._write, name="tara-export-queue")
        self._thread.start()

    def _write(self) -> None:
        try:
            self._entry = self._queue.add(self._outgoing, self._is_discarded.is_set)
        except Exception as error:
            self._error = error

    def entry(self) -> Entry:
        """Waits until the request is durable. Raises QueueFull or OSError if it could not be queued."""
        self._thread.join()
        if self._entry is None:
            assert self._error is not None
            raise self._error
        return self._entry

    def discard(self) -> None:
        """Stops writing the request, and removes it from the queue."""
        self._is_discarded.set()
        try:
            self.entry().remove()
        except Canceled:
            pass
        except Exception as error:
            # The caller has a result, but an operator must see that the queue does not work.
            _log.warning("cannot queue requests on disk: %s", error)

    def __enter__(self) -> Spool:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self._thread.join()
        if self._entry is not None:
            self._entry.release()
