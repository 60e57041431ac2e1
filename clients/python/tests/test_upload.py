"""How long an upload is tried again, by a clock that the test moves."""

from __future__ import annotations

import time
from pathlib import Path

import grpc
import pytest

from tara.export.v1 import upload_pb2
from tara_export import CallError, LostContact, Patience
from tara_export.upload import FileUpload

MIB = 1024 * 1024
CUT = CallError(grpc.StatusCode.UNAVAILABLE, "the connection was cut")


class Clock:
    """Stands still unless it is moved."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._seconds = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: self._seconds)

    def send(self, upload: FileUpload, committed_bytes: int, pieces: int) -> None:
        """Looks the upload up, and sends pieces, each within the patience of ten seconds."""
        upload.learn(upload_pb2.Upload(name="uploads/a", committed_size_bytes=committed_bytes))
        stream = upload.pieces()
        for _ in range(pieces):
            next(stream)
            self._seconds += 8
        next(stream)


@pytest.fixture
def upload(tmp_path: Path) -> FileUpload:
    path = tmp_path / "document"
    path.write_bytes(bytes(6 * MIB))
    return FileUpload(path, Patience(limit_seconds=10), lambda _: None)


def test_a_long_upload_that_is_cut_late_is_tried_again(
    upload: FileUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    clock.send(upload, 0, 3)
    assert upload.seconds_to_wait(CUT) < 1
    # Less is committed than was sent, and more than before.
    clock.send(upload, 2 * MIB, 2)
    assert upload.seconds_to_wait(CUT) < 1


def test_a_server_that_keeps_nothing_is_given_up(upload: FileUpload, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.send(upload, 0, 3)
    upload.seconds_to_wait(CUT)
    clock.send(upload, 0, 3)
    with pytest.raises(LostContact):
        upload.seconds_to_wait(CUT)
