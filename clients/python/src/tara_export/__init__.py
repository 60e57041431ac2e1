"""Client of tara-export."""

from .client import Client
from .errors import CallError, Damaged, ExportFailed, FieldViolation, LostContact, TaraExportError
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
]
