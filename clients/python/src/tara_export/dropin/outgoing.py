"""A request that is to be sent, with its documents still in files."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

from tara.export.v1 import service_pb2

from ..errors import Damaged
from .session import review_from_session
from .values import SessionError

#: What callers may give as a document: nothing, or where it lies.
DocumentPath = Optional[Union[str, "os.PathLike[str]"]]


class DamagedEntry(Damaged):
    """What lies in the queue is not what was put there."""


@dataclass(frozen=True)
class DocumentFile:
    """A document of a request."""

    #: The name of a Document.Kind.
    kind: str
    #: The caller's own name of the file.
    file_name: str
    path: Path
    #: What the file has to hold; empty where nobody has looked yet.
    sha256: str = ""


@dataclass(frozen=True)
class Outgoing:
    """A request, and its documents in the order in which it names them."""

    #: Without documents.
    request: service_pb2.StartExportRequest
    documents: tuple[DocumentFile, ...]

    @property
    def request_id(self) -> str:
        """The export's id: with it, sending again never makes a second bundle."""
        return self.request.request_id


def outgoing_from_session(
    session: Any, before: DocumentPath, after: DocumentPath
) -> tuple[Outgoing, list[str]]:
    """The session's request under an id of its own, and what a person should know about it."""
    documents, warnings = [], []
    for kind, path in (
        ("KIND_BEFORE", before),
        ("KIND_AFTER", after),
        ("KIND_GUIDELINES", getattr(session, "guidelines_path", None)),
    ):
        if not path:
            continue
        # The folder may change before the request is sent.
        file = Path(path).absolute()
        if not file.is_file():
            warnings.append(f"{path}: there is no such file, so the bundle goes without it")
            continue
        documents.append(DocumentFile(kind, _name(file), file))
    review = review_from_session(session)
    request = service_pb2.StartExportRequest(request_id=str(uuid.uuid4()), review=review)
    return Outgoing(request, tuple(documents)), warnings


def _name(file: Path) -> str:
    try:
        file.name.encode()
    except UnicodeEncodeError:
        raise SessionError(repr(file.name), "the file's name is not Unicode; rename the file") from None
    return file.name
