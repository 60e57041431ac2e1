"""gRPC-Web's frames, however the network cuts them."""

from __future__ import annotations

import pytest

from tara_export import CallError
from tara_export.web_frames import Frames

ANSWER = (
    Frames.framed(b"first") + Frames.framed(b"") + b"\x80\x00\x00\x00\x1cgrpc-status:0\r\nA-Name: a:b\r\n"
)


@pytest.mark.parametrize("size_bytes", [1, 2, 5, 7, len(ANSWER)])
def test_pieces(size_bytes: int) -> None:
    frames, messages = Frames(), []
    for start in range(0, len(ANSWER), size_bytes):
        messages += frames.take(ANSWER[start : start + size_bytes])
    assert messages == [b"first", b""]
    assert frames.trailers == {"grpc-status": "0", "a-name": "a:b"}


def test_a_message_comes_before_the_next_is_whole() -> None:
    assert list(Frames().take(ANSWER[:11])) == [b"first"]


@pytest.mark.parametrize("head", [b"\x01\x00\x00\x00\x00", b"\x00\xff\xff\xff\xff"])
def test_refused(head: bytes) -> None:
    with pytest.raises(CallError, match="compressed or too large"):
        list(Frames().take(head))
