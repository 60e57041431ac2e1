"""Sends a request, follows the export until there is a bundle, and classifies failures."""

from __future__ import annotations

import enum
import hashlib
import re
import time
from collections.abc import Iterator
from typing import Union

import grpc

from tara.export.v1 import export_pb2, review_pb2, service_pb2, upload_pb2

from ..client import Client
from ..document_file import read_document
from ..errors import (
    CallError,
    ExportFailed,
    LostContact,
    Reason,
    TaraExportError,
    UntrustedResponse,
    printable,
)
from ..names import check_folder_name, quoted
from .outgoing import DamagedEntry, DocumentFile, OutgoingRequest

#: Larger documents are uploaded before the request, as by `tara-export export`. Three such documents and a
#: review fit into the servers' default limit.
MAX_INLINE_BYTES = 8 * 1024 * 1024
#: Errors of the connection, which are the same for every request.
_UNREACHABLE_REASONS = (Reason.HTTP_ERROR, Reason.INVALID_RESPONSE, Reason.TLS_FAILED, Reason.HOST_NOT_FOUND)
_PROGRESS = ("artifact_progress", "artifact_stored", "fell_back")


class FailureKind(enum.Enum):
    """Whether a retry of the same request can succeed after a failure."""

    #: The server cannot be reached or refuses the token, so other requests would fail too.
    UNREACHABLE = enum.auto()
    #: This request failed, but a later retry may succeed.
    TEMPORARY = enum.auto()
    #: The same request will always fail.
    PERMANENT = enum.auto()


class Stalled(TaraExportError):
    """The server has accepted the export, but makes no progress."""


def failure_kind(error: Exception) -> FailureKind:
    """Classifies an error of a request."""
    if isinstance(error, LostContact):
        # An overloaded server is reachable.
        return FailureKind.UNREACHABLE if error.last.is_unavailable else FailureKind.TEMPORARY
    if isinstance(error, (ExportFailed, DamagedEntry)):
        return FailureKind.PERMANENT
    if not isinstance(error, CallError):
        return FailureKind.TEMPORARY
    if error.is_unavailable or error.code == grpc.StatusCode.UNAUTHENTICATED:
        return FailureKind.UNREACHABLE
    # A proxy's limit may be too low for this request only.
    if error.reason in _UNREACHABLE_REASONS and not error.is_too_large_for_proxy:
        return FailureKind.UNREACHABLE
    permanent_codes = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS)
    if error.code in permanent_codes or error.reason == "REQUEST_TOO_LARGE":
        return FailureKind.PERMANENT
    return FailureKind.TEMPORARY


def send(client: Client, outgoing: OutgoingRequest, stall_timeout_seconds: float) -> export_pb2.Export:
    """Exports the request and returns the completed export. Retrying returns the same export.

    Raises Stalled if there was no progress for `stall_timeout_seconds`, because no store accepts the bundle.
    """
    try:
        return _send(client, outgoing, MAX_INLINE_BYTES, stall_timeout_seconds)
    except CallError as error:
        if error.reason != "REQUEST_TOO_LARGE" or not outgoing.documents:
            raise
        # This server's limit is lower than the default.
        return _send(client, outgoing, 0, stall_timeout_seconds)


def _send(
    client: Client, outgoing: OutgoingRequest, max_inline_bytes: int, stall_timeout_seconds: float
) -> export_pb2.Export:
    request = with_documents(client, outgoing, max_inline_bytes)
    name = f"exports/{outgoing.request_id}"
    final = _final_event(client.export(request), name, stall_timeout_seconds)
    if isinstance(final, export_pb2.Failed) and final.stored_under:
        # The id belonged to other content, so the server stored this content under a derived id.
        final = _final_event(client.watch(final.stored_under), final.stored_under, stall_timeout_seconds)
    if isinstance(final, export_pb2.Failed):
        raise ExportFailed(name, final.reason, final.message)
    # Check before the request is removed from the queue: an untrusted server may have stored nothing.
    check_stored(final.export)
    return final.export


def with_documents(
    client: Client, outgoing: OutgoingRequest, max_inline_bytes: int
) -> service_pb2.StartExportRequest:
    """The request with its documents, of which larger ones are uploaded."""
    request = service_pb2.StartExportRequest()
    request.CopyFrom(outgoing.request)
    for document in outgoing.documents:
        request.documents.append(_document(client, document, max_inline_bytes))
    return request


def check_stored(export: export_pb2.Export) -> None:
    """Raises UntrustedResponse unless the export has a valid folder name and, in S3, a valid location."""
    check_folder_name(export.name, export.folder_name)
    if export.stored_in != export_pb2.DESTINATION_S3:
        return
    found = re.fullmatch("s3://([^/]+)/((?:.+/)?)", export.location, re.DOTALL)
    folder = f"{export.folder_name}/"
    if (
        not found
        or f"/{found[2]}"[-len(folder) - 1 :] != f"/{folder}"
        or printable(export.location) != export.location
    ):
        raise UntrustedResponse(
            export.name, f"location {quoted(export.location)} is not the folder {quoted(folder)} in S3"
        )


def _document(client: Client, file: DocumentFile, max_inline_bytes: int) -> review_pb2.Document:
    document = review_pb2.Document(kind=file.kind, file_name=file.file_name)
    content = file.content
    if content is None and file.path.stat().st_size <= max_inline_bytes:
        content = read_document(file.path)
    if content is None or len(content) > max_inline_bytes:
        upload = client.upload_file(file.path) if file.content is None else _upload_content(client, file)
        document.upload, document.sha256 = upload.name, upload.sha256
    elif file.content is not None and file.sha256:
        document.content, document.sha256 = content, file.sha256
    else:
        document.content, document.sha256 = content, hashlib.sha256(content).hexdigest()
    if file.sha256 not in ("", document.sha256):
        raise DamagedEntry(f"SHA-256 of {file.path} is {document.sha256} instead of {file.sha256}")
    return document


def _upload_content(client: Client, file: DocumentFile) -> upload_pb2.Upload:
    # The file may have other bytes by now.
    return client.upload_document(review_pb2.Document(file_name=file.file_name, content=file.content))


def _final_event(
    events: Iterator[export_pb2.ExportEvent], name: str, stall_timeout_seconds: float
) -> Union[export_pb2.Completed, export_pb2.Failed]:
    progress_time = time.monotonic()
    for event in events:
        kind = event.WhichOneof("event")
        if kind == "completed":
            return event.completed
        if kind == "failed":
            return event.failed
        if kind in _PROGRESS:
            progress_time = time.monotonic()
        elif time.monotonic() - progress_time > stall_timeout_seconds:
            raise Stalled(f"the server has accepted {name}, but cannot store the bundle at the moment")
    raise TaraExportError(f"the events of {name} ended before the export")
