"""What can go wrong, as exceptions."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Optional

import grpc
from google.rpc import error_details_pb2
from grpc_status import rpc_status


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
        super().__init__(f"{message} ({code.name})")
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
        super().__init__(f"{message} ({reason})")
        self.name = name
        self.reason = reason


class Damaged(TaraExportError):
    """What came is not what the server says the file is."""
