"""Timeouts and delays of retries, and the events that were already seen. No IO."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from tara.export.v1 import export_pb2

from . import causes
from .errors import CallError, LostContact

#: How often in sequence an error may leave open whether the connection was lost.
_MAX_UNCLEAR_ERRORS = 3


@dataclass(frozen=True)
class Policy:
    """Timeouts and retry delays for lost calls."""

    #: The client stops retrying after this time without progress.
    progress_timeout_seconds: float = 120
    #: A stream without a message for this time counts as lost; servers send a heartbeat at least every 15 s.
    idle_timeout_seconds: float = 45
    min_delay_seconds: float = 0.2
    max_delay_seconds: float = 10


class RetryTimer:
    """The delays between attempts. They double until there is progress or the timeout expires."""

    def __init__(self, policy: Policy, name: str) -> None:
        self.name = name
        self._policy = policy
        self.record_progress()

    def record_progress(self) -> None:
        """Restarts the timeout and the backoff."""
        self._delay = self._policy.min_delay_seconds
        self._unclear_errors = 0
        self._last_progress = time.monotonic()

    @property
    def is_expired(self) -> bool:
        """Whether there was no progress within the timeout."""
        return time.monotonic() - self._last_progress > self._policy.progress_timeout_seconds

    def next_delay_seconds(self, error: CallError) -> float:
        """The delay before the next attempt. Raises LostContact if the timeout would end before that.

        An error that can also be a response without gRPC is raised after a few attempts.
        """
        self._unclear_errors = self._unclear_errors + 1 if error.is_ambiguous else 0
        if self._unclear_errors >= _MAX_UNCLEAR_ERRORS:
            raise causes.unclear(error) from None
        delay = max(self._delay * random.uniform(1, 2), error.retry_delay_seconds or 0)
        self._delay = min(self._delay * 2, self._policy.max_delay_seconds)
        if time.monotonic() - self._last_progress + delay > self._policy.progress_timeout_seconds:
            raise LostContact(self.name, error) from error
        return delay


class SeenEvents:
    """Tracks the events that were seen, so that none is yielded twice."""

    def __init__(self) -> None:
        self.run_id = ""
        # Per run: a server may return to an older run.
        self._last: dict[str, int] = {}

    @property
    def last(self) -> int:
        """The last seen sequence number of the run."""
        return self._last.get(self.run_id, 0)

    def is_new(self, event: export_pb2.ExportEvent) -> bool:
        """Whether the event is new. Marks it as seen."""
        kind = event.WhichOneof("event")
        if kind in ("completed", "failed"):
            return True
        last = self._last.get(event.run_id, 0)
        if kind in ("artifact_progress", "heartbeat"):
            # These repeat the last sequence number.
            return event.sequence >= last
        self.run_id = event.run_id
        self._last[event.run_id] = max(last, event.sequence)
        return event.sequence > last
