"""A request that is not sent yet, with its documents in files."""

from __future__ import annotations

import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from tara.export.v1 import service_pb2

from ..document_file import violation
from ..errors import Damaged
from ..review import review_from_session
from ..review.plain import text
from ..review.replacements import Reason

#: The path of a document, or None.
DocumentPath = Optional[Union[str, "os.PathLike[str]"]]


class DamagedEntry(Damaged):
    """A queued request was changed on disk."""


@dataclass(frozen=True)
class DocumentFile:
    """A document of a request."""

    #: The name of a Document.Kind.
    kind: str
    #: The caller's file name.
    file_name: str
    path: Path
    #: The expected digest of the file; empty if it is not known.
    sha256: str = ""


@dataclass(frozen=True)
class OutgoingRequest:
    """A request and its documents, in order."""

    #: Without documents.
    request: service_pb2.StartExportRequest
    documents: tuple[DocumentFile, ...]

    @property
    def request_id(self) -> str:
        """The export's id. Retrying with the same id never creates a second bundle."""
        return self.request.request_id


def request_from_session(
    session: Any, before: DocumentPath, after: DocumentPath, notify_emails: Sequence[str] = ()
) -> tuple[OutgoingRequest, list[str]]:
    """Creates the session's request with a new id, and returns it with human-readable warnings.

    Raises TypeError if `notify_emails` is a text instead of a list of them.
    """
    if isinstance(notify_emails, str):
        raise TypeError("notify_emails must be a list of addresses, not a text")
    documents: list[DocumentFile] = []
    warnings: list[str] = []
    renamed: list[int] = []
    for kind, path in (
        ("KIND_BEFORE", before),
        ("KIND_AFTER", after),
        ("KIND_GUIDELINES", getattr(session, "guidelines_path", None)),
    ):
        if not path:
            continue
        # The working directory may change before the request is sent.
        file = Path(path).absolute()
        reason = violation(file)
        if reason:
            warnings.append(f"{path}: {reason}, so the bundle does not contain it")
            continue
        name, is_replaced = _name(file)
        if is_replaced:
            renamed.append(len(documents))
            warnings.append(f"{name}: the file's name is not Unicode: exported with U+FFFD")
        documents.append(DocumentFile(kind, name, file))
    review, replaced = review_from_session(session)
    for index in renamed:
        review.replacements.add(path=f"documents[{index}].file_name", reason=Reason.NOT_UNICODE.name)
    request = service_pb2.StartExportRequest(
        request_id=str(uuid.uuid4()), review=review, notify_emails=notify_emails
    )
    return OutgoingRequest(request, tuple(documents)), [*warnings, *replaced]


def _name(file: Path) -> tuple[str, bool]:
    """The file's name, and whether a part of it was replaced because it is not Unicode."""
    reasons: list[Reason] = []
    return text(file.name, reasons.append), bool(reasons)
