"""Native gRPC: what a channel needs, of threads or of asyncio, and the transport of the former."""

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
                {"service": methods.SERVICE.full_name, "method": name} for name in sorted(methods.READS)
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
    # grpcio waits a second before it connects again, and longer each time.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.keepalive_time_ms", methods.KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", methods.KEEPALIVE_SECONDS * 1000),
]


def connect(library: Any, server: str) -> Any:
    """A channel of `library`, grpc or grpc.aio; by TLS to a server whose URL begins with https://."""
    url = urllib.parse.urlsplit(server if "://" in server else f"http://{server}")
    if url.scheme not in ("http", "https") or not url.hostname:
        raise ValueError(f"a server is host:port, or a URL of http or https, not {server!r}")
    if url.path not in ("", "/") or url.query:
        raise ValueError(f"native gRPC has no paths: {server!r}")
    # Without a port grpcio would take that of https for both.
    target = url.netloc if url.port else f"{url.netloc}:{443 if url.scheme == 'https' else 80}"
    if url.scheme == "https":
        return library.secure_channel(target, grpc.ssl_channel_credentials(), options=OPTIONS)
    return library.insecure_channel(target, options=OPTIONS)


def multi_callable(channel: Any, name: str) -> Any:
    """The method of that name on a channel of threads or of asyncio."""
    method = methods.method(name)
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
    }
    make = kinds[(method.client_streaming, method.server_streaming)]
    return make(method.path, request_serializer=method.serialize, response_deserializer=method.parse)


def silence() -> CallError:
    """The failure of a call that was given up because nothing came."""
    return CallError(grpc.StatusCode.UNAVAILABLE, "the server said nothing for too long")


class NativeTransport:
    """Calls over a channel of threads."""

    def __init__(self, server: str) -> None:
        self._channel = connect(grpc, server)

    def close(self) -> None:
        """Ends the connection."""
        self._channel.close()

    def call(self, name: str, request: Any, deadline_seconds: float) -> Any:
        """A call with one answer."""
        try:
            return multi_callable(self._channel, name)(request, timeout=deadline_seconds)
        except grpc.RpcError as error:
            # The cause has the server's text as it came, which a traceback would print.
            raise CallError.from_rpc(error) from None

    def stream(self, asked: StreamCall) -> Generator[Any, None, None]:
        """The answers of a call with a stream of them, as they come."""
        stream = multi_callable(self._channel, asked.method)(asked.request)
        with Watchdog(stream, asked.first_seconds, asked.silence_seconds) as watchdog:
            try:
                for message in stream:
                    watchdog.heard()
                    yield message
                    watchdog.heard()
            except grpc.RpcError as error:
                if watchdog.has_barked:
                    raise silence() from error
                # The cause has the server's text as it came, which a traceback would print.
                raise CallError.from_rpc(error) from None

    def send(self, upload: FileUpload) -> None:
        """Sends what the server does not have yet, in one stream."""
        upload.learn(self.call("UploadDocument", upload.pieces(), upload.limit_seconds).upload)
