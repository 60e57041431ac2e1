"""Sessions as the review application holds them in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[4] / "examples/sample-review"
_AUDIT = ("audit_logs", "performance_metrics", "activity_timeline")


class AuditLogger:
    """What a session's audit logger offers."""

    def __init__(self, logs: Any, metrics: Any, timeline: Any) -> None:
        self._said = logs, metrics, timeline

    def get_session_logs(self) -> Any:
        return self._said[0]

    def get_performance_metrics(self) -> Any:
        return self._said[1]

    def get_activity_timeline(self) -> Any:
        return self._said[2]


class Session:
    """A review session."""

    def __init__(self, **attributes: Any) -> None:
        self.audit_logger: Any = AuditLogger([], {}, [])
        self.__dict__.update(attributes)


def sample_session(**changes: Any) -> Session:
    """The sample review."""
    known = json.loads((SAMPLE / "session.json").read_text())
    logger = AuditLogger(*(known.pop(key) for key in _AUDIT))
    attributes = {**known, "audit_logger": logger, "guidelines_path": str(SAMPLE / "guidelines.docx")}
    return Session(**{**attributes, **changes})


def wait_until(holds: Callable[[], bool]) -> None:
    """Looks until it is so, for at most half a minute."""
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.02)
