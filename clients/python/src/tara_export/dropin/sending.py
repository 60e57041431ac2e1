"""Sends a request and follows it until there is a bundle, and says what a failure means for a later try."""

from __future__ import annotations

import enum
import hashlib
import re
import time
from collections.abc import Iterator
from typing import Union

import grpc

from tara.export.v1 import export_pb2, review_pb2, service_pb2

from ..client import Client
from ..errors import CallError, ExportFailed, LostContact, TaraExportError, UntrustedAnswer, printable
from ..names import check_folder_name, quoted
from .outgoing import DamagedEntry, DocumentFile, Outgoing

#: What is larger is uploaded before the request, as by `tara-export export`: three documents and a review fit
#: into what servers take by default.
_LARGEST_INLINE_BYTES = 8 * 1024 * 1024
_PROGRESS = ("artifact_progress", "artifact_stored", "fell_back")


class Prospect(enum.Enum):
    """What a failure means for the same request, sent again."""

    #: Nothing can be sent at the moment.
    UNREACHABLE = enum.auto()
    #: This one can't; others may.
    LATER = enum.auto()
    #: Not as it is.
    NEVER = enum.auto()


class Stalled(TaraExportError):
    """The server has accepted the export, and comes no further with it at the moment."""


def prospect(error: Exception) -> Prospect:
    """What `error` means for the same request, sent again."""
    if isinstance(error, LostContact):
        # Of a server that is too busy there was news.
        return Prospect.UNREACHABLE if error.last.is_unavailable else Prospect.LATER
    if isinstance(error, (ExportFailed, DamagedEntry)):
        return Prospect.NEVER
    if not isinstance(error, CallError):
        return Prospect.LATER
    if error.is_unavailable:
        return Prospect.UNREACHABLE
    for_good = (grpc.StatusCode.INVALID_ARGUMENT, grpc.StatusCode.ALREADY_EXISTS)
    if error.code in for_good or error.reason == "REQUEST_TOO_LARGE":
        return Prospect.NEVER
    return Prospect.LATER


def send(client: Client, outgoing: Outgoing, stalled_seconds: float) -> export_pb2.Export:
    """Exports, and returns the export with its bundle. Sending the same again gives the same export.

    Raises Stalled when so long nothing went on: neither of the server's stores takes the bundle.
    """
    try:
        return _send(client, outgoing, _LARGEST_INLINE_BYTES, stalled_seconds)
    except CallError as error:
        if error.reason != "REQUEST_TOO_LARGE" or not outgoing.documents:
            raise
        # This server takes less in one request than servers do by default.
        return _send(client, outgoing, 0, stalled_seconds)


def _send(
    client: Client, outgoing: Outgoing, largest_inline_bytes: int, stalled_seconds: float
) -> export_pb2.Export:
    request = service_pb2.StartExportRequest()
    request.CopyFrom(outgoing.request)
    for document in outgoing.documents:
        request.documents.append(_document(client, document, largest_inline_bytes))
    name = f"exports/{outgoing.request_id}"
    end = _end(client.export(request), name, stalled_seconds)
    if isinstance(end, export_pb2.Failed) and end.kept_as:
        # Another content had this id already: the server kept this one under an id of its own.
        end = _end(client.watch(end.kept_as), end.kept_as, stalled_seconds)
    if isinstance(end, export_pb2.Failed):
        raise ExportFailed(name, end.reason, end.message)
    # Before the request counts as done: what a server says that is none has stored nothing.
    check_stored(end.export)
    return end.export


def check_stored(export: export_pb2.Export) -> None:
    """Raises UntrustedAnswer unless the export names its folder, and its place if that is in S3."""
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
        raise UntrustedAnswer(
            export.name, f"location {quoted(export.location)} is not the folder {quoted(folder)} in S3"
        )


def _document(client: Client, file: DocumentFile, largest_inline_bytes: int) -> review_pb2.Document:
    made = review_pb2.Document(kind=file.kind, file_name=file.file_name)
    if file.path.stat().st_size > largest_inline_bytes:
        upload = client.upload_file(file.path)
        made.upload, made.sha256 = upload.name, upload.sha256
    else:
        content = file.path.read_bytes()
        made.content, made.sha256 = content, hashlib.sha256(content).hexdigest()
    if file.sha256 not in ("", made.sha256):
        raise DamagedEntry(f"{file.path} has SHA-256 {made.sha256}, and was queued with {file.sha256}")
    return made


def _end(
    events: Iterator[export_pb2.ExportEvent], name: str, stalled_seconds: float
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
        elif time.monotonic() - progress_time > stalled_seconds:
            raise Stalled(f"{name} is safe at the server, which can't store the bundle at the moment")
    raise TaraExportError(f"the events of {name} ended before it did")
