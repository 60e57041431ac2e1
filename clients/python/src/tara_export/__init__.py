"""Client of tara-export."""

from .client import Client
from .errors import (
    CallError,
    Damaged,
    ExportFailed,
    FieldViolation,
    LostContact,
    TaraExportError,
    UntrustedResponse,
    printable,
)
from .names import file_name_violation
from .retry import Policy
from .review import SessionError, review_from_session

__all__ = [
    "CallError",
    "Client",
    "Damaged",
    "ExportFailed",
    "FieldViolation",
    "LostContact",
    "Policy",
    "SessionError",
    "TaraExportError",
    "UntrustedResponse",
    "file_name_violation",
    "printable",
    "review_from_session",
]
