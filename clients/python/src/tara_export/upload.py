"""A file on its way to the server: what to send next. Reads the file, and calls nobody."""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Callable, Optional, Union

import grpc

from tara.export.v1 import upload_pb2

from . import methods, names
from .errors import CallError, Damaged, TaraExportError
from .patience import Patience, Waits

_PIECE_BYTES = 1024 * 1024
#: The server gave the upload up: with another id a new one begins.
_GIVEN_UP = ("UPLOAD_ABORTED", "UPLOAD_NOT_FOUND", "UPLOAD_ID_REUSED")


class FileUpload:
    """One file, and what is known of it between attempts."""

    def __init__(self, path: Path, patience: Patience, tell: Callable[[int], None]) -> None:
        """`tell` is told how many bytes are on their way."""
        self.path, self._tell = path, tell
        self._sha256, self.size_bytes = _digest(path)
        self._request_id, self._has_second_id = str(uuid.uuid4()), False
        self._known: Optional[upload_pb2.Upload] = None
        self._furthest_committed_bytes = self._furthest_sent_bytes = 0
        self._patience = patience
        self._waits = Waits(patience, str(path))

    @property
    def committed_bytes(self) -> int:
        """How much the server has."""
        return self._known.committed_size_bytes if self._known is not None else 0

    @property
    def is_complete(self) -> bool:
        """Whether the server has the whole file."""
        return self._known is not None and bool(self._known.sha256)

    @property
    def limit_seconds(self) -> float:
        """How long one attempt may take."""
        return self._patience.limit_seconds + methods.sending_seconds(self.size_bytes)

    def look_up(self) -> tuple[str, Union[upload_pb2.CreateUploadRequest, upload_pb2.GetUploadRequest]]:
        """The call, method and request, that says where to go on."""
        if self._known is not None:
            return "GetUpload", upload_pb2.GetUploadRequest(name=self._known.name)
        return "CreateUpload", upload_pb2.CreateUploadRequest(
            request_id=self._request_id, size_bytes=self.size_bytes, sha256=self._sha256
        )

    def learn(self, known: upload_pb2.Upload) -> None:
        """The server told how far the upload is. Raises UntrustedAnswer."""
        names.check_upload(known, self._name, self.size_bytes)
        self._known = known
        self._tell(known.committed_size_bytes)
        if known.committed_size_bytes > self._furthest_committed_bytes:
            self._furthest_committed_bytes = self._furthest_sent_bytes = known.committed_size_bytes
            self._waits.restart()

    def pieces(self) -> Iterator[upload_pb2.UploadDocumentRequest]:
        """The rest of the file as one stream."""
        name, offset = self._name, self.committed_bytes
        with self.path.open("rb") as file:
            file.seek(offset)
            while True:
                data = file.read(_PIECE_BYTES)
                # A file that became shorter ends here, and the server refuses it.
                is_end = offset + len(data) >= self.size_bytes or not data
                yield upload_pb2.UploadDocumentRequest(name=name, offset=offset, data=data, finish=is_end)
                self._sent(offset + len(data))
                if is_end:
                    return
                offset += len(data)

    def _sent(self, sent_bytes: int) -> None:
        self._tell(sent_bytes)
        # What is only sent again is no news: a server that keeps nothing is given up.
        if sent_bytes > self._furthest_sent_bytes:
            self._furthest_sent_bytes = sent_bytes
            self._waits.restart()

    def chunk(self) -> upload_pb2.UploadChunkRequest:
        """The next part of the file as a call of its own: exactly as large as the server wants it."""
        if self._known is None or self._known.chunk_size_bytes <= 0:
            raise TaraExportError("the server named no size of a chunk")
        offset = self.committed_bytes
        with self.path.open("rb") as file:
            file.seek(offset)
            data = file.read(min(self._known.chunk_size_bytes, self.size_bytes - offset))
        return upload_pb2.UploadChunkRequest(
            name=self._name, offset=offset, data=data, finish=offset + len(data) == self.size_bytes
        )

    def learn_chunk(self, sent: upload_pb2.UploadChunkRequest, known: upload_pb2.Upload) -> None:
        """The server told how far the upload is after this chunk; raises where that is no further."""
        self.learn(known)
        if not self.is_complete and known.committed_size_bytes <= sent.offset:
            raise CallError(grpc.StatusCode.UNAVAILABLE, "a chunk brought no headway")

    def result(self) -> upload_pb2.Upload:
        """The finished upload; raises where it is not, or is not this file."""
        if self._known is None or not self._known.sha256:
            raise CallError(grpc.StatusCode.UNAVAILABLE, "the upload ended before the file did")
        if self._known.sha256 != self._sha256:
            raise Damaged(f"the server has {self._known.sha256}, and the file {self._sha256}")
        return self._known

    def seconds_to_wait(self, error: CallError) -> float:
        """How long to wait before looking the upload up again; raises where that would not help."""
        if error.reason in _GIVEN_UP and not self._has_second_id:
            self._request_id, self._has_second_id = str(uuid.uuid4()), True
            self._known = None
            return 0
        if not error.is_unavailable and error.reason not in ("OVERLOADED", "UPLOAD_OFFSET"):
            raise error
        return self._waits.next_seconds(error)

    @property
    def _name(self) -> str:
        return self._known.name if self._known is not None else ""


def _digest(path: Path) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    return digest.hexdigest(), size_bytes
