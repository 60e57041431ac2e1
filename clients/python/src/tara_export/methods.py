"""The service's methods, and what holds for calls of every transport. No IO."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable, NamedTuple

from google.protobuf import message_factory
from google.protobuf.message import Message

from tara.export.v1 import service_pb2

SERVICE = service_pb2.DESCRIPTOR.services_by_name["ExportService"]
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
DEADLINE_SECONDS = 60.0
KEEPALIVE_SECONDS = 20
MAX_ATTEMPTS = 4
FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 5.0
#: What may be sent again while the server is UNAVAILABLE, without asking what became of it.
READS = frozenset(
    (
        "GetExport",
        "ListExports",
        "GetReport",
        "PreviewExport",
        "CheckStorage",
        "GetUpload",
        "CreateUpload",
    )
)
_SLOWEST_BYTES_PER_SECOND = 32 * 1024


def sending_seconds(size_bytes: int) -> float:
    """How much longer a call may take that sends so much."""
    return size_bytes / _SLOWEST_BYTES_PER_SECOND


class Method(NamedTuple):
    """One method of the service, as transports need it."""

    path: str
    client_streaming: bool
    server_streaming: bool
    serialize: Callable[[Any], bytes]
    parse: Callable[[bytes], Any]


class StreamCall(NamedTuple):
    """A call with a stream of answers that is to be made."""

    method: str
    request: Message
    #: How long the first answer may take, and each one after it.
    first_seconds: float
    silence_seconds: float


def method(name: str) -> Method:
    """The method of that name."""
    described = SERVICE.methods_by_name[name]
    request = message_factory.GetMessageClass(described.input_type)
    answer = message_factory.GetMessageClass(described.output_type)
    return Method(
        f"/{SERVICE.full_name}/{name}",
        described.client_streaming,
        described.server_streaming,
        request.SerializeToString,
        answer.FromString,
    )


def backoffs() -> Iterator[float]:
    """The longest waits between attempts."""
    longest = FIRST_BACKOFF_SECONDS
    while True:
        yield longest
        longest = min(longest * 2, MAX_BACKOFF_SECONDS)
