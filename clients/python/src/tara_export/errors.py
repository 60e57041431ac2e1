"""The exceptions of the client."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

import grpc
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


class CallError(TaraExportError):
    """The server rejected a call, or the connection was lost."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{printable(message)} ({code.name})")
        self.code = code
        self.message = message
        #: The UPPER_SNAKE reason of google.rpc.ErrorInfo; empty if there is none.
        self.reason = ""
        self.metadata: dict[str, str] = {}
        self.field_violations: tuple[FieldViolation, ...] = ()
        #: The delay before a retry, from google.rpc.RetryInfo.
        self.retry_delay_seconds: Optional[float] = None

    @property
    def is_unavailable(self) -> bool:
        """Whether a retry may succeed."""
        # grpcio uses INTERNAL or UNKNOWN if the connection is lost during a response. Errors from the server
        # have an ErrorInfo.
        connection_lost_codes = (
            grpc.StatusCode.UNKNOWN,
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        return self.code == grpc.StatusCode.UNAVAILABLE or (
            not self.reason and self.code in connection_lost_codes
        )

    @classmethod
    def from_rpc(cls, error: Any) -> CallError:
        """Converts an error of grpc or grpc.aio."""
        status = rpc_status.from_call(error)
        return cls.with_details(
            error.code(), error.details() or "", status.details if status is not None else ()
        )

    @classmethod
    def with_details(cls, code: grpc.StatusCode, message: str, details: Iterable[Any]) -> CallError:
        """Creates an error with the status's google.rpc details."""
        error = cls(code, message)
        for detail in details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
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
