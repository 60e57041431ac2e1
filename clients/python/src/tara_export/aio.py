"""The client for asyncio, over native gRPC: what the one of threads does, awaited."""

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
from .follow import Follower, ended_early
from .methods import DEADLINE_SECONDS, StreamCall
from .patience import Patience
from .progress import ExportBar, UploadBar
from .upload import FileUpload

__all__ = ["Client"]


class Client:
    """A connection to a server, `host:port` or a URL, which is made again by itself when it was lost.

    To be made where an event loop runs, and used in that one.
    """

    def __init__(self, server: str, patience: Optional[Patience] = None) -> None:
        self._channel = native.connect(grpc.aio, server)
        self._patience = patience or Patience()

    async def __aenter__(self) -> Client:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Ends the connection."""
        await self._channel.close()

    async def _call(self, name: str, request: Any, deadline_seconds: float = DEADLINE_SECONDS) -> Any:
        try:
            return await native.multi_callable(self._channel, name)(request, timeout=deadline_seconds)
        except grpc.RpcError as error:
            # The cause has the server's text as it came, which a traceback would print.
            raise CallError.from_rpc(error) from None

    async def _stream(self, asked: StreamCall) -> AsyncGenerator[Any, None]:
        stream = native.multi_callable(self._channel, asked.method)(asked.request)
        limit_seconds = asked.first_seconds
        try:
            while True:
                message = await asyncio.wait_for(stream.read(), limit_seconds)
                if message is grpc.aio.EOF:
                    return
                yield message
                limit_seconds = asked.silence_seconds
        except asyncio.TimeoutError as error:
            raise native.silence() from error
        except grpc.RpcError as error:
            # The cause has the server's text as it came, which a traceback would print.
            raise CallError.from_rpc(error) from None
        finally:
            stream.cancel()

    def export(
        self, request: service_pb2.StartExportRequest, *, progress: bool = False
    ) -> AsyncIterator[export_pb2.ExportEvent]:
        """Exports a review and follows it to its end, `completed` or `failed`.

        Makes the request's id when it has none. Lost connections and restarted servers are survived, and no
        event of a run comes twice. The export goes on when nobody reads on. `progress` shows a bar.
        """
        return self._follow(Follower.of_request(request, self._patience), progress)

    def watch(self, name: str, *, progress: bool = False) -> AsyncIterator[export_pb2.ExportEvent]:
        """Follows an export, exports/{export_id}, that was started before. `progress` shows a bar."""
        return self._follow(Follower(name, None, self._patience), progress)

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
                        if not follower.wants_more(event):
                            break
                    else:
                        raise ended_early()
                except CallError as error:
                    await asyncio.sleep(follower.seconds_to_wait(error))
                finally:
                    await events.aclose()

    async def get_export(self, name: str) -> export_pb2.Export:
        """Reads one export with its artifacts."""
        answer: service_pb2.GetExportResponse = await self._call(
            "GetExport", service_pb2.GetExportRequest(name=name)
        )
        names.check_export(answer.export, name)
        return answer.export

    async def list_exports(self, filter: str = "", page_size: int = 0) -> AsyncIterator[export_pb2.Export]:
        """All exports that match the filter, newest first; pages are fetched as they are needed."""
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
        """Writes one file of a bundle to `to`, which appears only when size and digest are right."""
        request = service_pb2.DownloadArtifactRequest(name=name, path=path)
        artifact: export_pb2.Artifact = await self._download(
            "DownloadArtifact", request, Download(to, name, path)
        )
        return artifact

    async def download_bundle(self, name: str, to: Union[str, os.PathLike[str]]) -> Any:
        """Writes a whole bundle to `to` as a ZIP file."""
        request = service_pb2.DownloadBundleRequest(name=name)
        return await self._download("DownloadBundle", request, Download(to, name))

    async def _download(self, method: str, request: Any, download: Download) -> Any:
        limit_seconds = self._patience.limit_seconds
        messages = self._stream(StreamCall(method, request, limit_seconds, limit_seconds))
        with download:
            try:
                async for message in messages:
                    await asyncio.to_thread(download.take, message)
            finally:
                await messages.aclose()
            return download.finish()

    async def upload_file(
        self, path: Union[str, os.PathLike[str]], *, progress: bool = False
    ) -> upload_pb2.Upload:
        """Sends a file that is too large for a request, and goes on where a lost connection left off.

        `progress` shows a bar.
        """
        with UploadBar(progress, Path(path)) as bar:
            upload = await asyncio.to_thread(FileUpload, Path(path), self._patience, bar.show)
            while True:
                try:
                    method, request = upload.look_up()
                    upload.learn((await self._call(method, request)).upload)
                    if not upload.is_complete:
                        answer = await self._call("UploadDocument", _pieces(upload), upload.limit_seconds)
                        upload.learn(answer.upload)
                    return upload.result()
                except CallError as error:
                    await asyncio.sleep(upload.seconds_to_wait(error))


async def _pieces(upload: FileUpload) -> AsyncIterator[upload_pb2.UploadDocumentRequest]:
    # The file is read beside the event loop, a piece at a time.
    pieces = upload.pieces()
    while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
        yield piece
