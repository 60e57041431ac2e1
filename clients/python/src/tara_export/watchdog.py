"""Ends a call that says nothing for too long."""

from __future__ import annotations

import threading
import time
from typing import Any


class Watchdog:
    """Cancels `call` when nothing was heard of it in time."""

    def __init__(self, call: Any, first_seconds: float, silence_seconds: float) -> None:
        self.has_barked = False
        self._call = call
        self._silence_seconds = silence_seconds
        self._until = time.monotonic() + first_seconds
        self._ended = threading.Event()

    def __enter__(self) -> Watchdog:
        threading.Thread(target=self._watch, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._call.cancel()

    def heard(self) -> None:
        """There was something."""
        self._until = time.monotonic() + self._silence_seconds

    def _watch(self) -> None:
        while (left := self._until - time.monotonic()) > 0:
            if self._ended.wait(left):
                return
        self.has_barked = True
        self._call.cancel()
