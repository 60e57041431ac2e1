"""Progress bars with tqdm: `pip install tara-export[progress]`."""

from __future__ import annotations

from typing import Any, Optional

from tara.export.v1 import export_pb2

from .errors import printable


class _Bar:
    def __init__(self, is_enabled: bool, **options: Any) -> None:
        self._bar: Any = None
        if is_enabled:
            self._bar = _tqdm()(**options)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def _move(self, done: int, total: Optional[int] = None) -> None:
        if total is not None:
            self._bar.total = total
        # The progress decreases if the export restarts in another run or in the local store.
        self._bar.n = done
        self._bar.refresh()


class ExportBar(_Bar):
    """The files of a bundle. Shows nothing if it is disabled."""

    def __init__(self, is_enabled: bool) -> None:
        super().__init__(is_enabled, desc="export", unit="file")

    def show(self, event: export_pb2.ExportEvent) -> None:
        """Shows the progress after an event."""
        if self._bar is None:
            return
        kind = event.WhichOneof("event")
        if kind == "completed":
            # If the export ended before the call, its last event has no progress.
            total = max(event.progress.artifacts_total, event.completed.export.artifact_count)
            self._move(total, total)
            self._bar.set_postfix_str(printable(event.completed.export.location))
            return
        if kind == "fell_back":
            self._bar.set_postfix_str("S3 could not store the bundle: stored locally")
        elif kind == "failed":
            self._bar.set_postfix_str(printable(event.failed.reason))
        self._move(event.progress.artifacts_done, event.progress.artifacts_total or None)


class UploadBar(_Bar):
    """The bytes of a document. Shows nothing if it is disabled."""

    def __init__(self, is_enabled: bool, name: str, size_bytes: int) -> None:
        options: dict[str, Any] = {"unit": "B", "unit_scale": True, "unit_divisor": 1024}
        super().__init__(is_enabled, desc=name, total=size_bytes, **options)

    def show(self, done_bytes: int) -> None:
        """Shows the number of uploaded bytes."""
        if self._bar is not None:
            self._move(done_bytes)


def _tqdm() -> Any:
    try:
        from tqdm.auto import tqdm
    except ImportError as error:
        raise ImportError("a progress bar requires tqdm: pip install tara-export[progress]") from error
    return tqdm
