"""When to try again, and which events were seen already. No IO."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from tara.export.v1 import export_pb2

from .errors import CallError, LostContact


@dataclass(frozen=True)
class Patience:
    """How long lost calls are tried again."""

    #: Give up after so long without news.
    limit_seconds: float = 120
    #: A stream that says nothing for so long is lost; servers send a heartbeat at least every 15 s.
    silence_seconds: float = 45
    min_delay_seconds: float = 0.2
    max_delay_seconds: float = 10


class Waits:
    """The waits between attempts, each about twice as long, until there is news again."""

    def __init__(self, patience: Patience, name: str) -> None:
        self.name = name
        self._patience = patience
        self.restart()

    def restart(self) -> None:
        """There was news."""
        self._delay = self._patience.min_delay_seconds
        self._since = time.monotonic()

    @property
    def is_over(self) -> bool:
        """Whether there was no news for the whole limit."""
        return time.monotonic() - self._since > self._patience.limit_seconds

    def next_seconds(self, error: CallError) -> float:
        """How long to wait after this failure; raises LostContact when patience ends before that."""
        delay = max(self._delay * random.uniform(1, 2), error.retry_delay_seconds or 0)
        self._delay = min(self._delay * 2, self._patience.max_delay_seconds)
        if time.monotonic() - self._since + delay > self._patience.limit_seconds:
            raise LostContact(self.name, error) from error
        return delay


class SeenEvents:
    """Which events were seen, so that none is yielded twice."""

    def __init__(self) -> None:
        self.run_id = ""
        # By run: a server may go back to an older run.
        self._last: dict[str, int] = {}

    @property
    def last(self) -> int:
        """The last number seen of the run."""
        return self._last.get(self.run_id, 0)

    def is_new(self, event: export_pb2.ExportEvent) -> bool:
        """Whether the event was not seen before; from then on it was."""
        kind = event.WhichOneof("event")
        if kind in ("completed", "failed"):
            return True
        last = self._last.get(event.run_id, 0)
        if kind in ("artifact_progress", "heartbeat"):
            # These repeat the last number.
            return event.sequence >= last
        self.run_id = event.run_id
        self._last[event.run_id] = max(last, event.sequence)
        return event.sequence > last
