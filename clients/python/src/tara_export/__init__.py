"""Client of tara-export."""

from .client import Client
from .errors import (
    CallError,
    Damaged,
    ExportFailed,
    FieldViolation,
    LostContact,
    Reason,
    TaraExportError,
    UntrustedResponse,
    printable,
)
from .names import file_name_violation
from .retry import Policy
from .review import SessionError, review_from_session
from .tokens import TokenFile

__all__ = [
    "CallError",
    "Client",
    "Damaged",
    "ExportFailed",
    "FieldViolation",
    "LostContact",
    "Policy",
    "Reason",
    "SessionError",
    "TaraExportError",
    "TokenFile",
    "UntrustedResponse",
    "file_name_violation",
    "printable",
    "review_from_session",
]
