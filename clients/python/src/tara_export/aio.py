"""The client for asyncio, over native gRPC."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator
from pathlib import Path
from typing import Any, Optional, Union

import grpc
import grpc.aio

from tara.export.v1 import export_pb2, service_pb2, upload_pb2

from . import names, native
from .download import Download
from .errors import CallError
from .follow import Follower, stream_ended_early
from .methods import DEADLINE_SECONDS, StreamCall
from .progress import ExportBar, UploadBar
from .retry import Policy
from .upload import FileUpload

__all__ = ["Client"]


class Client:
    """A connection to a server, `host:port` or a URL. Reconnects automatically.

    Create and use it in one running event loop.
    """

    def __init__(self, server: str, policy: Optional[Policy] = None) -> None:
        self._channel = native.connect(grpc.aio, server)
        self._policy = policy or Policy()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Closes the connection."""
        await self._channel.close()

    async def _call(self, name: str, request: Any, deadline_seconds: float = DEADLINE_SECONDS) -> Any:
        try:
            return await native.multi_callable(self._channel, name)(request, timeout=deadline_seconds)
        except grpc.RpcError as error:
            # The cause contains the server's unescaped text, which a traceback would print.
            raise CallError.from_rpc(error) from None

    async def _stream(self, call: StreamCall) -> AsyncGenerator[Any, None]:
        stream = native.multi_callable(self._channel, call.method)(call.request)
        timeout_seconds = call.first_timeout_seconds
        try:
            while True:
                message = await asyncio.wait_for(stream.read(), timeout_seconds)
                if message is grpc.aio.EOF:
                    return
                yield message
                timeout_seconds = call.idle_timeout_seconds
        except asyncio.TimeoutError as error:
            raise native.idle_timeout_error() from error
        except grpc.RpcError as error:
            # The cause contains the server's unescaped text, which a traceback would print.
            raise CallError.from_rpc(error) from None
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
        return self._follow(Follower.of_request(request, self._policy), progress)

    def watch(self, name: str, *, progress: bool = False) -> AsyncIterator[export_pb2.ExportEvent]:
        """Follows an export, exports/{export_id}, that was started earlier. `progress` shows a bar."""
        return self._follow(Follower(name, None, self._policy), progress)

    async def _follow(self, follower: Follower, progress: bool) -> AsyncIterator[export_pb2.ExportEvent]:
        with ExportBar(progress) as bar:
            while not follower.has_ended:
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
                    await asyncio.sleep(follower.next_delay_seconds(error))
                finally:
                    await events.aclose()

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
        with UploadBar(progress, Path(path)) as bar:
            upload = await asyncio.to_thread(FileUpload, Path(path), self._policy, bar.show)
            while True:
                try:
                    method, request = upload.status_call()
                    upload.update((await self._call(method, request)).upload)
                    if not upload.is_complete:
                        response = await self._call("UploadDocument", _pieces(upload), upload.timeout_seconds)
                        upload.update(response.upload)
                    return upload.result()
                except CallError as error:
                    await asyncio.sleep(upload.next_delay_seconds(error))


async def _pieces(upload: FileUpload) -> AsyncIterator[upload_pb2.UploadDocumentRequest]:
    # Reads the file outside of the event loop, one piece at a time.
    pieces = upload.pieces()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
