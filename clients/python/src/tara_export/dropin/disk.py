"""Durable files, and locks between processes. Linux and macOS."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Optional

from ..document_file import check_size, open_document

_PIECE_BYTES = 1024 * 1024


def write_durably(path: Path, data: bytes) -> None:
    """Writes and syncs a new file. It is durable only after its folder is synced too."""
    with _create(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def copy_durably(source: Path, target: Path, max_bytes: int) -> tuple[str, int]:
    """Copies a file like `write_durably`, and returns the copy's SHA-256 and size in bytes.

    Raises FileTooLarge if the file is larger than `max_bytes`, and OSError if it is not a plain file or its
    size changed meanwhile.
    """
    digest, size_bytes = hashlib.sha256(), 0
    with open_document(source) as read, _create(target) as written:
        opened_bytes = os.fstat(read.fileno()).st_size
        while piece := read.read(_PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
            if size_bytes > max_bytes:
                raise FileTooLarge(f"{source} is larger than the remaining {max_bytes} bytes")
            written.write(piece)
        check_size(source, read, opened_bytes)
        written.flush()
        os.fsync(written.fileno())
    return digest.hexdigest(), size_bytes


class FileTooLarge(OSError):
    """A file is larger than the remaining capacity."""


def _create(path: Path) -> BinaryIO:
    # Reviews are confidential.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def sync_folder(path: Path) -> None:
    """Makes the entries of a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Creates a folder that only its owner can read, and its parents, durably."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


class FileLock:
    """A lock of one process, which the system releases if the process ends.

    Creates the file if it is missing, and never removes only the file: if it were removed while another
    process waits for the lock, both would get it.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: Optional[int] = None

    def try_acquire(self, create: bool = True) -> bool:
        """Takes the lock and returns True, unless it is taken. The lock is not reentrant."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        descriptor = os.open(self.path, flags, stat.S_IRUSR | stat.S_IWUSR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # If its folder was moved or removed in the meantime, this is the lock of another path.
            opened, current = os.fstat(descriptor), os.stat(self.path)
            if (opened.st_dev, opened.st_ino) != (current.st_dev, current.st_ino):
                raise FileNotFoundError(self.path)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def release(self) -> None:
        """Releases the lock."""
        if self._descriptor is not None:
            # A forked process has the same open file, so closing the descriptor would not release the lock.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)
            self._descriptor = None

    def __enter__(self) -> FileLock:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.release()
