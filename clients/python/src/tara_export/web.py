"""gRPC-Web over HTTP/1.1 with urllib3, for platforms without HTTP/2."""

from __future__ import annotations

import base64
import io
import random
import time
import urllib.parse
from collections.abc import Generator, Mapping
from typing import Any, Optional

import grpc
import urllib3
from google.protobuf.message import DecodeError
from google.rpc import status_pb2

from . import methods
from .errors import CallError
from .methods import DEADLINE_SECONDS, StreamCall
from .upload import FileUpload
from .web_frames import Frames

_CONNECT_SECONDS = 10
_READ_BYTES = 64 * 1024
_HEADERS = {
    "content-type": "application/grpc-web+proto",
    "accept": "application/grpc-web+proto",
    "x-grpc-web": "1",
    "x-user-agent": "tara-export-python",
}
#: The gRPC code of an HTTP status without a gRPC status, from the gRPC specification.
_CODES_BY_HTTP_STATUS = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}
_CODES: dict[int, grpc.StatusCode] = {code.value[0]: code for code in grpc.StatusCode}


class WebTransport:
    """Calls over HTTP/1.1, one request per call."""

    def __init__(self, server: str) -> None:
        self._server = (server if "://" in server else f"http://{server}").rstrip("/")
        # This class makes the retries, because not all calls are safe to repeat.
        self._pool = urllib3.PoolManager(retries=False, blocksize=_READ_BYTES)

    def close(self) -> None:
        """Closes the connections."""
        self._pool.clear()

    def call(self, name: str, request: Any, deadline_seconds: float) -> Any:
        """Makes a unary call. Retries it while the server is UNAVAILABLE if the call is safe to repeat."""
        deadline = time.monotonic() + deadline_seconds
        max_delays_seconds = methods.max_delays_seconds()
        for attempt in range(1, methods.MAX_ATTEMPTS + 1):
            remaining_seconds = max(deadline - time.monotonic(), 0.001)
            try:
                return self._call_once(name, request, remaining_seconds)
            except CallError as error:
                delay = max(random.uniform(0, next(max_delays_seconds)), error.retry_delay_seconds or 0)
                if (
                    error.code != grpc.StatusCode.UNAVAILABLE
                    or name not in methods.RETRYABLE_METHODS
                    or attempt == methods.MAX_ATTEMPTS
                    or time.monotonic() + delay >= deadline
                ):
                    raise
                time.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def _call_once(self, name: str, request: Any, remaining_seconds: float) -> Any:
        headers = {"grpc-timeout": f"{max(int(remaining_seconds * 1000), 1)}m"}
        responses = list(self._messages(name, request, remaining_seconds, remaining_seconds, headers))
        if len(responses) != 1:
            raise CallError(grpc.StatusCode.INTERNAL, f"received {len(responses)} responses instead of one")
        return responses[0]

    def stream(self, call: StreamCall) -> Generator[Any, None, None]:
        """Makes a server-streaming call and yields its messages."""
        return self._messages(
            call.method, call.request, call.first_timeout_seconds, call.idle_timeout_seconds, {}
        )

    def send(self, upload: FileUpload) -> None:
        """Sends the remaining bytes in one call per chunk, because gRPC-Web has no client streams."""
        while not upload.is_complete:
            chunk = upload.chunk()
            timeout_seconds = DEADLINE_SECONDS + methods.sending_seconds(len(chunk.data))
            upload.update_after_chunk(chunk, self.call("UploadChunk", chunk, timeout_seconds).upload)

    def _messages(
        self,
        name: str,
        request: Any,
        first_timeout_seconds: float,
        idle_timeout_seconds: float,
        headers: Mapping[str, str],
    ) -> Generator[Any, None, None]:
        method = methods.method(name)
        frames = Frames()
        try:
            response = self._post(
                method.path, Frames.framed(method.serialize(request)), first_timeout_seconds, headers
            )
            try:
                _check_content_type(response)
                while piece := response.read1(_READ_BYTES):
                    _set_idle_timeout(response, idle_timeout_seconds)
                    for message in frames.feed(piece):
                        yield method.parse(message)
                _raise_for_status(frames.trailers or response.headers)
            finally:
                # The connection is reusable only if the response was read to its end.
                response.close() if frames.trailers is None else response.release_conn()
        except urllib3.exceptions.TimeoutError as error:
            raise CallError(
                grpc.StatusCode.UNAVAILABLE, "no message from the server within the idle timeout"
            ) from error
        except urllib3.exceptions.HTTPError as error:
            raise CallError(grpc.StatusCode.UNAVAILABLE, f"the connection was lost: {error}") from error
        except DecodeError as error:
            raise CallError(grpc.StatusCode.INTERNAL, f"not a valid message: {error}") from error

    def _post(
        self, path: str, body: bytes, first_timeout_seconds: float, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            "POST",
            self._server + path,
            # Sent in blocks, so that urllib3's timeout applies to each block and not to the whole body.
            body=io.BytesIO(body),
            headers={**_HEADERS, "content-length": str(len(body)), **headers},
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=first_timeout_seconds),
            preload_content=False,
            redirect=False,
        )


def _set_idle_timeout(response: urllib3.BaseHTTPResponse, idle_timeout_seconds: float) -> None:
    # Absent if the server closes the connection after this response.
    socket = getattr(response.connection, "sock", None)
    if socket is not None:
        socket.settimeout(idle_timeout_seconds)


def _check_content_type(response: urllib3.BaseHTTPResponse) -> None:
    if response.headers.get("content-type", "").startswith("application/grpc") and response.status == 200:
        return
    if "grpc-status" in response.headers:
        _raise_for_status(response.headers)
    code = _CODES_BY_HTTP_STATUS.get(response.status, grpc.StatusCode.UNKNOWN)
    raise CallError(code, f"HTTP status {response.status} instead of a gRPC-Web response")


def _raise_for_status(trailers: Mapping[str, str]) -> None:
    code_text = trailers.get("grpc-status")
    if code_text is None:
        raise CallError(grpc.StatusCode.UNAVAILABLE, "the response was truncated")
    code = _CODES.get(int(code_text) if code_text.isdigit() else -1, grpc.StatusCode.UNKNOWN)
    if code == grpc.StatusCode.OK:
        return
    message = urllib.parse.unquote(trailers.get("grpc-message", ""))
    raise CallError.with_details(code, message, _details(trailers.get("grpc-status-details-bin")))


def _details(encoded: Optional[str]) -> Any:
    if not encoded:
        return ()
    # gRPC omits the padding. Extra padding is ignored.
    return status_pb2.Status.FromString(base64.b64decode(encoded + "==")).details
