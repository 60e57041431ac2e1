"""Files that survive a power cut, and locks between processes. Linux and macOS."""

from __future__ import annotations

import fcntl
import hashlib
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Optional

_PIECE_BYTES = 1024 * 1024


def write_durably(path: Path, data: bytes) -> None:
    """Writes a new file. Its folder has to be synced, too, before the file can be relied on."""
    with _create(path) as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())


def copy_durably(source: Path, target: Path, max_bytes: int) -> tuple[str, int]:
    """Copies a file, as `write_durably`, and returns the copy's SHA-256 and size in bytes.

    Raises FileTooLarge beyond `max_bytes`.
    """
    digest, size_bytes = hashlib.sha256(), 0
    with source.open("rb") as read, _create(target) as written:
        while piece := read.read(_PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
            if size_bytes > max_bytes:
                raise FileTooLarge(f"{source} has more than the {max_bytes} bytes there is room for")
            written.write(piece)
        written.flush()
        os.fsync(written.fileno())
    return digest.hexdigest(), size_bytes


class FileTooLarge(OSError):
    """A file is larger than what there is room for."""


def _create(path: Path) -> BinaryIO:
    # A review is nobody else's business.
    return os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600), "wb")


def sync_folder(path: Path) -> None:
    """Makes the names in a folder durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_folder(path: Path) -> None:
    """Makes a folder that only its owner may look into, and those above it, durably."""
    missing = []
    while not path.is_dir():
        missing.append(path)
        path = path.parent
    for folder in reversed(missing):
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


class FileLock:
    """A lock that one process holds, and that goes with it, however it ends.

    The file is made if it is not there and never removed alone: who removed it while another waits for it
    would give the lock to both.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._descriptor: Optional[int] = None

    def try_acquire(self, create: bool = True) -> bool:
        """Takes the lock, unless it is held. Whoever holds a lock can't take it again."""
        flags = os.O_RDWR | os.O_CLOEXEC | (os.O_CREAT if create else 0)
        descriptor = os.open(self.path, flags, stat.S_IRUSR | stat.S_IWUSR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # Its folder may have been moved or removed in between: then the lock is another's.
            opened, there = os.fstat(descriptor), os.stat(self.path)
            if (opened.st_dev, opened.st_ino) != (there.st_dev, there.st_ino):
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
        """Gives it back."""
        if self._descriptor is not None:
            # A process that was forked meanwhile has the same open file: closing it here would not do.
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
