"""gRPC-Web frames: a header of five bytes, then a message or the trailers. No IO."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Optional

from . import causes

_HEADER = struct.Struct(">BI")
_COMPRESSED, _TRAILERS = 0x01, 0x80


class Frames:
    """Parses the frames of a response incrementally."""

    def __init__(self) -> None:
        #: The trailers with lower-case names, once the response has ended.
        self.trailers: Optional[dict[str, str]] = None
        self._buffer = bytearray()

    @staticmethod
    def framed(message: bytes) -> bytes:
        """Encodes a message as a frame."""
        return _HEADER.pack(0, len(message)) + message

    def feed(self, piece: bytes) -> Iterator[bytes]:
        """Adds received bytes, and yields the messages that are complete."""
        self._buffer += piece
        while len(self._buffer) >= _HEADER.size:
            flags, size_bytes = _HEADER.unpack_from(self._buffer)
            if size_bytes > causes.MAX_MESSAGE_BYTES:
                raise causes.message_too_large()
            if flags & _COMPRESSED:
                raise causes.invalid_response(
                    "the response has a compression that was not requested, so this client cannot read it"
                )
            if len(self._buffer) < _HEADER.size + size_bytes:
                return
            body = bytes(self._buffer[_HEADER.size : _HEADER.size + size_bytes])
            del self._buffer[: _HEADER.size + size_bytes]
            if flags & _TRAILERS:
                self.trailers = _parse_trailers(body)
            else:
                yield body


def _parse_trailers(body: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in body.decode("latin-1").splitlines())
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}
