"""The upload of a document: computes the next call. Reads the file, but makes no calls itself."""

from __future__ import annotations

import hashlib
import io
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Callable, Optional, Union

import grpc

from tara.export.v1 import upload_pb2

from . import methods, names
from .document_file import check_size, is_small, open_document, read_document
from .errors import CallError, Damaged, TaraExportError
from .proxy_limit import ProxyLimit
from .retry import Policy, RetryTimer

_PIECE_BYTES = 1024 * 1024
#: Reasons why the upload can no longer be used. A new upload needs another request id.
_UNUSABLE = ("UPLOAD_ABORTED", "UPLOAD_NOT_FOUND", "UPLOAD_ID_REUSED")


class FileUpload:
    """The upload of one document, with the state between attempts."""

    def __init__(
        self,
        path: Path,
        policy: Policy,
        limit: ProxyLimit,
        on_progress: Callable[[int], None],
        data: Optional[bytes] = None,
    ) -> None:
        """`on_progress` is called with the number of sent bytes. If there is `data`, `path` only names it.

        Raises OSError if this is not a plain file, or it cannot be read.
        """
        self.path, self._on_progress = path, on_progress
        #: A small file is read once: the system may report another size than it has.
        self._data = read_document(path) if data is None and is_small(path) else data
        self._sha256, self.size_bytes = _digest(self._open())
        # Derived from the content, so that another process can resume the upload.
        self._request_id, self._has_second_id = _request_id(self._sha256), False
        self._upload: Optional[upload_pb2.Upload] = None
        self._max_committed_bytes = self._max_sent_bytes = 0
        self._policy, self._limit = policy, limit
        #: The bytes of the document in the last request.
        self._request_bytes = 0
        #: Whether the last request was a stream, and whether a proxy may refuse streams.
        self._is_stream = self._avoids_stream = False
        self._avoids_large_chunks = False
        self._retry_timer = RetryTimer(policy, str(path))

    @property
    def committed_bytes(self) -> int:
        """The number of bytes that the server has."""
        return self._upload.committed_size_bytes if self._upload is not None else 0

    @property
    def is_complete(self) -> bool:
        """Whether the server has the complete file."""
        return self._upload is not None and bool(self._upload.sha256)

    @property
    def timeout_seconds(self) -> float:
        """The timeout of one attempt."""
        return self._policy.progress_timeout_seconds + methods.sending_seconds(self.size_bytes)

    def status_call(self) -> tuple[str, Union[upload_pb2.CreateUploadRequest, upload_pb2.GetUploadRequest]]:
        """The method and request of the call that returns the state of the upload."""
        self._request_bytes, self._is_stream = 0, False
        if self._upload is not None:
            return "GetUpload", upload_pb2.GetUploadRequest(name=self._upload.name)
        return "CreateUpload", upload_pb2.CreateUploadRequest(
            request_id=self._request_id, size_bytes=self.size_bytes, sha256=self._sha256
        )

    def update(self, upload: upload_pb2.Upload) -> None:
        """Updates the state from a response. Raises UntrustedResponse."""
        names.check_upload(upload, self._name, self.size_bytes)
        self._upload = upload
        self._on_progress(upload.committed_size_bytes)
        if upload.committed_size_bytes > self._max_committed_bytes:
            self._max_committed_bytes = self._max_sent_bytes = upload.committed_size_bytes
            self._retry_timer.record_progress()

    @property
    def sends_chunks(self) -> bool:
        """Whether to send chunks although the connection has client streams."""
        return self._avoids_stream or self._sends_small_chunks

    @property
    def _sends_small_chunks(self) -> bool:
        """Whether a proxy may refuse larger chunks, and this server accepts smaller ones."""
        return (self._limit.is_known or self._avoids_large_chunks) and self._min_chunk_bytes > 0

    @property
    def _min_chunk_bytes(self) -> int:
        """The smallest size of a chunk. 0 if the server, one of an earlier release, accepts only one size."""
        if self._upload is None or self._upload.min_chunk_size_bytes > self._upload.chunk_size_bytes:
            return 0
        return max(self._upload.min_chunk_size_bytes, 0)

    def pieces(self) -> Iterator[upload_pb2.UploadDocumentRequest]:
        """Returns the remaining bytes as messages of one stream."""
        # A proxy may refuse the call before it reads a piece.
        self._request_bytes, self._is_stream = self.size_bytes - self.committed_bytes, True
        return self._pieces()

    def _pieces(self) -> Iterator[upload_pb2.UploadDocumentRequest]:
        name, offset = self._name, self.committed_bytes
        with self._open() as file:
            file.seek(offset)
            while True:
                data = file.read(min(_PIECE_BYTES, self.size_bytes - offset))
                # A truncated file ends here, and the server rejects the upload.
                is_end = offset + len(data) >= self.size_bytes or not data
                yield upload_pb2.UploadDocumentRequest(name=name, offset=offset, data=data, finish=is_end)
                self._sent(offset + len(data))
                if is_end:
                    return
                offset += len(data)

    def _sent(self, sent_bytes: int) -> None:
        self._on_progress(sent_bytes)
        # Sending the same bytes again is not progress: a server that stores nothing must time out.
        if sent_bytes > self._max_sent_bytes:
            self._max_sent_bytes = sent_bytes
            self._retry_timer.record_progress()

    def chunk(self) -> upload_pb2.UploadChunkRequest:
        """The request with the next chunk, of a size in the range of the server."""
        if self._upload is None or self._upload.chunk_size_bytes <= 0:
            raise TaraExportError("the server returned no chunk size")
        offset = self.committed_bytes
        chunk_bytes = self._min_chunk_bytes if self._sends_small_chunks else self._upload.chunk_size_bytes
        with self._open() as file:
            file.seek(offset)
            data = file.read(min(chunk_bytes, self.size_bytes - offset))
        self._request_bytes = len(data)
        return upload_pb2.UploadChunkRequest(
            name=self._name, offset=offset, data=data, finish=offset + len(data) == self.size_bytes
        )

    def update_after_chunk(self, sent: upload_pb2.UploadChunkRequest, upload: upload_pb2.Upload) -> None:
        """Updates the state from the response to a chunk. Raises CallError if there was no progress."""
        self.update(upload)
        if not self.is_complete and upload.committed_size_bytes <= sent.offset:
            raise CallError(grpc.StatusCode.UNAVAILABLE, "a chunk made no progress")

    def result(self) -> upload_pb2.Upload:
        """Returns the finished upload. Raises an error if it is unfinished or has other bytes."""
        if self._upload is None or not self._upload.sha256:
            raise CallError(grpc.StatusCode.UNAVAILABLE, "the upload ended before the file")
        if self._upload.sha256 != self._sha256:
            raise Damaged(f"SHA-256 of the upload is {self._upload.sha256} instead of {self._sha256}")
        self._check_size()
        return self._upload

    def next_delay_seconds(self, error: CallError) -> float:
        """The delay before the next attempt. Raises the error if a retry cannot help.

        Raises OSError if the cause is that the file changed its size.
        """
        self._check_size()
        if error.reason in _UNUSABLE and not self._has_second_id:
            self._request_id, self._has_second_id = str(uuid.uuid4()), True
            self._upload = None
            return 0
        can_send_less = 0 < self._min_chunk_bytes < self._request_bytes
        if error.is_too_large_for_proxy and can_send_less:
            # The next attempt sends the same bytes in smaller requests.
            self._limit.is_known = True
            return 0
        if error.is_connection_lost and can_send_less and not self._is_stream:
            # If a proxy closes a connection with TLS at once, its response is lost.
            self._avoids_large_chunks = True
        if (
            error.is_ambiguous
            and self._is_stream
            and self._upload is not None
            and self._upload.chunk_size_bytes > 0
        ):
            # grpc.aio loses some HTTP statuses of responses before the end of a stream, but none to chunks.
            self._avoids_stream = True
        if not error.is_unavailable and error.reason not in ("OVERLOADED", "UPLOAD_OFFSET_MISMATCH"):
            raise error
        return self._retry_timer.next_delay_seconds(error)

    def _open(self) -> BinaryIO:
        return open_document(self.path) if self._data is None else io.BytesIO(self._data)

    def _check_size(self) -> None:
        if self._data is None:
            with open_document(self.path) as file:
                check_size(self.path, file, self.size_bytes)

    @property
    def _name(self) -> str:
        return self._upload.name if self._upload is not None else ""


def chunk_timeout_seconds(chunk: upload_pb2.UploadChunkRequest) -> float:
    """The timeout of the call that sends the chunk."""
    return methods.DEADLINE_SECONDS + methods.sending_seconds(len(chunk.data))


def send_chunks(upload: FileUpload, call: Callable[[str, Any, float], Any]) -> None:
    """Sends the remaining bytes in one call per chunk. `call` makes a unary call with a timeout."""
    while not upload.is_complete:
        chunk = upload.chunk()
        upload.update_after_chunk(chunk, call("UploadChunk", chunk, chunk_timeout_seconds(chunk)).upload)


def _request_id(sha256: str) -> str:
    """Derives a UUID from a digest (RFC 9562, version 8)."""
    return str(uuid.UUID(hex=f"{sha256[:12]}8{sha256[13:16]}8{sha256[17:32]}"))


def _digest(file: BinaryIO) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    return digest.hexdigest(), size_bytes
