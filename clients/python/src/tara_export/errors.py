"""What can go wrong, as exceptions."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status

#: What a terminal obeys, and what turns the direction of writing, ends a line or is invisible.
_NOT_PRINTABLE = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]"
)


def printable(text: str) -> str:
    """A server's text, safe to print: escapes control characters and those that reorder text."""
    return _NOT_PRINTABLE.sub(lambda found: f"\\u{{{ord(found[0]):x}}}", text)


class TaraExportError(Exception):
    """Any failure of this client."""


@dataclass(frozen=True)
class FieldViolation:
    """One field of a bad request."""

    field: str
    description: str


class CallError(TaraExportError):
    """The server refused a call, or the call was lost."""

    def __init__(self, code: grpc.StatusCode, message: str) -> None:
        super().__init__(f"{printable(message)} ({code.name})")
        self.code = code
        self.message = message
        #: The UPPER_SNAKE word of google.rpc.ErrorInfo; empty where there is none.
        self.reason = ""
        self.metadata: dict[str, str] = {}
        self.field_violations: tuple[FieldViolation, ...] = ()
        #: How long to wait before trying again, of google.rpc.RetryInfo.
        self.retry_delay_seconds: Optional[float] = None

    @property
    def is_unavailable(self) -> bool:
        """Whether the same may work a moment later."""
        # A connection that is cut inside an answer has no status: grpcio says INTERNAL or UNKNOWN, and an
        # answer of the server has an ErrorInfo.
        without_answer = (
            grpc.StatusCode.UNKNOWN,
            grpc.StatusCode.INTERNAL,
            grpc.StatusCode.DEADLINE_EXCEEDED,
        )
        return self.code == grpc.StatusCode.UNAVAILABLE or (not self.reason and self.code in without_answer)

    @classmethod
    def from_rpc(cls, error: Any) -> CallError:
        """An error of grpcio, of threads or of asyncio."""
        status = rpc_status.from_call(error)
        return cls.with_details(
            error.code(), error.details() or "", status.details if status is not None else ()
        )

    @classmethod
    def with_details(cls, code: grpc.StatusCode, message: str, details: Iterable[Any]) -> CallError:
        """With the google.rpc details that came with the status."""
        made = cls(code, message)
        for detail in details:
            info, bad = error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest()
            retry = error_details_pb2.RetryInfo()
            if detail.Unpack(info):
                made.reason, made.metadata = info.reason, dict(info.metadata)
            elif detail.Unpack(bad):
                made.field_violations = tuple(
                    FieldViolation(violation.field, violation.description)
                    for violation in bad.field_violations
                )
            elif detail.Unpack(retry):
                made.retry_delay_seconds = retry.retry_delay.ToNanoseconds() / 1e9
        return made


class LostContact(TaraExportError):
    """Nothing was heard for so long that it was given up. An export may go on: watch it later."""

    def __init__(self, name: str, last: CallError) -> None:
        super().__init__(f"no news of {name}, it may still go on: {last}")
        self.name = name
        self.last = last


class ExportFailed(TaraExportError):
    """The export ended without a bundle."""

    def __init__(self, name: str, reason: str, message: str) -> None:
        super().__init__(f"{printable(message)} ({printable(reason)})")
        self.name = name
        self.reason = reason


class Damaged(TaraExportError):
    """What came is not what the server says the file is."""


class UntrustedAnswer(TaraExportError):
    """An answer that no tara-export server gives, such as a path that leads out of its folder."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(
            f"cannot use the server's answer for {printable(name)}: {problem}; check the server's address, "
            "and that no other program answers there"
        )
        #: exports/{export_id} or uploads/{upload_id}, as it was asked for.
        self.name = name
