"""A world with a server, and managers that use it."""

from __future__ import annotations

import dataclasses
import os
import socket
from pathlib import Path
from typing import Any, Optional

import world
from sessions import sample_session

from tara_export import Client, Policy
from tara_export.dropin import S3ExportManager, Settings

_SHORT_POLICY = Policy(progress_timeout_seconds=0.1)


class World:
    """A server with in-memory S3; `clients/README.md` documents its commands."""

    def __init__(self, process: world.World, folder: Path) -> None:
        self._process = process
        self.folder = folder
        self.addresses = process.addresses
        self.server = self.addresses["server"]
        # Bound but not listening, so that no other process can use the port.
        self._closed = socket.socket()
        self._closed.bind(("127.0.0.1", 0))
        self.unreachable = f"127.0.0.1:{self._closed.getsockname()[1]}"

    def __enter__(self) -> World:
        return self

    def __exit__(self, *_: object) -> None:
        self._closed.close()

    def __call__(self, command: str) -> None:
        self._process.run(command)

    def settings(self, server: Optional[str] = None, **more: Any) -> Settings:
        return Settings(
            server=server or self.server,
            queue_dir=self.folder / "queue",
            download_dir=self.folder / "downloads",
            policy=_SHORT_POLICY if server == self.unreachable else Policy(progress_timeout_seconds=30),
            **more,
        )

    def manager(self, server: Optional[str] = None, **more: Any) -> S3ExportManager:
        """A manager that does not send in the background at start."""
        return S3ExportManager("tara-test", settings=self.settings(server, **more), send_at_start=False)

    def patient_manager(self) -> S3ExportManager:
        """A manager that waits until a server has restarted on a slow machine."""
        settings = dataclasses.replace(self.settings(), policy=Policy(progress_timeout_seconds=180))
        return S3ExportManager("tara-test", settings=settings, send_at_start=False)

    def queue_one(self, session: Any = None, after: Optional[Path] = None) -> dict[str, Any]:
        """Exports while the server is unreachable."""
        result = self.manager(self.unreachable).export_complete_review_to_s3(
            session or sample_session(), None, after
        )
        assert result["location"] == "queued", result
        return result

    def exports(self) -> list[str]:
        """The ids of all exports on the server."""
        with Client(self.server) as client:
            return [export.name.rpartition("/")[2] for export in client.list_exports()]

    def environment(self, server: Optional[str] = None) -> dict[str, str]:
        """The environment for programs that use the drop-in."""
        return {
            **os.environ,
            "PYTHONPATH": f"{world.ROOT}/clients/python/src:{Path(__file__).parent}",
            "TARA_EXPORT_SERVER": server or self.server,
            "TARA_EXPORT_QUEUE_DIR": str(self.folder / "queue"),
            "TARA_EXPORT_DOWNLOAD_DIR": str(self.folder / "downloads"),
        }
