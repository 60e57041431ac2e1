"""The methods of the API and the settings of calls for every transport. No IO."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Callable, NamedTuple, Optional

from google.protobuf import message_factory
from google.protobuf.message import DecodeError, Message

from tara.export.v1 import automation_pb2, service_pb2

from . import causes

#: Every method of the API by its name, which is unique.
DESCRIPTORS = {
    descriptor.name: descriptor
    for service in (
        service_pb2.DESCRIPTOR.services_by_name["ExportService"],
        automation_pb2.DESCRIPTOR.services_by_name["AutomationService"],
    )
    for descriptor in service.methods
}
DEADLINE_SECONDS = 60.0
KEEPALIVE_SECONDS = 20
MAX_ATTEMPTS = 4
FIRST_BACKOFF_SECONDS = 0.2
MAX_BACKOFF_SECONDS = 5.0
#: Methods that are safe to repeat. They are retried while the server is UNAVAILABLE.
RETRYABLE_METHODS = frozenset(
    (
        "GetExport",
        "GetBatch",
        "ListExports",
        "GetReport",
        "PreviewExport",
        "CheckStorage",
        "GetUpload",
        "CreateUpload",
        "ListEvents",
        "RetryEvents",
        "ListTargets",
        "TestTarget",
    )
)
_MIN_BYTES_PER_SECOND = 32 * 1024


def sending_seconds(size_bytes: int) -> float:
    """The additional time that a call may take to send `size_bytes`."""
    return size_bytes / _MIN_BYTES_PER_SECOND


class Method(NamedTuple):
    """One method of the API."""

    service: str
    path: str
    client_streaming: bool
    server_streaming: bool
    serialize: Callable[[Any], bytes]
    parse: Callable[[bytes], Any]


class StreamCall(NamedTuple):
    """A server-streaming call."""

    method: str
    request: Message
    #: Timeouts of the first message and of each further one.
    first_timeout_seconds: float
    idle_timeout_seconds: float


def method(name: str) -> Method:
    """Returns the method with this name."""
    descriptor = DESCRIPTORS[name]
    service = descriptor.containing_service.full_name
    request = message_factory.GetMessageClass(descriptor.input_type)
    response = message_factory.GetMessageClass(descriptor.output_type)
    return Method(
        service,
        f"/{service}/{name}",
        descriptor.client_streaming,
        descriptor.server_streaming,
        request.SerializeToString,
        response.FromString,
    )


def encode(name: str, request: Message) -> bytes:
    """Encodes a request. Raises CallError if it is too large for any server."""
    size_bytes = request.ByteSize()
    if size_bytes > causes.MAX_MESSAGE_BYTES:
        raise causes.request_too_large(size_bytes)
    return method(name).serialize(request)


def decode(name: str, response: Optional[bytes]) -> Any:
    """Decodes a response. `None`: the server sent no message. Raises CallError if it is not valid."""
    if response is None:
        raise causes.invalid_response("the response has no message")
    try:
        return method(name).parse(response)
    except DecodeError as error:
        raise causes.invalid_response(f"the response of {name} is not valid: {error}") from None


def max_delays_seconds() -> Iterator[float]:
    """Yields the maximum delay before each retry."""
    max_delay = FIRST_BACKOFF_SECONDS
    while True:
        yield max_delay
        max_delay = min(max_delay * 2, MAX_BACKOFF_SECONDS)
