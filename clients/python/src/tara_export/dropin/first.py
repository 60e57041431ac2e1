"""Sends a new request for the first time, and writes it to the queue at the same time.

The result is `queued` only after the request is durable on this disk, and a location only after the server
has the bundle. The order of all other steps is open:

- The bundle exists before the request is on disk: the rest is not written, and what was written is removed.
- The process ends after the request is on disk: it is sent again with the same id and the same bytes. The
  server returns the same export if it has accepted it.
- The process ends before the request is on disk: if the server has accepted it, the server completes it.
  Otherwise it is lost with the process, which has not reported a result.
- The request cannot be written, for example to a full disk: a bundle is a result nevertheless.
"""

from __future__ import annotations

import logging
from typing import Optional

from ..errors import TaraExportError
from .backlog import Outcome, attempt, send_entry
from .kept_connection import Connections
from .outgoing import OutgoingRequest
from .queue import Queue
from .sending import MAX_INLINE_BYTES, FailureKind
from .settings import Settings
from .spool import Spool

_log = logging.getLogger(__name__)


class NotQueued(TaraExportError):
    """A request could be neither exported nor queued."""

    def __init__(self, error: Exception, queue_error: Exception) -> None:
        super().__init__(f"{error}; the request could not be queued: {queue_error}")
        self.error, self.queue_error = error, queue_error


def send_new(
    outgoing: OutgoingRequest, queue: Queue, settings: Settings, connections: Connections
) -> Outcome:
    """Sends a new request. Afterwards it is in the queue if a retry may succeed.

    Raises NotQueued if it must be sent again and could not be queued.
    """
    # Queue and server must get the same bytes, whatever happens to the files meanwhile.
    loaded = outgoing.loaded(MAX_INLINE_BYTES)
    spool = _started(loaded, queue) if loaded is not None else None
    if loaded is None or spool is None:
        # The copies in the queue are sent.
        return _send_after_queueing(outgoing, queue, settings, connections)
    with spool:
        outcome = attempt(lambda: loaded, queue.folder / loaded.request_id, settings, connections.client)
        if _may_be_sent_again(outcome):
            _check_queued(spool, outcome)
        else:
            spool.discard()
        return outcome


def _started(outgoing: OutgoingRequest, queue: Queue) -> Optional[Spool]:
    try:
        return Spool(queue, outgoing)
    except RuntimeError:
        # The program is exiting, or has too many threads.
        return None


def _check_queued(spool: Spool, outcome: Outcome) -> None:
    try:
        spool.entry()
    except Exception as error:
        assert outcome.error is not None
        raise NotQueued(outcome.error, error) from error


def _send_after_queueing(
    outgoing: OutgoingRequest, queue: Queue, settings: Settings, connections: Connections
) -> Outcome:
    try:
        entry = queue.add(outgoing)
    except (TaraExportError, OSError) as queue_error:
        _log.warning("cannot queue the request on disk, sending it directly: %s", queue_error)
        folder = queue.folder / outgoing.request_id
        outcome = attempt(lambda: outgoing, folder, settings, connections.client)
        if _may_be_sent_again(outcome):
            assert outcome.error is not None
            raise NotQueued(outcome.error, queue_error) from queue_error
        return outcome
    with entry:
        outcome = send_entry(entry, settings)
        if outcome.failure_kind is FailureKind.PERMANENT:
            # The caller gets the error and still has the session.
            entry.remove()
        return outcome


def _may_be_sent_again(outcome: Outcome) -> bool:
    return outcome.failure_kind not in (None, FailureKind.PERMANENT)
