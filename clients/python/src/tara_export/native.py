"""Native gRPC: channels of grpc and grpc.aio, and the transport for threads."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Generator
from typing import Any

import grpc

from . import methods
from .errors import CallError
from .methods import StreamCall
from .upload import FileUpload
from .watchdog import Watchdog

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": methods.SERVICE.full_name, "method": name}
                for name in sorted(methods.RETRYABLE_METHODS)
            ],
            "retryPolicy": {
                "maxAttempts": methods.MAX_ATTEMPTS,
                "initialBackoff": f"{methods.FIRST_BACKOFF_SECONDS}s",
                "maxBackoff": f"{methods.MAX_BACKOFF_SECONDS}s",
                "backoffMultiplier": 2,
                "retryableStatusCodes": ["UNAVAILABLE"],
            },
        }
    ]
}
OPTIONS = [
    ("grpc.max_send_message_length", methods.MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", methods.MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # grpcio's default delay before a reconnect is one second and grows.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.keepalive_time_ms", methods.KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", methods.KEEPALIVE_SECONDS * 1000),
]


def connect(library: Any, server: str) -> Any:
    """Creates a channel of `library`, which is grpc or grpc.aio. Uses TLS if the URL starts with https://."""
    url = urllib.parse.urlsplit(server if "://" in server else f"http://{server}")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"server must be host:port or an http or https URL, not {server!r}")
    if url.path not in ("", "/") or url.query:
        raise ValueError(f"the URL of a native gRPC server must have no path: {server!r}")
    # Without a port, grpcio would use 443 for both schemes.
    target = url.netloc if url.port else f"{url.netloc}:{443 if url.scheme == 'https' else 80}"
    if url.scheme == "https":
        return library.secure_channel(target, grpc.ssl_channel_credentials(), options=OPTIONS)
    return library.insecure_channel(target, options=OPTIONS)


def multi_callable(channel: Any, name: str) -> Any:
    """Returns the method with this name on a channel of grpc or grpc.aio."""
    method = methods.method(name)
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
    }
    make = kinds[(method.client_streaming, method.server_streaming)]
    return make(method.path, request_serializer=method.serialize, response_deserializer=method.parse)


def idle_timeout_error() -> CallError:
    """An error for a stream without a message within the idle timeout."""
    return CallError(grpc.StatusCode.UNAVAILABLE, "no message from the server within the idle timeout")


class NativeTransport:
    """Calls over a channel of grpc."""

    def __init__(self, server: str) -> None:
        self._channel = connect(grpc, server)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def call(self, name: str, request: Any, deadline_seconds: float) -> Any:
        """Makes a unary call."""
        try:
            return multi_callable(self._channel, name)(request, timeout=deadline_seconds)
        except grpc.RpcError as error:
            # The cause contains the server's unescaped text, which a traceback would print.
            raise CallError.from_rpc(error) from None

    def stream(self, call: StreamCall) -> Generator[Any, None, None]:
        """Makes a server-streaming call and yields its messages."""
        stream = multi_callable(self._channel, call.method)(call.request)
        with Watchdog(stream, call.first_timeout_seconds, call.idle_timeout_seconds) as watchdog:
            try:
                for message in stream:
                    watchdog.reset()
                    yield message
                    watchdog.reset()
            except grpc.RpcError as error:
                if watchdog.has_expired:
                    raise idle_timeout_error() from error
                # The cause contains the server's unescaped text, which a traceback would print.
                raise CallError.from_rpc(error) from None

    def send(self, upload: FileUpload) -> None:
        """Sends the remaining bytes in one stream."""
        upload.update(self.call("UploadDocument", upload.pieces(), upload.timeout_seconds).upload)
