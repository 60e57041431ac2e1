"""A request that is not sent yet, with its documents in files."""

from __future__ import annotations

import hashlib
import os
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Optional, Union

from tara.export.v1 import review_pb2, service_pb2

from ..document_file import read_document, violation
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
    #: The bytes of the file, if they were read.
    content: Optional[bytes] = field(default=None, repr=False)

    def loaded(self, max_bytes: int) -> Optional[DocumentFile]:
        """The document with its bytes. None if it is larger than `max_bytes`. Raises OSError."""
        if self.path.stat().st_size > max_bytes:
            return None
        content = read_document(self.path)
        if len(content) > max_bytes:
            return None
        return replace(self, content=content, sha256=hashlib.sha256(content).hexdigest())


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

    def loaded(self, max_document_bytes: int) -> Optional[OutgoingRequest]:
        """The request with the bytes of its documents, so that their files are not read again.

        None if a document is larger or cannot be read.
        """
        try:
            documents = [document.loaded(max_document_bytes) for document in self.documents]
        except OSError:
            return None
        complete = tuple(document for document in documents if document is not None)
        return OutgoingRequest(self.request, complete) if len(complete) == len(documents) else None

    @property
    def is_loaded(self) -> bool:
        """Whether the bytes of all documents are in memory."""
        return all(document.content is not None for document in self.documents)

    def with_contents(self) -> service_pb2.StartExportRequest:
        """The request with the bytes of its documents, if they are in memory."""
        request = service_pb2.StartExportRequest()
        request.CopyFrom(self.request)
        for document in self.documents:
            request.documents.add(
                kind=document.kind,
                file_name=document.file_name,
                content=document.content,
                sha256=document.sha256,
            )
        return request

    @classmethod
    def of_request(cls, request: service_pb2.StartExportRequest, path: Path) -> OutgoingRequest:
        """The reverse of `with_contents`, from the file with this path."""
        documents = tuple(
            DocumentFile(
                review_pb2.Document.Kind.Name(document.kind),
                document.file_name,
                path,
                document.sha256,
                document.content,
            )
            for document in request.documents
        )
        del request.documents[:]
        return cls(request, documents)


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
