"""Cancels a call that is idle for too long."""

from __future__ import annotations

import threading
import time
from typing import Any


class Watchdog:
    """Cancels `call` after its timeout unless it is reset."""

    def __init__(self, call: Any, first_timeout_seconds: float, idle_timeout_seconds: float) -> None:
        self.has_expired = False
        self._call = call
        self._idle_timeout_seconds = idle_timeout_seconds
        self._deadline = time.monotonic() + first_timeout_seconds
        self._ended = threading.Event()

    def __enter__(self) -> Watchdog:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._call.cancel()

    def reset(self) -> None:
        """Restarts the timeout after a message."""
        self._deadline = time.monotonic() + self._idle_timeout_seconds

    def _watch(self) -> None:
        while (remaining_seconds := self._deadline - time.monotonic()) > 0:
            if self._ended.wait(remaining_seconds):
                return
        self.has_expired = True
        self._call.cancel()
