"""gRPC-Web over HTTP/1.1, for platforms that let nothing else through. Made on urllib3."""

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
#: What the gRPC specification makes of an HTTP status without a gRPC one.
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
    """Calls over HTTP/1.1, each a request of its own."""

    def __init__(self, server: str) -> None:
        self._server = (server if "://" in server else f"http://{server}").rstrip("/")
        # Calls are tried again by what knows which of them may be.
        self._pool = urllib3.PoolManager(retries=False, blocksize=_READ_BYTES)

    def close(self) -> None:
        """Ends the connections."""
        self._pool.clear()

    def call(self, name: str, request: Any, deadline_seconds: float) -> Any:
        """A call with one answer; a read is sent again while the server is UNAVAILABLE."""
        until = time.monotonic() + deadline_seconds
        backoffs = methods.backoffs()
        for attempt in range(1, methods.MAX_ATTEMPTS + 1):
            left_seconds = max(until - time.monotonic(), 0.001)
            try:
                return self._call_once(name, request, left_seconds)
            except CallError as error:
                delay = max(random.uniform(0, next(backoffs)), error.retry_delay_seconds or 0)
                if (
                    error.code != grpc.StatusCode.UNAVAILABLE
                    or name not in methods.READS
                    or attempt == methods.MAX_ATTEMPTS
                    or time.monotonic() + delay >= until
                ):
                    raise
                time.sleep(delay)
        raise AssertionError("the last attempt returns or raises")

    def _call_once(self, name: str, request: Any, left_seconds: float) -> Any:
        headers = {"grpc-timeout": f"{max(int(left_seconds * 1000), 1)}m"}
        answers = list(self._messages(name, request, left_seconds, left_seconds, headers))
        if len(answers) != 1:
            raise CallError(grpc.StatusCode.INTERNAL, f"{len(answers)} answers where there is to be one")
        return answers[0]

    def stream(self, asked: StreamCall) -> Generator[Any, None, None]:
        """The answers of a call with a stream of them, as they come."""
        return self._messages(asked.method, asked.request, asked.first_seconds, asked.silence_seconds, {})

    def send(self, upload: FileUpload) -> None:
        """Sends what the server does not have yet, a chunk a call: gRPC-Web has no streams to a server."""
        while not upload.is_complete:
            chunk = upload.chunk()
            limit_seconds = DEADLINE_SECONDS + methods.sending_seconds(len(chunk.data))
            upload.learn_chunk(chunk, self.call("UploadChunk", chunk, limit_seconds).upload)

    def _messages(
        self,
        name: str,
        request: Any,
        first_seconds: float,
        silence_seconds: float,
        headers: Mapping[str, str],
    ) -> Generator[Any, None, None]:
        method = methods.method(name)
        frames = Frames()
        try:
            response = self._post(
                method.path, Frames.framed(method.serialize(request)), first_seconds, headers
            )
            try:
                _refuse_other_content(response)
                while piece := response.read1(_READ_BYTES):
                    _limit_silence(response, silence_seconds)
                    for message in frames.take(piece):
                        yield method.parse(message)
                _raise_for_status(frames.trailers or response.headers)
            finally:
                # Of an answer that was read to its end the connection is kept.
                response.close() if frames.trailers is None else response.release_conn()
        except urllib3.exceptions.TimeoutError as error:
            raise CallError(grpc.StatusCode.UNAVAILABLE, "the server said nothing for too long") from error
        except urllib3.exceptions.HTTPError as error:
            raise CallError(grpc.StatusCode.UNAVAILABLE, f"the connection was lost: {error}") from error
        except DecodeError as error:
            raise CallError(grpc.StatusCode.INTERNAL, f"not a message of gRPC: {error}") from error

    def _post(
        self, path: str, body: bytes, first_seconds: float, headers: Mapping[str, str]
    ) -> urllib3.BaseHTTPResponse:
        return self._pool.request(
            "POST",
            self._server + path,
            # Read in blocks: urllib3's limit for sending holds for each of them, and not for all.
            body=io.BytesIO(body),
            headers={**_HEADERS, "content-length": str(len(body)), **headers},
            timeout=urllib3.Timeout(connect=_CONNECT_SECONDS, read=first_seconds),
            preload_content=False,
            redirect=False,
        )


def _limit_silence(response: urllib3.BaseHTTPResponse, silence_seconds: float) -> None:
    # Gone where the server said that it closes the connection after this answer.
    socket = getattr(response.connection, "sock", None)
    if socket is not None:
        socket.settimeout(silence_seconds)


def _refuse_other_content(response: urllib3.BaseHTTPResponse) -> None:
    if response.headers.get("content-type", "").startswith("application/grpc") and response.status == 200:
        return
    if "grpc-status" in response.headers:
        _raise_for_status(response.headers)
    code = _CODES_BY_HTTP_STATUS.get(response.status, grpc.StatusCode.UNKNOWN)
    raise CallError(code, f"HTTP status {response.status} instead of an answer of gRPC-Web")


def _raise_for_status(trailers: Mapping[str, str]) -> None:
    word = trailers.get("grpc-status")
    if word is None:
        raise CallError(grpc.StatusCode.UNAVAILABLE, "the answer was cut short")
    code = _CODES.get(int(word) if word.isdigit() else -1, grpc.StatusCode.UNKNOWN)
    if code == grpc.StatusCode.OK:
        return
    message = urllib.parse.unquote(trailers.get("grpc-message", ""))
    raise CallError.with_details(code, message, _details(trailers.get("grpc-status-details-bin")))


def _details(encoded: Optional[str]) -> Any:
    if not encoded:
        return ()
    # gRPC leaves the padding out; too much of it does no harm.
    return status_pb2.Status.FromString(base64.b64decode(encoded + "==")).details
