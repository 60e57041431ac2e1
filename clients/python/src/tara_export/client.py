"""The client: calls to a tara-export server, with what a caller would otherwise have to write."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Literal, Optional, Union

from tara.export.v1 import export_pb2, service_pb2, upload_pb2

from . import names
from .download import Download
from .errors import CallError
from .follow import Follower, ended_early
from .methods import DEADLINE_SECONDS, StreamCall
from .native import NativeTransport
from .patience import Patience
from .progress import ExportBar, UploadBar
from .upload import FileUpload
from .web import WebTransport


class Client:
    """A connection to a server, which is made again by itself when it was lost.

    `server` is `host:port` or a URL. `transport="grpc-web"` goes through where only HTTP/1.1 does.
    """

    def __init__(
        self,
        server: str,
        patience: Optional[Patience] = None,
        *,
        transport: Literal["grpc", "grpc-web"] = "grpc",
    ) -> None:
        if transport not in ("grpc", "grpc-web"):
            raise ValueError(f"transport is grpc or grpc-web, not {transport!r}")
        is_native = transport == "grpc"
        self._transport: Union[NativeTransport, WebTransport] = (
            NativeTransport(server) if is_native else WebTransport(server)
        )
        self._patience = patience or Patience()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the connection."""
        self._transport.close()

    def _call(self, name: str, request: Any, deadline_seconds: float = DEADLINE_SECONDS) -> Any:
        return self._transport.call(name, request, deadline_seconds)

    def export(
        self, request: service_pb2.StartExportRequest, *, progress: bool = False
    ) -> Iterator[export_pb2.ExportEvent]:
        """Exports a review and follows it to its end, `completed` or `failed`.

        Makes the request's id when it has none. Lost connections and restarted servers are survived, and no
        event of a run comes twice. The export goes on when nobody reads on. `progress` shows a bar.
        """
        return self._follow(Follower.of_request(request, self._patience), progress)

    def watch(self, name: str, *, progress: bool = False) -> Iterator[export_pb2.ExportEvent]:
        """Follows an export, exports/{export_id}, that was started before. `progress` shows a bar."""
        return self._follow(Follower(name, None, self._patience), progress)

    def _follow(self, follower: Follower, progress: bool) -> Iterator[export_pb2.ExportEvent]:
        with ExportBar(progress) as bar:
            while not follower.has_ended:
                try:
                    with closing(self._transport.stream(follower.next_call())) as events:
                        for event in events:
                            if not follower.is_new(event):
                                continue
                            bar.show(event)
                            yield event
                            if not follower.wants_more(event):
                                break
                        else:
                            raise ended_early()
                except CallError as error:
                    time.sleep(follower.seconds_to_wait(error))

    def get_export(self, name: str) -> export_pb2.Export:
        """Reads one export with its artifacts."""
        answer: service_pb2.GetExportResponse = self._call(
            "GetExport", service_pb2.GetExportRequest(name=name)
        )
        names.check_export(answer.export, name)
        return answer.export

    def list_exports(self, filter: str = "", page_size: int = 0) -> Iterator[export_pb2.Export]:
        """All exports that match the filter, newest first; pages are fetched as they are needed."""
        request = service_pb2.ListExportsRequest(filter=filter, page_size=page_size)
        while True:
            page: service_pb2.ListExportsResponse = self._call("ListExports", request)
            for export in page.exports:
                names.check_export(export, None)
                yield export
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
        artifact: export_pb2.Artifact = self._download("DownloadArtifact", request, Download(to, name, path))
        return artifact

    def download_bundle(self, name: str, to: Union[str, os.PathLike[str]]) -> Any:
        """Writes a whole bundle to `to` as a ZIP file."""
        return self.receive_bundle(name, Download(to, name))

    def receive_bundle(self, name: str, download: Download) -> Any:
        """Does so with limits of the caller's own."""
        return self._download("DownloadBundle", service_pb2.DownloadBundleRequest(name=name), download)

    def _download(self, method: str, request: Any, download: Download) -> Any:
        limit_seconds = self._patience.limit_seconds
        asked = StreamCall(method, request, limit_seconds, limit_seconds)
        with download, closing(self._transport.stream(asked)) as messages:
            for message in messages:
                download.take(message)
            return download.finish()

    def upload_file(self, path: Union[str, os.PathLike[str]], *, progress: bool = False) -> upload_pb2.Upload:
        """Sends a file that is too large for a request, and goes on where a lost connection left off.

        `progress` shows a bar.
        """
        with UploadBar(progress, Path(path)) as bar:
            upload = FileUpload(Path(path), self._patience, bar.show)
            while True:
                try:
                    upload.learn(self._call(*upload.look_up()).upload)
                    if not upload.is_complete:
                        self._transport.send(upload)
                    return upload.result()
                except CallError as error:
                    time.sleep(upload.seconds_to_wait(error))
