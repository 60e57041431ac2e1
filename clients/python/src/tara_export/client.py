"""The client: calls to a tara-export server with retries, resumed streams and verified downloads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Optional, Union

from tara.export.v1 import automation_pb2, batch_pb2, export_pb2, review_pb2, service_pb2, upload_pb2

from . import names
from .address import parse_address
from .batch import BatchFollower, batch_ended_early
from .download import Download
from .errors import CallError
from .follow import Follower, set_uploaded, stream_ended_early
from .methods import DEADLINE_SECONDS, RETRYABLE_METHODS, StreamCall
from .native import NativeTransport
from .progress import ExportBar, UploadBar
from .proxy_limit import ProxyLimit
from .retry import Policy, RetryTimer
from .tls import PathLike, TlsFiles
from .tokens import Authorization, Token
from .upload import FileUpload
from .web import WebTransport


class Client:
    """A connection to a server. Reconnects automatically.

    `server` is `host:port`, an http or https URL, or a name of gRPC such as `unix:PATH` or
    `dns:///host:port`; `tls` is for addresses without a scheme. `transport="grpc-web"` is for networks that
    support only HTTP/1.1.

    `token` is sent with every call: a text, or a function that returns it. The function is called before
    every call, and again if the server refuses the token. Its errors are raised by the call.

    `tls_ca_file` has the authorities that are trusted instead of the default ones; `tls_client_cert_file` and
    `tls_client_key_file` have the client certificate, all in PEM. They are read once.

    Raises ValueError if the address, token or a certificate is not valid, or if the token would be sent
    without TLS to another machine and `allow_insecure_token` is False. Raises OSError if a file cannot be
    read.
    """

    def __init__(
        self,
        server: str,
        policy: Optional[Policy] = None,
        *,
        transport: Literal["grpc", "grpc-web"] = "grpc",
        token: Optional[Token] = None,
        tls: Optional[bool] = None,
        tls_ca_file: Optional[PathLike] = None,
        tls_client_cert_file: Optional[PathLike] = None,
        tls_client_key_file: Optional[PathLike] = None,
        allow_insecure_token: bool = False,
    ) -> None:
        if transport not in ("grpc", "grpc-web"):
            raise ValueError(f"transport must be grpc or grpc-web, not {transport!r}")
        files = TlsFiles(tls_ca_file, tls_client_cert_file, tls_client_key_file)
        address = parse_address(server, tls=tls, has_certificates=bool(files))
        authorization = Authorization(token, address, allow_insecure_token)
        is_native = transport == "grpc"
        self._transport: Union[NativeTransport, WebTransport] = (
            NativeTransport(address, files, authorization)
            if is_native
            else WebTransport(address, files, authorization)
        )
        self._policy = policy or Policy()
        # Networks that support only HTTP/1.1 often have proxies.
        self._limit = ProxyLimit(is_likely=not is_native)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the connection."""
        self._transport.close()

    def _call(self, name: str, request: Any, deadline_seconds: float = DEADLINE_SECONDS) -> Any:
        retry_timer = RetryTimer(self._policy, name)
        while True:
            try:
                return self._transport.call(name, request, deadline_seconds)
            except CallError as error:
                if not error.is_ambiguous or name not in RETRYABLE_METHODS:
                    raise
                time.sleep(retry_timer.next_delay_seconds(error))

    def export(
        self, request: service_pb2.StartExportRequest, *, progress: bool = False
    ) -> Iterator[export_pb2.ExportEvent]:
        """Exports a review and follows the export until it ends with `completed` or `failed`.

        Generates the request id if it is empty. Reconnects after lost connections and server restarts, and
        yields no event of a run twice. The export continues if the caller stops reading. `progress` shows a
        bar.
        """
        return self._follow(Follower.of_request(request, self._policy, self._limit), progress)

    def watch(self, name: str, *, progress: bool = False) -> Iterator[export_pb2.ExportEvent]:
        """Follows an export, exports/{export_id}, that was started earlier. `progress` shows a bar."""
        return self._follow(Follower(name, None, self._policy, self._limit), progress)

    def _follow(self, follower: Follower, progress: bool) -> Iterator[export_pb2.ExportEvent]:
        with ExportBar(progress) as bar:
            while not follower.has_ended:
                for document in follower.documents_to_upload():
                    set_uploaded(document, self.upload_document(document, progress=progress))
                try:
                    with closing(self._transport.stream(follower.next_call())) as events:
                        for event in events:
                            if not follower.is_new(event):
                                continue
                            bar.show(event)
                            yield event
                            if not follower.should_continue(event):
                                break
                        else:
                            raise stream_ended_early()
                except CallError as error:
                    time.sleep(follower.next_delay_seconds(error))

    def export_batch(
        self, requests: Iterable[service_pb2.StartExportRequest], batch_id: str = ""
    ) -> Iterator[batch_pb2.WatchBatchResponse]:
        """Exports many reviews, at most 500, and follows them until all have ended.

        Generates the batch id if it is empty. Yields the result of each item once, when it ends, and at last
        `ended`. Sends the same batch again if the connection was lost or the server did not accept every
        item. The exports continue if the caller stops reading.
        """
        return self._follow_batch(BatchFollower.of_requests(requests, batch_id, self._policy))

    def watch_batch(self, name: str) -> Iterator[batch_pb2.WatchBatchResponse]:
        """Follows a batch, batches/{batch_id}, that was started earlier."""
        return self._follow_batch(BatchFollower(name, None, self._policy))

    def _follow_batch(self, follower: BatchFollower) -> Iterator[batch_pb2.WatchBatchResponse]:
        while not follower.has_ended:
            try:
                if follower.is_start:
                    follower.started(self._transport.call(*follower.start_call()))
                    continue
                with closing(self._transport.stream(follower.watch_call())) as steps:
                    for step in steps:
                        if follower.is_new(step):
                            yield step
                    if not follower.has_ended:
                        raise batch_ended_early()
            except CallError as error:
                time.sleep(follower.next_delay_seconds(error))

    def get_batch(self, name: str) -> batch_pb2.Batch:
        """Reads one batch with its items."""
        response: batch_pb2.GetBatchResponse = self._call("GetBatch", batch_pb2.GetBatchRequest(name=name))
        names.check_batch(response.batch, name)
        return response.batch

    def get_export(self, name: str) -> export_pb2.Export:
        """Reads one export with its artifacts."""
        response: service_pb2.GetExportResponse = self._call(
            "GetExport", service_pb2.GetExportRequest(name=name)
        )
        names.check_export(response.export, name)
        return response.export

    def list_exports(self, filter: str = "", page_size: int = 0) -> Iterator[export_pb2.Export]:
        """Lists all exports that match the filter, newest first. Pages are fetched on demand."""
        request = service_pb2.ListExportsRequest(filter=filter, page_size=page_size)
        while True:
            page: service_pb2.ListExportsResponse = self._call("ListExports", request)
            for export in page.exports:
                names.check_export(export, None)
                yield export
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def list_events(
        self,
        *,
        state: automation_pb2.Event.State = automation_pb2.Event.STATE_UNSPECIFIED,
        type: automation_pb2.EventType = automation_pb2.EVENT_TYPE_UNSPECIFIED,
        export: str = "",
        target: str = "",
        page_size: int = 0,
    ) -> Iterator[automation_pb2.Event]:
        """Lists all events of the server that match, oldest first. Pages are fetched on demand.

        Without a `state`, these are the pending and dead ones.
        """
        request = automation_pb2.ListEventsRequest(
            state=state, type=type, export=export, target=target, page_size=page_size
        )
        while True:
            page: automation_pb2.ListEventsResponse = self._call("ListEvents", request)
            for event in page.events:
                names.check_listed_event(event)
                yield event
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    def retry_events(self, request: automation_pb2.RetryEventsRequest) -> automation_pb2.RetryEventsResponse:
        """Delivers dead letters again, or events of committed exports that were never written."""
        response: automation_pb2.RetryEventsResponse = self._call("RetryEvents", request)
        return response

    def list_targets(self) -> automation_pb2.ListTargetsResponse:
        """Lists the targets of notifications and their state."""
        response: automation_pb2.ListTargetsResponse = self._call(
            "ListTargets", automation_pb2.ListTargetsRequest()
        )
        return response

    def test_target(self, target: str) -> automation_pb2.TestTargetResponse:
        """Sends a test event to a target, and returns its answer.

        A target that does not accept the event is not an error, but `delivered` is False. As every unary
        call, it is repeated while the server is UNAVAILABLE, so the target can receive the event twice.
        """
        response: automation_pb2.TestTargetResponse = self._call(
            "TestTarget", automation_pb2.TestTargetRequest(target=target)
        )
        return response

    def check_storage(self) -> list[service_pb2.StorageCheck]:
        """Checks the server's stores. Returns one row per check, with a hint for each failure."""
        response: service_pb2.CheckStorageResponse = self._call(
            "CheckStorage", service_pb2.CheckStorageRequest()
        )
        return list(response.checks)

    def download_artifact(
        self, name: str, path: str, to: Union[str, os.PathLike[str]]
    ) -> export_pb2.Artifact:
        """Downloads one file of a bundle. `to` is created only after size and digest were verified."""
        request = service_pb2.DownloadArtifactRequest(name=name, path=path)
        artifact: export_pb2.Artifact = self._download("DownloadArtifact", request, Download(to, name, path))
        return artifact

    def download_bundle(self, name: str, to: Union[str, os.PathLike[str]]) -> Any:
        """Downloads a complete bundle to `to` as a ZIP file."""
        return self.receive_bundle(name, Download(to, name))

    def receive_bundle(self, name: str, download: Download) -> Any:
        """As `download_bundle`, with a `Download` that can limit the size."""
        return self._download("DownloadBundle", service_pb2.DownloadBundleRequest(name=name), download)

    def _download(self, method: str, request: Any, download: Download) -> Any:
        timeout_seconds = self._policy.progress_timeout_seconds
        call = StreamCall(method, request, timeout_seconds, timeout_seconds)
        with download, closing(self._transport.stream(call)) as messages:
            for message in messages:
                download.receive(message)
            return download.finish()

    def upload_file(self, path: Union[str, os.PathLike[str]], *, progress: bool = False) -> upload_pb2.Upload:
        """Uploads a file that is too large for a request. Resumes after a lost connection.

        `progress` shows a bar.
        """
        path = Path(path)
        with UploadBar(progress, path.name, path.stat().st_size) as bar:
            return self._upload(FileUpload(path, self._policy, self._limit, bar.show))

    def upload_document(self, document: review_pb2.Document, *, progress: bool = False) -> upload_pb2.Upload:
        """As `upload_file`, for the content of a document of a request."""
        path, data = Path(document.file_name), document.content
        with UploadBar(progress, path.name, len(data)) as bar:
            return self._upload(FileUpload(path, self._policy, self._limit, bar.show, data))

    def _upload(self, upload: FileUpload) -> upload_pb2.Upload:
        while True:
            try:
                upload.update(self._call(*upload.status_call()).upload)
                if not upload.is_complete:
                    self._transport.send(upload)
                return upload.result()
            except CallError as error:
                time.sleep(upload.next_delay_seconds(error))
