"""Native gRPC: channels of grpc and grpc.aio, and the transport for threads."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Generator, Iterator
from typing import Any, Callable, Optional

import grpc

from . import causes, methods
from .address import Address
from .errors import CallError
from .methods import StreamCall
from .tls import TlsFiles
from .tokens import Authorization, Metadata
from .upload import FileUpload, send_chunks
from .watchdog import Watchdog

_SERVICE_CONFIG = {
    "methodConfig": [
        {
            "name": [
                {"service": methods.method(name).service, "method": name}
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
    ("grpc.max_send_message_length", causes.MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", causes.MAX_MESSAGE_BYTES),
    ("grpc.service_config", json.dumps(_SERVICE_CONFIG)),
    # grpcio's default delay before a reconnect is one second and grows.
    ("grpc.initial_reconnect_backoff_ms", 200),
    ("grpc.min_reconnect_backoff_ms", 200),
    ("grpc.max_reconnect_backoff_ms", 5000),
    ("grpc.keepalive_time_ms", methods.KEEPALIVE_SECONDS * 1000),
    ("grpc.keepalive_timeout_ms", methods.KEEPALIVE_SECONDS * 1000),
]


def connect(library: Any, address: Address, tls: TlsFiles) -> Any:
    """Creates a channel of `library`, which is grpc or grpc.aio. Raises OSError and ValueError."""
    tls.check()
    if urllib.parse.urlsplit(address.url).path:
        raise ValueError(f"the URL of a native gRPC server must have no path: {address.url!r}")
    options = list(OPTIONS)
    if address.socket_path:
        # By default the socket's path, which is not a valid host name.
        options.append(("grpc.default_authority", address.host))
    if address.is_tls:
        return library.secure_channel(address.target, tls.grpc_credentials(), options=options)
    return library.insecure_channel(address.target, options=options)


def multi_callable(channel: Any, name: str) -> Any:
    """Returns the method with this name on a channel of grpc or grpc.aio. It sends and receives bytes.

    grpcio reports an error of a serializer like a lost connection, so `methods` encodes and decodes.
    """
    method = methods.method(name)
    kinds = {
        (False, False): channel.unary_unary,
        (False, True): channel.unary_stream,
        (True, False): channel.stream_unary,
    }
    return kinds[(method.client_streaming, method.server_streaming)](method.path)


def idle_timeout_error() -> CallError:
    """An error for a stream without a message within the idle timeout."""
    return CallError(grpc.StatusCode.UNAVAILABLE, "no message from the server within the idle timeout")


class Sent:
    """The encoded requests of a client-streaming call. Keeps the error of their source.

    grpcio reports such an error like a lost connection.
    """

    def __init__(self, name: str, requests: Iterator[Any]) -> None:
        self._name, self._requests = name, requests
        self.error: Optional[Exception] = None

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            return methods.encode(self._name, next(self._requests))
        except StopIteration:
            raise
        except Exception as error:
            self.error = error
            raise


class NativeTransport:
    """Calls over a channel of grpc."""

    def __init__(self, address: Address, tls: TlsFiles, authorization: Authorization) -> None:
        self._authorization, self._explainer = authorization, causes.Explainer(address, tls)
        self._channel = connect(grpc, address, tls)

    def close(self) -> None:
        """Closes the connection."""
        self._channel.close()

    def call(self, name: str, request: Any, deadline_seconds: float) -> Any:
        """Makes a unary call."""
        data = methods.encode(name, request)
        return self._authorized(
            lambda metadata: self._unary(name, data, deadline_seconds, metadata),
        )

    def _authorized(self, call: Callable[[Metadata], Any]) -> Any:
        metadata = self._authorization.metadata()
        try:
            return call(metadata)
        except CallError as error:
            if not self._authorization.may_refresh(error):
                raise
            refreshed = self._authorization.metadata()
            if refreshed == metadata:
                raise
        return call(refreshed)

    def _unary(self, name: str, request: Any, deadline_seconds: float, metadata: Metadata) -> Any:
        try:
            response = multi_callable(self._channel, name)(
                request, timeout=deadline_seconds, metadata=metadata
            )
        except grpc.RpcError as error:
            # The cause contains the server's unescaped text, which a traceback would print.
            raise self._explained(error) from None
        return methods.decode(name, response)

    def _explained(self, error: grpc.RpcError) -> CallError:
        return self._explainer.explained(CallError.from_rpc(error))

    def stream(self, call: StreamCall) -> Generator[Any, None, None]:
        """Makes a server-streaming call and yields its messages."""
        data = methods.encode(call.method, call.request)
        yield from self._authorization.stream(lambda metadata: self._stream_once(call, data, metadata))

    def _stream_once(self, call: StreamCall, data: bytes, metadata: Metadata) -> Generator[Any, None, None]:
        stream = multi_callable(self._channel, call.method)(data, metadata=metadata)
        with Watchdog(stream, call.first_timeout_seconds, call.idle_timeout_seconds) as watchdog:
            try:
                for message in stream:
                    watchdog.reset()
                    yield methods.decode(call.method, message)
                    watchdog.reset()
            except grpc.RpcError as error:
                if watchdog.has_expired:
                    raise idle_timeout_error() from error
                # The cause contains the server's unescaped text, which a traceback would print.
                raise self._explained(error) from None

    def send(self, upload: FileUpload) -> None:
        """Sends the remaining bytes in one stream, or in chunks if a proxy limits the size of requests."""
        if upload.sends_chunks:
            send_chunks(upload, self.call)
            return

        def send(metadata: Metadata) -> Any:
            sent = Sent("UploadDocument", upload.pieces())
            try:
                return self._unary("UploadDocument", sent, upload.timeout_seconds, metadata)
            except CallError:
                if sent.error is not None:
                    raise sent.error from None
                raise

        upload.update(self._authorized(send).upload)
