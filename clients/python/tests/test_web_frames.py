"""gRPC-Web frames that arrive in pieces of any size."""

from __future__ import annotations

import pytest

from tara_export import CallError
from tara_export.web_frames import Frames

RESPONSE = (
    Frames.framed(b"first") + Frames.framed(b"") + b"\x80\x00\x00\x00\x1cgrpc-status:0\r\nA-Name: a:b\r\n"
)


@pytest.mark.parametrize("size_bytes", [1, 2, 5, 7, len(RESPONSE)])
def test_frames_are_parsed_from_pieces(size_bytes: int) -> None:
    frames, messages = Frames(), []
    for start in range(0, len(RESPONSE), size_bytes):
        messages += frames.feed(RESPONSE[start : start + size_bytes])
    assert messages == [b"first", b""]
    assert frames.trailers == {"grpc-status": "0", "a-name": "a:b"}


def test_message_is_yielded_before_the_next_is_complete() -> None:
    assert list(Frames().feed(RESPONSE[:11])) == [b"first"]


@pytest.mark.parametrize(
    "header, reason",
    [(b"\x01\x00\x00\x00\x00", "INVALID_RESPONSE"), (b"\x00\xff\xff\xff\xff", "RESPONSE_TOO_LARGE")],
)
def test_invalid_frame_is_rejected(header: bytes, reason: str) -> None:
    with pytest.raises(CallError) as raised:
        list(Frames().feed(header))
    assert raised.value.reason == reason and not raised.value.is_unavailable
