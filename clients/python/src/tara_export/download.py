"""A downloaded file that gets its name only after size and digest were verified."""

from __future__ import annotations

import contextlib
import hashlib
import os
import uuid
from pathlib import Path
from typing import Any, Optional, Union

from . import names
from .errors import Damaged, TaraExportError, printable


class Download:
    """A download in progress. Removes its temporary file unless it is finished."""

    def __init__(
        self,
        to: Union[str, os.PathLike[str]],
        name: str,
        path: Optional[str] = None,
        *,
        max_bytes: Optional[int] = None,
        folder: Optional[int] = None,
    ) -> None:
        """Downloads the file `path` of the export `name`, or its complete bundle.

        `to` is relative to `folder`, the descriptor of an open folder, if given.
        """
        self._target, self._name, self._path = Path(to), name, path
        self._max_bytes, self._folder = max_bytes, folder
        self._metadata_field = "archive" if path is None else "artifact"
        self._partial = self._target.with_name(f".{self._target.name}.{uuid.uuid4()}.part")
        self._metadata: Any = None
        self._digest, self._size_bytes = hashlib.sha256(), 0

    def __enter__(self) -> Download:
        # O_EXCL never opens an existing file or link.
        flags = (
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        )
        self._file = os.fdopen(os.open(self._partial, flags, 0o666, dir_fd=self._folder), "wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._partial, dir_fd=self._folder)

    def receive(self, message: Any) -> None:
        """Processes the next message."""
        if message.WhichOneof("part") == self._metadata_field:
            self._set_metadata(getattr(message, self._metadata_field))
            return
        self._size_bytes += len(message.data)
        if self._max_bytes is not None and self._size_bytes > self._max_bytes:
            raise Damaged(f"{self._subject}: received more than {self._max_bytes} bytes")
        self._digest.update(message.data)
        self._file.write(message.data)

    def _set_metadata(self, metadata: Any) -> None:
        if self._metadata is not None:
            raise TaraExportError(f"{self._subject}: the server sent the metadata twice")
        if self._path is None:
            names.check_archive(metadata, self._name)
        else:
            names.check_artifact(metadata, self._name, self._path)
            self._max_bytes = metadata.size_bytes
        self._metadata = metadata

    @property
    def _subject(self) -> str:
        return printable(f"{self._name}: {self._path or 'the bundle'}")

    def finish(self) -> Any:
        """Verifies the download, renames the file to its target, and returns the server's metadata."""
        metadata = self._metadata
        if metadata is None:
            raise TaraExportError("download does not start with its metadata")
        received = (self._size_bytes, self._digest.hexdigest())
        if self._metadata_field == "artifact" and (metadata.size_bytes, metadata.sha256) != received:
            raise Damaged(f"{self._subject}: received {received[0]} bytes with SHA-256 {received[1]}")
        self._file.close()
        # Replaces a link at the target and does not follow it.
        os.replace(self._partial, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        return metadata
