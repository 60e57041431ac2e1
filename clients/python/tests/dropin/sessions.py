"""Sessions as the review application has them in memory."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

SAMPLE = Path(__file__).parents[4] / "examples/sample-review"
_AUDIT = ("audit_logs", "performance_metrics", "activity_timeline")


class AuditLogger:
    """A session's audit logger."""

    def __init__(self, logs: Any, metrics: Any, timeline: Any) -> None:
        self._values = logs, metrics, timeline

    def get_session_logs(self) -> Any:
        return self._values[0]

    def get_performance_metrics(self) -> Any:
        return self._values[1]

    def get_activity_timeline(self) -> Any:
        return self._values[2]


class Session:
    """A review session."""

    def __init__(self, **attributes: Any) -> None:
        self.audit_logger: Any = AuditLogger([], {}, [])
        self.__dict__.update(attributes)


def sample_session(**changes: Any) -> Session:
    """A session of the sample review."""
    data = json.loads((SAMPLE / "session.json").read_text())
    logger = AuditLogger(*(data.pop(key) for key in _AUDIT))
    attributes = {**data, "audit_logger": logger, "guidelines_path": str(SAMPLE / "guidelines.docx")}
    return Session(**{**attributes, **changes})


def wait_until(condition: Callable[[], bool]) -> None:
    """Polls until the condition is true, for at most 30 seconds."""
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)
