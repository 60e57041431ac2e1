"""A world with a server, and managers in front of it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import Any, Optional

import world
from sessions import sample_session

from tara_export import Client, Patience
from tara_export.dropin import S3ExportManager, Settings

#: Nobody comes: it is given up at once.
_IMPATIENT = Patience(limit_seconds=0.1)


class World:
    """A server of its own with S3 in memory; `clients/README.md` has its commands."""

    def __init__(self, process: world.World, folder: Path) -> None:
        self._process = process
        self.folder = folder
        self.addresses = process.addresses
        self.server = self.addresses["server"]
        # Bound, so that nobody else gets it, and nobody listens.
        self._closed = socket.socket()
        self._closed.bind(("127.0.0.1", 0))
        self.nowhere = f"127.0.0.1:{self._closed.getsockname()[1]}"

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.close()

    def __call__(self, command: str) -> None:
        self._process.tell(command)

    def settings(self, server: Optional[str] = None, **more: Any) -> Settings:
        return Settings(
            server=server or self.server,
            queue_dir=self.folder / "queue",
            download_dir=self.folder / "downloads",
            patience=_IMPATIENT if server == self.nowhere else Patience(limit_seconds=30),
            **more,
        )

    def manager(self, server: Optional[str] = None, **more: Any) -> S3ExportManager:
        """A manager that sends nothing by itself."""
        return S3ExportManager("tara-test", settings=self.settings(server, **more), send_at_start=False)

    def queue_one(self, session: Any = None, after: Optional[Path] = None) -> dict[str, Any]:
        """Exports while nobody can be reached."""
        answer = self.manager(self.nowhere).export_complete_review_to_s3(
            session or sample_session(), None, after
        )
        assert answer["location"] == "queued", answer
        return answer

    def exports(self) -> list[str]:
        """The ids of all exports of the server."""
        with Client(self.server) as client:
            return [export.name.rpartition("/")[2] for export in client.list_exports()]

    def environment(self, server: Optional[str] = None) -> dict[str, str]:
        """For programs that use the drop-in."""
        return {
            **os.environ,
            "PYTHONPATH": f"{world.ROOT}/clients/python/src:{Path(__file__).parent}",
            "TARA_EXPORT_SERVER": server or self.server,
            "TARA_EXPORT_QUEUE_DIR": str(self.folder / "queue"),
            "TARA_EXPORT_DOWNLOAD_DIR": str(self.folder / "downloads"),
        }
