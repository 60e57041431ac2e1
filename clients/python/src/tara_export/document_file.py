"""A document's file. Only plain files have a content that can be read completely, and again."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO, Optional

#: Files up to this size are read at once: the system may report another size than the file has, such as 0 for
#: files of /proc.
SMALL_BYTES = 1024 * 1024
#: The most that a file may have that reports at most SMALL_BYTES.
_MAX_SMALL_BYTES = 64 * 1024 * 1024
# The opening of a pipe must not wait for a writer.
_FLAGS = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)


def violation(path: Path) -> Optional[str]:
    """Returns why this is not a plain file or a link to one; None if it is one."""
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return "a link that leads nowhere" if path.is_symlink() else "file not found"
    except OSError as error:
        return error.strerror or str(error)
    return _kind_violation(mode)


def _kind_violation(mode: int) -> Optional[str]:
    if stat.S_ISREG(mode):
        return None
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}
    kind = kinds.get(stat.S_IFMT(mode), "a device")
    return f"{kind}, not a plain file (copy its content to a file first)"


def open_document(path: Path) -> BinaryIO:
    """Opens a plain file, or a link to one. Raises OSError if it is something else."""
    # Checked before: the opening of a device can have an effect.
    _check(path, os.stat(path).st_mode)
    descriptor = os.open(path, _FLAGS)
    try:
        _check(path, os.fstat(descriptor).st_mode)
        return os.fdopen(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def _check(path: Path, mode: int) -> None:
    reason = _kind_violation(mode)
    if reason:
        raise OSError(errno.EINVAL, f"it is {reason}", str(path))


def read_document(path: Path) -> bytes:
    """Reads a small document completely. Raises OSError if it changed its size meanwhile."""
    with open_document(path) as file:
        opened_bytes = os.fstat(file.fileno()).st_size
        data = file.read(max(_MAX_SMALL_BYTES, opened_bytes) + 1)
        check_size(path, file, opened_bytes)
    if len(data) > max(_MAX_SMALL_BYTES, opened_bytes):
        raise OSError(errno.EFBIG, f"it has more than {_MAX_SMALL_BYTES} bytes", str(path))
    return data


def check_size(path: Path, file: BinaryIO, opened_bytes: int) -> None:
    """Raises OSError if the file reports another size than when it was opened."""
    size_bytes = os.fstat(file.fileno()).st_size
    if size_bytes != opened_bytes:
        raise OSError(
            errno.EIO,
            f"it changed from {opened_bytes} to {size_bytes} bytes while it was read; "
            "send it again when it is complete",
            str(path),
        )


def is_small(path: Path) -> bool:
    """Whether the file reports a size of at most SMALL_BYTES."""
    return os.stat(path).st_size <= SMALL_BYTES
