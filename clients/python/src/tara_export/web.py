"""gRPC-Web over HTTP/1.1 with urllib3, for platforms without HTTP/2."""

from __future__ import annotations

import base64
import http.client
import io
import random
import ssl
import time
import urllib.parse
from collections.abc import Generator, Iterator, Mapping
from typing import Any, Optional

import grpc
import urllib3
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from . import causes, methods
from .address import Address
from .errors import CallError, printable
from .methods import StreamCall
from .tls import TlsFiles
from .tokens import Authorization
from .upload import FileUpload, send_chunks
from .web_frames import Frames
from .web_pool import READ_BYTES, pool_of

_CONNECT_SECONDS = 10
_MAX_SOURCES = 20
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class WebTransport:
    """Calls over HTTP/1.1, one request per call."""

    def __init__(self, address: Address, tls: TlsFiles, authorization: Authorization) -> None:
        if not address.url:
            raise ValueError(f"gRPC-Web needs host:port, a URL, or unix:PATH, not {address.target!r}")
        tls.check()
        self._address, self._authorization = address, authorization
        self._tls_probe = causes.TlsProbe(address, tls)
        # Of the URL, only the path differs between calls.
        self._path = urllib.parse.urlsplit(address.url).path
        self._pool = pool_of(address, tls)

    def close(self) -> None:
        """Closes the connections."""
        self._pool.close()

    def call(self, name: str, request: Any, deadline_seconds: float) -> Any:
        """Makes a unary call. Retries it while the server is UNAVAILABLE if the call is safe to repeat."""
        data = methods.encode(name, request)
        deadline = time.monotonic() + deadline_seconds
        max_delays_seconds = methods.max_delays_seconds()
        for attempt in range(1, methods.MAX_ATTEMPTS + 1):
            remaining_seconds = max(deadline - time.monotonic(), 0.001)
            try:
                return self._call_once(name, data, remaining_seconds)
            except CallError as error:
                delay = max(random.uniform(0, next(max_delays_seconds)), error.retry_delay_seconds or 0)
                if (
                    not error.is_retryable
                    or error.code != grpc.StatusCode.UNAVAILABLE
                    or name not in methods.RETRYABLE_METHODS
                    or attempt == methods.MAX_ATTEMPTS
                    or time.monotonic() + delay >= deadline
                ):
                    raise
                time.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def _call_once(self, name: str, data: bytes, remaining_seconds: float) -> Any:
        headers = {"grpc-timeout": f"{max(int(remaining_seconds * 1000), 1)}m"}
        responses = list(self._authorized(name, data, remaining_seconds, remaining_seconds, headers))
        if len(responses) != 1:
            raise causes.invalid_response(f"received {len(responses)} responses instead of one")
        return responses[0]

    def stream(self, call: StreamCall) -> Generator[Any, None, None]:
        """Makes a server-streaming call and yields its messages."""
        data = methods.encode(call.method, call.request)
        return self._authorized(call.method, data, call.first_timeout_seconds, call.idle_timeout_seconds, {})

    def send(self, upload: FileUpload) -> None:
        """Sends the remaining bytes in chunks, because gRPC-Web has no client streams."""
        send_chunks(upload, self.call)

    def _authorized(
        self,
        name: str,
        data: bytes,
        first_timeout_seconds: float,
        idle_timeout_seconds: float,
        headers: Mapping[str, str],
    ) -> Generator[Any, None, None]:
        """Yields the messages of a call with the token, which is refreshed once."""
        timeouts = (first_timeout_seconds, idle_timeout_seconds)
        yield from self._authorization.stream(
            lambda metadata: self._messages(name, data, *timeouts, {**headers, **dict(metadata)})
        )

    def _messages(
        self,
        name: str,
        data: bytes,
        first_timeout_seconds: float,
        idle_timeout_seconds: float,
        headers: Mapping[str, str],
    ) -> Generator[Any, None, None]:
        frames = Frames()
        try:
            response = self._post(
                methods.method(name).path, Frames.framed(data), first_timeout_seconds, headers
            )
            try:
                self._check_content_type(response)
                while piece := response.read1(READ_BYTES):
                    _set_idle_timeout(response, idle_timeout_seconds)
                    for message in frames.feed(piece):
                        yield methods.decode(name, message)
                _raise_for_status(frames.trailers or response.headers)
            finally:
                # The connection is reusable only if the response was read to its end.
                response.close() if frames.trailers is None else response.release_conn()
        except (urllib3.exceptions.HTTPError, ssl.SSLError) as error:
            cause = self._cause(error)
            if cause is not None:
                raise cause from None
            is_refused = isinstance(error, urllib3.exceptions.NewConnectionError)
            if isinstance(error, urllib3.exceptions.TimeoutError) and not is_refused:
                raise CallError(
                    grpc.StatusCode.UNAVAILABLE, "no message from the server within the idle timeout"
                ) from error
            raise CallError(
                grpc.StatusCode.UNAVAILABLE, f"the connection to {self._address.shown} was lost: {error}"
            ) from error

    def _check_content_type(self, response: urllib3.BaseHTTPResponse) -> None:
        try:
            causes.check_response(response.status, response.headers)
        except CallError:
            if "grpc-status" in response.headers:
                _raise_for_status(response.headers)
            # The response of a server with TLS to a request without it.
            if response.status == 400 and (problem := self._tls_probe.problem()):
                raise problem from None
            raise

    def _cause(self, error: Exception) -> Optional[CallError]:
        """The cause of an error of urllib3. None if the connection was lost, or there was none."""
        if isinstance(error, urllib3.exceptions.DecodeError):
            return causes.invalid_response(f"cannot decompress the response: {error}")
        for source in _sources(error):
            if isinstance(source, (ssl.SSLError, ssl.CertificateError)):
                return causes.tls_error(source, self._address)
            if causes.is_unknown_host(source):
                return causes.host_not_found(self._address)
            if isinstance(source, http.client.LineTooLong) or "got more than" in str(source):
                return causes.headers_too_large(str(source))
            if isinstance(source, (http.client.BadStatusLine, ConnectionResetError)):
                # A server with TLS closes a connection without TLS, or sends an alert.
                problem = self._tls_probe.problem()
                if problem is None and type(source) is http.client.BadStatusLine:
                    return causes.invalid_response("the response is not HTTP/1.1")
                return problem
        return None

    def _post(
        self, path: str, body: bytes, first_timeout_seconds: float, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        return self._pool.urlopen(
            "POST",
            self._path + path,
            # Sent in blocks, so that urllib3's timeout applies to each block and not to the whole body.
            body=io.BytesIO(body),
            headers={**causes.WEB_HEADERS, "content-length": str(len(body)), **headers},
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=first_timeout_seconds),
            preload_content=False,
            redirect=False,
        )


