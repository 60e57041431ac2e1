"""A file that appears under its name only when all of it came, and is what the server says."""

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
    """The file while it comes. Leaves nothing behind unless it is finished."""

    def __init__(
        self,
        to: Union[str, os.PathLike[str]],
        name: str,
        path: Optional[str] = None,
        *,
        max_bytes: Optional[int] = None,
        folder: Optional[int] = None,
    ) -> None:
        """`path` of the export `name`, or its whole bundle.

        `folder` is the descriptor of an open folder, which `to` is relative to.
        """
        self._target, self._name, self._path = Path(to), name, path
        self._max_bytes, self._folder = max_bytes, folder
        self._head = "archive" if path is None else "artifact"
        self._partial = self._target.with_name(f".{self._target.name}.{uuid.uuid4()}.part")
        self._described: Any = None
        self._digest, self._size_bytes = hashlib.sha256(), 0

    def __enter__(self) -> Download:
        # Never through a link: the name is new.
        flags = (
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
        )
        self._file = os.fdopen(os.open(self._partial, flags, 0o666, dir_fd=self._folder), "wb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._partial, dir_fd=self._folder)

    def take(self, message: Any) -> None:
        """The next message came."""
        if message.WhichOneof("part") == self._head:
            self._describe(getattr(message, self._head))
            return
        self._size_bytes += len(message.data)
        if self._max_bytes is not None and self._size_bytes > self._max_bytes:
            raise Damaged(f"{self._what}: more than {self._max_bytes} bytes came")
        self._digest.update(message.data)
        self._file.write(message.data)

    def _describe(self, described: Any) -> None:
        if self._described is not None:
            raise TaraExportError(f"{self._what}: the server described the download twice")
        if self._path is None:
            names.check_archive(described, self._name)
        else:
            names.check_artifact(described, self._name, self._path)
            self._max_bytes = described.size_bytes
        self._described = described

    @property
    def _what(self) -> str:
        return printable(f"{self._name}: {self._path or 'the bundle'}")

    def finish(self) -> Any:
        """All came. Gives the file its name, and returns the server's description of it."""
        described = self._described
        if described is None:
            raise TaraExportError("a download that doesn't begin with its description")
        came = (self._size_bytes, self._digest.hexdigest())
        if self._head == "artifact" and (described.size_bytes, described.sha256) != came:
            raise Damaged(f"{self._what}: {came[0]} bytes came with SHA-256 {came[1]}")
        self._file.close()
        # A link of that name is replaced, and not followed.
        os.replace(self._partial, self._target, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        return described
