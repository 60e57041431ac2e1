"""The exceptions of the client."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

import grpc
from google.protobuf.message import DecodeError
from google.rpc import error_details_pb2
from grpc_status import rpc_status

#: Control characters, and characters that reorder text, end a line or are invisible.
_NOT_PRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)


def printable(text: str) -> str:
    """Makes a text from the server safe to print: escapes control characters and misleading characters."""
    return _NOT_PRINTABLE.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", text)


class TaraExportError(Exception):
    """Any failure of this client."""


@dataclass(frozen=True)
class FieldViolation:
    """One field of a bad request."""

    field: str
    description: str


class Reason:
    """Reasons of errors that this client detects. The server has reasons of its own."""

    #: An HTTP response without a gRPC status, of a proxy or another program; `metadata["http_status"]`.
    HTTP_ERROR = "HTTP_ERROR"
    #: A response that is not gRPC, or that this client cannot read.
    INVALID_RESPONSE = "INVALID_RESPONSE"
    #: Headers or a message beyond the limits of this client.
    RESPONSE_TOO_LARGE = "RESPONSE_TOO_LARGE"
    #: A request beyond the limits of this client, or of the server.
    REQUEST_TOO_LARGE = "REQUEST_TOO_LARGE"
    #: TLS is not possible: a certificate is not accepted, or one side does not use TLS.
    TLS_FAILED = "TLS_FAILED"
    #: The host name does not exist.
    HOST_NOT_FOUND = "HOST_NOT_FOUND"


class CallError(TaraExportError):
    """The server or a proxy rejected a call, this client cannot make it, or the connection was lost."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{printable(message)} ({code.name})")
        self.code = code
        self.message = message
        #: The UPPER_SNAKE reason of google.rpc.ErrorInfo, or one of `Reason`; empty if there is none.
        self.reason = ""
        self.metadata: dict[str, str] = {}
        self.field_violations: tuple[FieldViolation, ...] = ()
        #: The delay before a retry, from google.rpc.RetryInfo.
        self.retry_delay_seconds: Optional[float] = None
        #: False if a retry cannot help whatever the code is.
        self.is_retryable = True

    @property
    def is_unavailable(self) -> bool:
        """Whether a retry may succeed."""
        if not self.is_retryable:
            return False
        has_timed_out = not self.reason and self.code == grpc.StatusCode.DEADLINE_EXCEEDED
        return self.code == grpc.StatusCode.UNAVAILABLE or has_timed_out or self.is_ambiguous

    @property
    def is_ambiguous(self) -> bool:
        """Whether the connection was lost during a response, or the response is not gRPC.

        grpcio uses the same codes for both. Errors from the server have an ErrorInfo.
        """
        return (
            self.is_retryable
            and not self.reason
            and self.code in (grpc.StatusCode.UNKNOWN, grpc.StatusCode.INTERNAL)
        )

    @property
    def is_connection_lost(self) -> bool:
        """Whether there was no response."""
        return self.is_retryable and not self.reason and self.code == grpc.StatusCode.UNAVAILABLE

    @property
    def is_too_large_for_proxy(self) -> bool:
        """Whether a proxy refused the size of the request (HTTP status 413)."""
        return self.reason == Reason.HTTP_ERROR and self.metadata.get("http_status") == "413"

    @classmethod
    def local(cls, code: grpc.StatusCode, reason: str, message: str) -> CallError:
        """An error that this client detects. A retry cannot help unless the code is UNAVAILABLE."""
        error = cls(code, message)
        error.reason = reason
        return error

    @classmethod
    def from_rpc(cls, error: Any) -> CallError:
        """Converts an error of grpc or grpc.aio."""
        try:
            status = rpc_status.from_call(error)
            details = status.details if status is not None else ()
        except (ValueError, DecodeError):
            # The details are of another program, or contradict the status.
            details = ()
        return cls.with_details(error.code(), error.details() or "", details)

    @classmethod
    def with_details(cls, code: grpc.StatusCode, message: str, details: Iterable[Any]) -> CallError:
        """Creates an error with the status's google.rpc details."""
        error = cls(code, message)
        for detail in details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            # Details of another program are ignored.
            with contextlib.suppress(DecodeError):
                if detail.Unpack(info):
                    error.reason, error.metadata = info.reason, dict(info.metadata)
                elif detail.Unpack(bad):
                    error.field_violations = tuple(
                        FieldViolation(violation.field, violation.description)
                        for violation in bad.field_violations
                    )
                elif detail.Unpack(retry):
                    error.retry_delay_seconds = retry.retry_delay.ToNanoseconds() / 1e9
        return error


class LostContact(TaraExportError):
    """No progress within the timeout. An export may still be running: watch it later."""

    def __init__(self, name: str, last: CallError) -> None:
        super().__init__(f"no progress of {name}, it may still be running: {last}")
        self.name = name
        self.last = last


class ExportFailed(TaraExportError):
    """The export ended without a bundle."""

    def __init__(self, name: str, reason: str, message: str) -> None:
        super().__init__(f"{printable(message)} ({printable(reason)})")
        self.name = name
        self.reason = reason


class Damaged(TaraExportError):
    """The received bytes do not match the size or digest that the server reported."""


class UntrustedResponse(TaraExportError):
    """A response that no tara-export server sends, such as a path outside of its folder."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"cannot use the server's response for {printable(name)}: {problem}; check the server's address, "
            "and that no other program is listening there"
        )
        #: The requested exports/{export_id} or uploads/{upload_id}.
        self.name = name