def _set_idle_timeout(response: urllib3.BaseHTTPResponse, idle_timeout_seconds: float) -> None:
    # Absent if the server closes the connection after this response.
    socket = getattr(response.connection, "sock", None)
    if socket is not None:
        socket.settimeout(idle_timeout_seconds)


def _sources(error: BaseException) -> Iterator[BaseException]:
    """Yields the error and its sources, which urllib3 has in different places."""
    seen: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting and len(seen) < _MAX_SOURCES:
        source = waiting.pop(0)
        if isinstance(source, BaseException) and source not in seen:
            seen.append(source)
            yield source
            waiting += [*source.args, source.__cause__, source.__context__]


def _raise_for_status(trailers: Mapping[str, str]) -> None:
    code_text = trailers.get("grpc-status")
    if code_text is None:
        raise CallError(grpc.StatusCode.UNAVAILABLE, "the response was truncated")
    if not code_text.isascii() or not code_text.isdigit():
        raise causes.invalid_response(f"the gRPC status {printable(code_text[:100])!r} is not a number")
    code = _CODES.get(int(code_text), grpc.StatusCode.UNKNOWN)
    if code == grpc.StatusCode.OK:
        return
    message = urllib.parse.unquote(trailers.get("grpc-message", ""))
    raise CallError.with_details(code, message, _details(trailers.get("grpc-status-details-bin")))


def _details(encoded: Optional[str]) -> Any:
    if not encoded:
        return ()
    try:
        # gRPC omits the padding. Extra padding is ignored.
        return status_pb2.Status.FromString(base64.b64decode(encoded + "==")).details
    except (ValueError, DecodeError):
        # Details of another program.
        return ()
