"""A file that appears under its name only when all of it came, and is what the server says."""

from __future__ import annotations

import hashlib
import os
import uuid
from pathlib import Path
from typing import Any, Literal, Union

from .errors import Damaged, TaraExportError


class Download:
    """The file while it comes. Leaves nothing behind unless it is finished."""

    def __init__(self, to: Union[str, os.PathLike[str]], head: Literal["artifact", "archive"]) -> None:
        self._target, self._head = Path(to), head
        self._partial = self._target.with_name(f".{self._target.name}.{uuid.uuid4()}.part")
        self._described: Any = None
        self._digest, self._size_bytes = hashlib.sha256(), 0

    def __enter__(self) -> Download:
        self._file = self._partial.open("xb")
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._partial.unlink(missing_ok=True)

    def take(self, message: Any) -> None:
        """The next message came."""
        if message.WhichOneof("part") == self._head:
            self._described = getattr(message, self._head)
            return
        self._digest.update(message.data)
        self._size_bytes += len(message.data)
        self._file.write(message.data)

    def finish(self) -> Any:
        """All came. Gives the file its name, and returns the server's description of it."""
        described = self._described
        if described is None:
            raise TaraExportError("a download that doesn't begin with its description")
        came = (self._size_bytes, self._digest.hexdigest())
        if self._head == "artifact" and (described.size_bytes, described.sha256) != came:
            raise Damaged(f"{described.path}: {came[0]} bytes came with SHA-256 {came[1]}")
        self._file.close()
        self._partial.replace(self._target)
        return described
