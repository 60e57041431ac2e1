"""The client: calls to a tara-export server over gRPC, with what a caller would otherwise have to write."""

from __future__ import annotations

import hashlib
import json
import os
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional, Union

import grpc
from google.protobuf import message_factory

from tara.export.v1 import export_pb2, service_pb2, upload_pb2

from .errors import CallError, Damaged, TaraExportError
from .patience import Patience, SeenEvents, Waits
from .watchdog import Watchdog

_SERVICE = service_pb2.DESCRIPTOR.services_by_name["ExportService"]
_MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_PIECE_BYTES = 1024 * 1024
_DEADLINE_SECONDS = 60
#: Beyond the patience for a lost stream, a request may take a second for each of these.
_SLOWEST_BYTES_PER_SECOND = 32 * 1024
_READS = (
    "GetExport",
    "ListExports",
    "GetReport",
    "PreviewExport",
    "CheckStorage",
    "GetUpload",
    "CreateUpload",
)
_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [{"service": _SERVICE.full_name, "method": method} for method in _READS],
            "retryPolicy": {
                "maxAttempts": 4,
                "initialBackoff": "0.2s",
                "maxBackoff": "5s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
_OPTIONS = [
    ("grpc.max_send_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", _MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # grpcio waits a second before it connects again, and longer each time.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.keepalive_time_ms", 20_000),
    ("grpc.keepalive_timeout_ms", 20_000),
]


class Client:
    """A connection to a server, `host:port`, which is made again by itself when it was lost."""

    def __init__(self, server: str, patience: Optional[Patience] = None) -> None:
        self._channel = grpc.insecure_channel(server.split("://")[-1], options=_OPTIONS)
        self._patience = patience or Patience()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def _method(self, name: str) -> Any:
        method = _SERVICE.methods_by_name[name]
        kinds = {
            (False, False): self._channel.unary_unary,
            (False, True): self._channel.unary_stream,
            (True, False): self._channel.stream_unary,
        }
        make = kinds[(method.client_streaming, method.server_streaming)]
        answer = message_factory.GetMessageClass(method.output_type)
        serialize = message_factory.GetMessageClass(method.input_type).SerializeToString
        return make(
            f"/{_SERVICE.full_name}/{name}",
            request_serializer=serialize,
            response_deserializer=answer.FromString,
        )

    def _call(self, name: str, request: Any, deadline_seconds: float = _DEADLINE_SECONDS) -> Any:
        try:
            return self._method(name)(request, timeout=deadline_seconds)
        except grpc.RpcError as error:
            raise CallError.from_rpc(error) from error

    def _stream(self, name: str, request: Any) -> Iterator[Any]:
        call = self._method(name)(request)
        try:
            yield from call
        except grpc.RpcError as error:
            raise CallError.from_rpc(error) from error
        finally:
            call.cancel()

    def export(self, request: service_pb2.StartExportRequest) -> Iterator[export_pb2.ExportEvent]:
        """Exports a review and follows it to its end, `completed` or `failed`.

        Makes the request's id when it has none. Lost connections and restarted servers are survived, and no
        event of a run comes twice. The export goes on when nobody reads on.
        """
        started = service_pb2.StartExportRequest()
        started.CopyFrom(request)
        started.request_id = started.request_id or str(uuid.uuid4())
        return self._follow(f"exports/{started.request_id}", started)

    def watch(self, name: str) -> Iterator[export_pb2.ExportEvent]:
        """Follows an export, exports/{export_id}, that was started before."""
        return self._follow(name, None)

    def _follow(
        self, name: str, request: Optional[service_pb2.StartExportRequest]
    ) -> Iterator[export_pb2.ExportEvent]:
        seen, waits = SeenEvents(), Waits(self._patience, name)
        is_start, has_started_again = request is not None, False
        while True:
            try:
                for event in self._events(name, request if is_start else None, seen):
                    if not seen.is_new(event):
                        continue
                    yield event
                    if event.WhichOneof("event") in ("completed", "failed"):
                        return
                    if event.run_id:
                        waits.restart()
                    elif waits.is_over and request is not None and not has_started_again:
                        # Nobody seems to work on it: sent again, this server finishes it.
                        is_start, has_started_again = True, True
                        waits.restart()
                        break
                else:
                    raise CallError(grpc.StatusCode.UNAVAILABLE, "the stream ended before the export did")
            except CallError as error:
                if not is_start and request is not None and error.reason == "EXPORT_NOT_HERE":
                    is_start = True
                    continue
                # Not accepted: the store is down, and the caller did not want another.
                if not error.is_unavailable or (is_start and error.reason == "STORE_UNAVAILABLE"):
                    raise
                time.sleep(waits.next_seconds(error))
                is_start = False

    def _events(
        self, name: str, request: Optional[service_pb2.StartExportRequest], seen: SeenEvents
    ) -> Iterator[export_pb2.ExportEvent]:
        first_seconds = self._patience.silence_seconds
        if request is not None:
            first_seconds = max(first_seconds, self._patience.limit_seconds)
            first_seconds += request.ByteSize() / _SLOWEST_BYTES_PER_SECOND
            stream = self._method("StartExport")(request)
        else:
            watched = service_pb2.WatchExportRequest(name=name, run_id=seen.run_id, after_sequence=seen.last)
            stream = self._method("WatchExport")(watched)
        with Watchdog(stream, first_seconds, self._patience.silence_seconds) as watchdog:
            try:
                for event in stream:
                    watchdog.heard()
                    yield event
                    watchdog.heard()
            except grpc.RpcError as error:
                if watchdog.has_barked:
                    raise CallError(
                        grpc.StatusCode.UNAVAILABLE, "the server said nothing for too long"
                    ) from error
                raise CallError.from_rpc(error) from error

    def get_export(self, name: str) -> export_pb2.Export:
        """Reads one export with its artifacts."""
        answer: service_pb2.GetExportResponse = self._call(
            "GetExport", service_pb2.GetExportRequest(name=name)
        )
        return answer.export

    def list_exports(self, filter: str = "", page_size: int = 0) -> Iterator[export_pb2.Export]:
        """All exports that match the filter, newest first; pages are fetched as they are needed."""
        request = service_pb2.ListExportsRequest(filter=filter, page_size=page_size)
        while True:
            page: service_pb2.ListExportsResponse = self._call("ListExports", request)
            yield from page.exports
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def check_storage(self) -> list[service_pb2.StorageCheck]:
        """Tries the server's stores: one row a check, with what to do about each that failed."""
        answer: service_pb2.CheckStorageResponse = self._call(
            "CheckStorage", service_pb2.CheckStorageRequest()
        )
        return list(answer.checks)

    def download_artifact(
        self, name: str, path: str, to: Union[str, os.PathLike[str]]
    ) -> export_pb2.Artifact:
        """Writes one file of a bundle to `to`, which appears only when size and digest are right."""
        request = service_pb2.DownloadArtifactRequest(name=name, path=path)
        artifact: export_pb2.Artifact = self._download("DownloadArtifact", request, "artifact", Path(to))
        return artifact

    def download_bundle(self, name: str, to: Union[str, os.PathLike[str]]) -> Any:
        """Writes a whole bundle to `to` as a ZIP file."""
        return self._download(
            "DownloadBundle", service_pb2.DownloadBundleRequest(name=name), "archive", Path(to)
        )

    def _download(self, method: str, request: Any, head: str, target: Path) -> Any:
        partial = target.with_name(f".{target.name}.{uuid.uuid4()}.part")
        described, digest, size_bytes = None, hashlib.sha256(), 0
        try:
            with partial.open("xb") as file:
                for message in self._stream(method, request):
                    if message.WhichOneof("part") == head:
                        described = getattr(message, head)
                        continue
                    digest.update(message.data)
                    size_bytes += len(message.data)
                    file.write(message.data)
            if described is None:
                raise TaraExportError("a download that doesn't begin with its description")
            if head == "artifact" and (described.size_bytes, described.sha256) != (
                size_bytes,
                digest.hexdigest(),
            ):
                raise Damaged(f"{described.path}: {size_bytes} bytes came with SHA-256 {digest.hexdigest()}")
            partial.replace(target)
        finally:
            partial.unlink(missing_ok=True)
        return described

    def upload_file(self, path: Union[str, os.PathLike[str]]) -> upload_pb2.Upload:
        """Sends a file that is too large for a request, and goes on where a lost connection left off."""
        sha256, size_bytes = _digest(Path(path))
        created = upload_pb2.CreateUploadRequest(
            request_id=str(uuid.uuid4()), size_bytes=size_bytes, sha256=sha256
        )
        waits, furthest, upload = Waits(self._patience, str(path)), 0, None
        while True:
            try:
                if upload is None:
                    upload = self._call("CreateUpload", created).upload
                else:
                    upload = self._call("GetUpload", upload_pb2.GetUploadRequest(name=upload.name)).upload
                if upload.committed_size_bytes > furthest:
                    furthest = upload.committed_size_bytes
                    waits.restart()
                if not upload.sha256:
                    pieces = _pieces(Path(path), upload.name, upload.committed_size_bytes, size_bytes)
                    limit = self._patience.limit_seconds + size_bytes / _SLOWEST_BYTES_PER_SECOND
                    upload = self._call("UploadDocument", pieces, limit).upload
                if upload.sha256 != sha256:
                    raise Damaged(f"the server has {upload.sha256}, and the file {sha256}")
                return upload  # type: ignore[no-any-return]
            except CallError as error:
                if not error.is_unavailable and error.reason not in ("OVERLOADED", "UPLOAD_OFFSET"):
                    raise
                time.sleep(waits.next_seconds(error))


def _digest(path: Path) -> tuple[str, int]:
    digest, size_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
    return digest.hexdigest(), size_bytes


def _pieces(path: Path, name: str, start: int, size_bytes: int) -> Iterator[upload_pb2.UploadDocumentRequest]:
    with path.open("rb") as file:
        file.seek(start)
        offset = start
        while True:
            data = file.read(_PIECE_BYTES)
            is_end = offset + len(data) >= size_bytes or not data
            yield upload_pb2.UploadDocumentRequest(name=name, offset=offset, data=data, finish=is_end)
            if is_end:
                return
            offset += len(data)
