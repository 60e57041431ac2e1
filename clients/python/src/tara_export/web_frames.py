"""The frames of gRPC-Web: five bytes of head, then a message or the trailers. No IO."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Optional

import grpc

from . import methods
from .errors import CallError

_HEAD = struct.Struct(">BI")
_COMPRESSED, _TRAILERS = 0x01, 0x80


class Frames:
    """What of an answer came so far."""

    def __init__(self) -> None:
        #: The trailers, with lower-case names, once they came: the end of the answer.
        self.trailers: Optional[dict[str, str]] = None
        self._rest = bytearray()

    @staticmethod
    def framed(message: bytes) -> bytes:
        """A message as a request has it."""
        return _HEAD.pack(0, len(message)) + message

    def take(self, piece: bytes) -> Iterator[bytes]:
        """Takes the next bytes, and gives the messages that are whole with them."""
        self._rest += piece
        while len(self._rest) >= _HEAD.size:
            flags, size_bytes = _HEAD.unpack_from(self._rest)
            if flags & _COMPRESSED or size_bytes > methods.MAX_MESSAGE_BYTES:
                raise CallError(grpc.StatusCode.INTERNAL, "a frame that is compressed or too large")
            if len(self._rest) < _HEAD.size + size_bytes:
                return
            body = bytes(self._rest[_HEAD.size : _HEAD.size + size_bytes])
            del self._rest[: _HEAD.size + size_bytes]
            if flags & _TRAILERS:
                self.trailers = _parse_trailers(body)
            else:
                yield body


def _parse_trailers(body: bytes) -> dict[str, str]:
    lines = (line.partition(":") for line in body.decode("latin-1").splitlines())
    return {name.strip().lower(): value.strip() for name, colon, value in lines if colon}
