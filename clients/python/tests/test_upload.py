"""Retries of an upload, with a clock that the test controls."""

from __future__ import annotations

import hashlib
import os
import socket
import time
from pathlib import Path

import grpc
import pytest

from tara.export.v1 import upload_pb2
from tara_export import CallError, LostContact, Policy
from tara_export.proxy_limit import ProxyLimit
from tara_export.upload import FileUpload

MIB = 1024 * 1024
CONNECTION_LOST = CallError(grpc.StatusCode.UNAVAILABLE, "the connection was lost")


class Clock:
    """A clock that only the test advances."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self._seconds = time.monotonic()
        monkeypatch.setattr(time, "monotonic", lambda: self._seconds)

    def send(self, upload: FileUpload, committed_bytes: int, pieces: int) -> None:
        """Starts an attempt and sends pieces, each within the timeout of ten seconds."""
        upload.update(upload_pb2.Upload(name="uploads/a", committed_size_bytes=committed_bytes))
        stream = upload.pieces()
        for _ in range(pieces):
            next(stream)
            self._seconds += 8
        next(stream)


@pytest.fixture
def upload(tmp_path: Path) -> FileUpload:
    path = tmp_path / "document"
    path.write_bytes(bytes(6 * MIB))
    return FileUpload(path, Policy(progress_timeout_seconds=10), ProxyLimit(is_likely=False), lambda _: None)


def test_long_upload_is_retried_after_late_disconnect(
    upload: FileUpload, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock(monkeypatch)
    clock.send(upload, 0, 3)
    assert upload.next_delay_seconds(CONNECTION_LOST) < 1
    # Less was committed than sent, but more than in the previous attempt.
    clock.send(upload, 2 * MIB, 2)
    assert upload.next_delay_seconds(CONNECTION_LOST) < 1


def test_upload_fails_if_server_stores_nothing(upload: FileUpload, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock(monkeypatch)
    clock.send(upload, 0, 3)
    upload.next_delay_seconds(CONNECTION_LOST)
    clock.send(upload, 0, 3)
    with pytest.raises(LostContact):
        upload.next_delay_seconds(CONNECTION_LOST)


def test_request_id_is_the_same_in_every_process_until_a_failure(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")

    def request_id(upload: FileUpload) -> str:
        _, request = upload.status_call()
        assert isinstance(request, upload_pb2.CreateUploadRequest)
        return request.request_id

    uploads = [
        FileUpload(path, Policy(progress_timeout_seconds=10), ProxyLimit(is_likely=False), lambda _: None)
        for _ in range(2)
    ]
    for upload in uploads:
        # Every client derives the same id.
        assert request_id(upload) == "ba7816bf-8f01-8fea-8141-40de5dae2223"
        aborted = CallError(grpc.StatusCode.ABORTED, "other bytes were received")
        aborted.reason = "UPLOAD_ABORTED"
        assert upload.next_delay_seconds(aborted) == 0
    assert request_id(uploads[0]) != request_id(uploads[1])


def file_upload(path: Path) -> FileUpload:
    return FileUpload(path, Policy(progress_timeout_seconds=10), ProxyLimit(is_likely=False), lambda _: None)


def test_only_plain_files_are_uploaded(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to(tmp_path / "gone")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "socket"))
        for path, reason in {
            tmp_path: "a folder",
            tmp_path / "pipe": "a pipe",
            tmp_path / "socket": "a socket",
            Path("/dev/null"): "a device",
            tmp_path / "dangling": "No such file",
        }.items():
            with pytest.raises(OSError, match=reason) as raised:
                file_upload(path)
            assert str(path) in str(raised.value)
    (tmp_path / "file").write_bytes(b"abc")
    (tmp_path / "link").symlink_to(tmp_path / "file")
    assert file_upload(tmp_path / "link").size_bytes == 3


def test_bytes_are_counted_and_not_taken_from_the_reported_size() -> None:
    path = Path("/proc/cpuinfo")
    assert path.stat().st_size == 0
    upload = file_upload(path)
    upload.update(upload_pb2.Upload(name="uploads/a"))
    sent = b"".join(piece.data for piece in upload.pieces())
    # The same bytes as those with the digest, although each read of the file may return others.
    assert b"processor" in sent and len(sent) == upload.size_bytes


@pytest.mark.parametrize("change", [-1, 1])
def test_file_that_changes_its_size_is_an_error(tmp_path: Path, change: int) -> None:
    path = tmp_path / "document"
    path.write_bytes(bytes(2 * MIB))
    upload = file_upload(path)
    upload.update(upload_pb2.Upload(name="uploads/a"))
    os.truncate(path, 2 * MIB + change)
    sent = b"".join(piece.data for piece in upload.pieces())
    assert len(sent) <= 2 * MIB
    with pytest.raises(OSError, match="changed from"):
        upload.next_delay_seconds(CallError(grpc.StatusCode.INVALID_ARGUMENT, "the sizes differ"))
    upload.update(upload_pb2.Upload(name="uploads/a", sha256=hashlib.sha256(bytes(2 * MIB)).hexdigest()))
    with pytest.raises(OSError, match="changed from"):
        upload.result()
