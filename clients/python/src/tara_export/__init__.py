"""Client of tara-export."""

from .client import Client
from .errors import (
    CallError,
    Damaged,
    ExportFailed,
    FieldViolation,
    LostContact,
    TaraExportError,
    UntrustedAnswer,
    printable,
)
from .names import file_name_violation
from .patience import Patience

__all__ = [
    "CallError",
    "Client",
    "Damaged",
    "ExportFailed",
    "FieldViolation",
    "LostContact",
    "Patience",
    "TaraExportError",
    "UntrustedAnswer",
    "file_name_violation",
    "printable",
]
