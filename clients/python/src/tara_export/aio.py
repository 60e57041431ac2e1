"""The client for asyncio, over native gRPC."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Iterable
from pathlib import Path
from typing import Any, Callable, Optional, Union

import grpc
import grpc.aio

from tara.export.v1 import (
    automation_pb2,
    batch_pb2,
    export_pb2,
    review_pb2,
    service_pb2,
    upload_pb2,
)

from . import causes, names, native
from .address import parse_address
from .batch import BatchFollower, batch_ended_early
from .download import Download
from .errors import CallError
from .follow import Follower, set_uploaded, stream_ended_early
from .methods import DEADLINE_SECONDS, RETRYABLE_METHODS, StreamCall, decode, encode
from .progress import ExportBar, UploadBar
from .proxy_limit import ProxyLimit
from .retry import Policy, RetryTimer
from .tls import PathLike, TlsFiles
from .tokens import AsyncToken, Authorization, Metadata
from .upload import FileUpload, chunk_timeout_seconds

__all__ = ["Client"]


class Client:
    """A connection to a server. Reconnects automatically.

    Create and use it in one running event loop. The arguments are those of `tara_export.Client`. The `token`
    can also be a coroutine function; a function that is none runs in another thread, because it may wait.
    """

    def __init__(
        self,
        server: str,
        policy: Optional[Policy] = None,
        *,
        token: Optional[AsyncToken] = None,
        tls: Optional[bool] = None,
        tls_ca_file: Optional[PathLike] = None,
        tls_client_cert_file: Optional[PathLike] = None,
        tls_client_key_file: Optional[PathLike] = None,
        allow_insecure_token: bool = False,
    ) -> None:
        files = TlsFiles(tls_ca_file, tls_client_cert_file, tls_client_key_file)
        address = parse_address(server, tls=tls, has_certificates=bool(files))
        self._authorization = Authorization(token, address, allow_insecure_token)
        self._explainer = causes.Explainer(address, files)
        self._channel = native.connect(grpc.aio, address, files)
        self._policy, self._limit = policy or Policy(), ProxyLimit(is_likely=False)

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def _call(self, name: str, request: Any, deadline_seconds: float = DEADLINE_SECONDS) -> Any:
        data = encode(name, request)
        retry_timer = RetryTimer(self._policy, name)
        while True:
            try:
                return await self._authorized(
                    lambda metadata: self._unary(name, data, deadline_seconds, metadata)
                )
            except CallError as error:
                if not error.is_ambiguous or name not in RETRYABLE_METHODS:
                    raise
                await asyncio.sleep(retry_timer.next_delay_seconds(error))

    async def _authorized(self, call: Callable[[Metadata], Awaitable[Any]]) -> Any:
        metadata = await self._authorization.metadata_async()
        try:
            return await call(metadata)
        except CallError as error:
            if not self._authorization.may_refresh(error):
                raise
            refreshed = await self._authorization.metadata_async()
            if refreshed == metadata:
                raise
        return await call(refreshed)

    async def _unary(self, name: str, request: Any, deadline_seconds: float, metadata: Metadata) -> Any:
        try:
            response = await native.multi_callable(self._channel, name)(
                request, timeout=deadline_seconds, metadata=metadata
            )
        except grpc.RpcError as error:
            # The cause contains the server's unescaped text, which a traceback would print.
            raise await self._explained(error) from None
        return decode(name, response)

    async def _explained(self, error: grpc.RpcError) -> CallError:
        # May connect to the server.
        return await asyncio.to_thread(self._explainer.explained, CallError.from_rpc(error))

    async def _stream(self, call: StreamCall) -> AsyncGenerator[Any, None]:
        data = encode(call.method, call.request)
        metadata = await self._authorization.metadata_async()
        has_response = False
        for is_last in (False, True):
            messages = self._stream_once(call, data, metadata)
            try:
                async for message in messages:
                    has_response = True
                    yield message
                return
            except CallError as error:
                if is_last or has_response or not self._authorization.may_refresh(error):
                    raise
                refreshed = await self._authorization.metadata_async()
                if refreshed == metadata:
                    raise
                metadata = refreshed
            finally:
                await messages.aclose()

    async def _stream_once(
        self, call: StreamCall, data: bytes, metadata: Metadata
    ) -> AsyncGenerator[Any, None]:
        stream = native.multi_callable(self._channel, call.method)(data, metadata=metadata)
        timeout_seconds = call.first_timeout_seconds
        try:
            while True:
                message = await asyncio.wait_for(stream.read(), timeout_seconds)
                if message is grpc.aio.EOF:
                    return
                yield decode(call.method, message)
                timeout_seconds = call.idle_timeout_seconds
        except asyncio.TimeoutError as error:
            raise native.idle_timeout_error() from error
        except grpc.RpcError as error:
            # The cause contains the server's unescaped text, which a traceback would print.
            raise await self._explained(error) from None
        finally:
            stream.cancel()

    def export(
        self, request: service_pb2.StartExportRequest, *, progress: bool = False
    ) -> AsyncIterator[export_pb2.ExportEvent]:
        """Exports a review and follows the export until it ends with `completed` or `failed`.

        Generates the request id if it is empty. Reconnects after lost connections and server restarts, and
        yields no event of a run twice. The export continues if the caller stops reading. `progress` shows a
        bar.
        """
        return self._follow(Follower.of_request(request, self._policy, self._limit), progress)

    def watch(self, name: str, *, progress: bool = False) -> AsyncIterator[export_pb2.ExportEvent]:
        """Follows an export, exports/{export_id}, that was started earlier. `progress` shows a bar."""
        return self._follow(Follower(name, None, self._policy, self._limit), progress)

    async def _follow(self, follower: Follower, progress: bool) -> AsyncIterator[export_pb2.ExportEvent]:
        with ExportBar(progress) as bar:
            while not follower.has_ended:
                for document in follower.documents_to_upload():
                    set_uploaded(document, await self._upload_document(document, progress))
                events = self._stream(follower.next_call())
                try:
                    async for event in events:
                        if not follower.is_new(event):
                            continue
                        bar.show(event)
                        yield event
                        if not follower.should_continue(event):
                            break
                    else:
                        raise stream_ended_early()
                except CallError as error:
                    await self._check_review(follower, error)
                    await asyncio.sleep(follower.next_delay_seconds(error))
                finally:
                    await events.aclose()

    async def _check_review(self, follower: Follower, error: CallError) -> None:
        """Raises CallError if the review alone is too large for a proxy, which may be the cause of `error`.

        grpc.aio loses the HTTP status of a response before the end of a request to a streaming method, but
        not to a unary one. PreviewExport stores nothing.
        """
        request = follower.unclear_request(error)
        if request is None:
            return
        preview = service_pb2.PreviewExportRequest(review=request.review)
        try:
            data = encode("PreviewExport", preview)
            await self._authorized(
                lambda metadata: self._unary("PreviewExport", data, DEADLINE_SECONDS, metadata)
            )
        except CallError as refusal:
            if refusal.is_too_large_for_proxy:
                raise refusal from None

    def export_batch(
        self, requests: Iterable[service_pb2.StartExportRequest], batch_id: str = ""
    ) -> AsyncIterator[batch_pb2.WatchBatchResponse]:
        """Exports many reviews, at most 500, and follows them until all have ended.

        Generates the batch id if it is empty. Yields the result of each item once, when it ends, and at last
        `ended`. Sends the same batch again if the connection was lost or the server did not accept every
        item. The exports continue if the caller stops reading.
        """
        return self._follow_batch(BatchFollower.of_requests(requests, batch_id, self._policy))

    def watch_batch(self, name: str) -> AsyncIterator[batch_pb2.WatchBatchResponse]:
        """Follows a batch, batches/{batch_id}, that was started earlier."""
        return self._follow_batch(BatchFollower(name, None, self._policy))

    async def _follow_batch(self, follower: BatchFollower) -> AsyncIterator[batch_pb2.WatchBatchResponse]:
        while not follower.has_ended:
            try:
                if follower.is_start:
                    follower.started(await self._call(*follower.start_call()))
                    continue
                steps = self._stream(follower.watch_call())
                try:
                    async for step in steps:
                        if follower.is_new(step):
                            yield step
                    if not follower.has_ended:
                        raise batch_ended_early()
                finally:
                    await steps.aclose()
            except CallError as error:
                await asyncio.sleep(follower.next_delay_seconds(error))

    async def get_batch(self, name: str) -> batch_pb2.Batch:
        """Reads one batch with its items."""
        response: batch_pb2.GetBatchResponse = await self._call(
            "GetBatch", batch_pb2.GetBatchRequest(name=name)
        )
        names.check_batch(response.batch, name)
        return response.batch

    async def get_export(self, name: str) -> export_pb2.Export:
        """Reads one export with its artifacts."""
        response: service_pb2.GetExportResponse = await self._call(
            "GetExport", service_pb2.GetExportRequest(name=name)
        )
        names.check_export(response.export, name)
        return response.export

    async def list_exports(self, filter: str = "", page_size: int = 0) -> AsyncIterator[export_pb2.Export]:
        """Lists all exports that match the filter, newest first. Pages are fetched on demand."""
        request = service_pb2.ListExportsRequest(filter=filter, page_size=page_size)
        while True:
            page: service_pb2.ListExportsResponse = await self._call("ListExports", request)
            for export in page.exports:
                names.check_export(export, None)
                yield export
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def list_events(
        self,
        *,
        state: automation_pb2.Event.State = automation_pb2.Event.STATE_UNSPECIFIED,
        type: automation_pb2.EventType = automation_pb2.EVENT_TYPE_UNSPECIFIED,
        export: str = "",
        target: str = "",
        page_size: int = 0,
    ) -> AsyncIterator[automation_pb2.Event]:
        """Lists all events of the server that match, oldest first. Pages are fetched on demand.

        Without a `state`, these are the pending and dead ones.
        """
        request = automation_pb2.ListEventsRequest(
            state=state, type=type, export=export, target=target, page_size=page_size
        )
        while True:
            page: automation_pb2.ListEventsResponse = await self._call("ListEvents", request)
            for event in page.events:
                names.check_listed_event(event)
                yield event
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def retry_events(
        self, request: automation_pb2.RetryEventsRequest
    ) -> automation_pb2.RetryEventsResponse:
        """Delivers dead letters again, or events of committed exports that were never written."""
        response: automation_pb2.RetryEventsResponse = await self._call("RetryEvents", request)
        return response

    async def list_targets(self) -> automation_pb2.ListTargetsResponse:
        """Lists the targets of notifications and their state."""
        response: automation_pb2.ListTargetsResponse = await self._call(
            "ListTargets", automation_pb2.ListTargetsRequest()
        )
        return response

    async def test_target(self, target: str) -> automation_pb2.TestTargetResponse:
        """Sends a test event to a target, and returns its answer.

        A target that does not accept the event is not an error, but `delivered` is False. As every unary
        call, it is repeated while the server is UNAVAILABLE, so the target can receive the event twice.
        """
        response: automation_pb2.TestTargetResponse = await self._call(
            "TestTarget", automation_pb2.TestTargetRequest(target=target)
        )
        return response

    async def download_artifact(
        self, name: str, path: str, to: Union[str, os.PathLike[str]]
    ) -> export_pb2.Artifact:
        """Downloads one file of a bundle. `to` is created only after size and digest were verified."""
        request = service_pb2.DownloadArtifactRequest(name=name, path=path)
        artifact: export_pb2.Artifact = await self._download(
            "DownloadArtifact", request, Download(to, name, path)
        )
        return artifact

    async def download_bundle(self, name: str, to: Union[str, os.PathLike[str]]) -> Any:
        """Downloads a complete bundle to `to` as a ZIP file."""
        request = service_pb2.DownloadBundleRequest(name=name)
        return await self._download("DownloadBundle", request, Download(to, name))

    async def _download(self, method: str, request: Any, download: Download) -> Any:
        timeout_seconds = self._policy.progress_timeout_seconds
        messages = self._stream(StreamCall(method, request, timeout_seconds, timeout_seconds))
        with download:
            try:
                async for message in messages:
                    await asyncio.to_thread(download.receive, message)
            finally:
                await messages.aclose()
            return download.finish()

    async def upload_file(
        self, path: Union[str, os.PathLike[str]], *, progress: bool = False
    ) -> upload_pb2.Upload:
        """Uploads a file that is too large for a request. Resumes after a lost connection.

        `progress` shows a bar.
        """
        path = Path(path)
        with UploadBar(progress, path.name, path.stat().st_size) as bar:
            return await self._upload(
                await asyncio.to_thread(FileUpload, path, self._policy, self._limit, bar.show)
            )

    async def _upload_document(self, document: review_pb2.Document, progress: bool) -> upload_pb2.Upload:
        path, data = Path(document.file_name), document.content
        with UploadBar(progress, path.name, len(data)) as bar:
            return await self._upload(
                await asyncio.to_thread(FileUpload, path, self._policy, self._limit, bar.show, data)
            )

    async def _upload(self, upload: FileUpload) -> upload_pb2.Upload:
        while True:
            try:
                upload.update((await self._call(*upload.status_call())).upload)
                if not upload.is_complete:
                    await self._send(upload)
                return upload.result()
            except CallError as error:
                await asyncio.sleep(upload.next_delay_seconds(error))

    async def _send(self, upload: FileUpload) -> None:
        """Sends the remaining bytes in one stream, or in chunks if a proxy limits the size of requests."""
        if upload.sends_chunks:
            await self._send_chunks(upload)
            return

        async def send(metadata: Metadata) -> Any:
            sent = native.Sent("UploadDocument", upload.pieces())
            try:
                return await self._unary("UploadDocument", _pieces(sent), upload.timeout_seconds, metadata)
            except (CallError, asyncio.CancelledError):
                # grpc.aio cancels a call whose source of requests fails.
                if sent.error is not None:
                    raise sent.error from None
                raise

        upload.update((await self._authorized(send)).upload)

    async def _send_chunks(self, upload: FileUpload) -> None:
        while not upload.is_complete:
            chunk = await asyncio.to_thread(upload.chunk)
            response = await self._call("UploadChunk", chunk, chunk_timeout_seconds(chunk))
            upload.update_after_chunk(chunk, response.upload)


async def _pieces(sent: native.Sent) -> AsyncIterator[bytes]:
    # Reads the file outside of the event loop, one piece at a time.
    while (piece := await asyncio.to_thread(next, sent, None)) is not None:
        yield piece
