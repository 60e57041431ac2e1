"""Checks of names in responses: exports, uploads, folders and files. No IO.

`clients/README.md` defines the rules; `clients/hostile-server.json` has examples that every client accepts or
rejects.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from typing import Optional

from tara.export.v1 import automation_pb2, batch_pb2, export_pb2, service_pb2, upload_pb2

from .errors import Damaged, UntrustedResponse, printable

MANIFEST = "manifest.json"
_MAX_SEGMENT_BYTES = 255
_MAX_FOLDER_BYTES = 227
_MAX_PATH_BYTES = 600
_MAX_QUOTED = 200
_ARCHIVE_SUFFIX = ".zip"
_EXPORT = re.compile("exports/[0-9A-Za-z-]{1,64}")
_UPLOAD = re.compile("uploads/[0-9A-Za-z-]{1,64}")
_SEPARATORS_AND_CONTROLS = re.compile("[/\\\\\x00-\x1f\x7f-\x9f]")
#: Characters that reorder text, end a line or are invisible.
_MISLEADING = re.compile("[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_RESERVED_CHARACTERS = re.compile('[<>:"|?*]')
_DEVICE = re.compile("(CON|PRN|AUX|NUL|CONIN[$]|CONOUT[$]|(COM|LPT)[0-9¹²³])", re.IGNORECASE)


def segment_violation(name: str, max_bytes: int = _MAX_SEGMENT_BYTES) -> Optional[str]:
    """Returns why `name` is not a valid path segment; None if it is valid."""
    if not name:
        return "is empty"
    if len(name.encode("utf-8", "surrogatepass")) > max_bytes:
        return f"is longer than {max_bytes} bytes"
    if name.startswith("."):
        return "starts with a dot"
    if _SEPARATORS_AND_CONTROLS.search(name):
        return "contains a slash, a backslash or a control character"
    return None


def folder_violation(name: str) -> Optional[str]:
    """Returns why `name` is not a valid bundle folder name; None if it is valid."""
    return segment_violation(name, _MAX_FOLDER_BYTES)


def path_violation(path: str) -> Optional[str]:
    """Returns why `path` is not a valid path of a file in a bundle; None if it is valid."""
    if len(path.encode("utf-8", "surrogatepass")) > _MAX_PATH_BYTES:
        return f"is longer than {_MAX_PATH_BYTES} bytes"
    return next(filter(None, map(segment_violation, path.split("/"))), None)


def file_name_violation(name: str) -> Optional[str]:
    """Returns why `name` is not a valid file or folder name on every system; None if it is valid.

    Check a text from the server with this before using it as a file name: names in adopted bundles may have a
    special meaning on this system.
    """
    violation = segment_violation(name)
    if violation:
        return violation
    if name.endswith((".", " ")):
        return "ends with a dot or a space"
    if _RESERVED_CHARACTERS.search(name):
        return 'contains one of the characters < > : " | ? *'
    if _DEVICE.fullmatch(name.partition(".")[0].rstrip(" ")):
        return "is a Windows device name"
    if _MISLEADING.search(name):
        return "contains a character that is invisible or reorders text"
    return None


def check_folder_name(export_name: str, folder_name: str) -> None:
    """Raises UntrustedResponse unless this is a valid folder name on every system."""
    violation = folder_violation(folder_name) or file_name_violation(folder_name)
    if violation:
        raise UntrustedResponse(export_name, f"folder_name {quoted(folder_name)} {violation}")


def unpacked_paths(folder_name: str, entries: Iterable[str]) -> list[str]:
    """Returns the paths of a ZIP file's entries relative to the bundle's folder, in the same order.

    Raises Damaged if an entry is outside of the folder, or two entries would be the same file on some system.
    """
    paths: list[str] = []
    #: By case-folded and normalized path.
    files: dict[str, str] = {}
    folders: dict[str, str] = {}
    for entry in entries:
        folder, _, path = entry.partition("/")
        if folder != folder_name:
            raise Damaged(f"{quoted(entry)} is not in the folder {quoted(folder_name)}")
        names = path.split("/")
        violation = path_violation(path) or next(filter(None, map(file_name_violation, names)), None)
        if violation:
            raise Damaged(f"{quoted(entry)} {violation}")
        for parent in itertools.accumulate(names[:-1], "{}/{}".format):
            key = _folded(parent)
            _reject_conflict(parent, folders.setdefault(key, parent))
            _reject_conflict(parent, files.get(key, parent), key in files)
        key = _folded(path)
        _reject_conflict(path, files.get(key) or folders.get(key) or path, key in files or key in folders)
        files[key] = path
        paths.append(path)
    return paths


def _reject_conflict(path: str, other: str, is_taken: bool = False) -> None:
    if is_taken or other != path:
        raise Damaged(f"{quoted(path)} and {quoted(other)} have the same name on some systems")


def _folded(path: str) -> str:
    """Returns the same text for all spellings that a file system may treat as equal."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def quoted(text: str) -> str:
    """Quotes a text from the server for a message."""
    shown = text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}…"
    return f'"{printable(shown)}"'


def check_export(export: export_pb2.Export, requested_name: Optional[str]) -> None:
    """Raises UntrustedResponse unless this is a valid export, with the requested name unless that is None."""
    if requested_name is None:
        requested_name = "a list of exports"
        check_export_name(requested_name, "name", export.name)
        requested_name = export.name
    else:
        check_same_export(requested_name, export.name)
    if export.folder_name:
        violation = folder_violation(export.folder_name)
        if violation:
            raise UntrustedResponse(requested_name, f"folder_name {quoted(export.folder_name)} {violation}")
    paths: set[str] = {MANIFEST}
    for artifact in export.artifacts:
        violation = path_violation(artifact.path)
        if not violation and artifact.path in paths:
            violation = "occurs twice"
        if not violation and artifact.size_bytes < 0:
            violation = "has a negative size"
        if violation:
            raise UntrustedResponse(requested_name, f"path {quoted(artifact.path)} in artifacts {violation}")
        paths.add(artifact.path)


def check_listed_event(event: automation_pb2.Event) -> None:
    """Raises UntrustedResponse unless the event is valid in a list. An event of no export has no name."""
    if event.export:
        check_export_name("a list of events", "export", event.export)


def check_export_name(subject: str, field: str, name: str) -> None:
    """Raises UntrustedResponse unless `name` is exports/{export_id}."""
    if not _EXPORT.fullmatch(name):
        raise UntrustedResponse(subject, f"{field} {quoted(name)} is not an export name")


def check_same_export(requested_name: str, name: str) -> None:
    """Raises UntrustedResponse unless `name` is the requested export."""
    # Servers return names in lower case, regardless of the case in the request.
    if name != requested_name.lower():
        raise UntrustedResponse(requested_name, f"name {quoted(name)} belongs to another export")


def check_event(event: export_pb2.ExportEvent, requested_name: str) -> None:
    """Raises UntrustedResponse unless this is a valid event of the requested export."""
    check_same_export(requested_name, event.name)
    if event.HasField("completed"):
        check_export(event.completed.export, requested_name)
    elif event.HasField("failed") and event.failed.stored_under:
        check_export_name(requested_name, "stored_under", event.failed.stored_under)


def check_batch(batch: batch_pb2.Batch, requested_name: str) -> None:
    """Raises UntrustedResponse unless this is the requested batch, with valid items."""
    if batch.name != requested_name.lower():
        raise UntrustedResponse(requested_name, f"name {quoted(batch.name)} belongs to another batch")
    for item in batch.items:
        _check_batch_item(item, requested_name)


def check_batch_step(step: batch_pb2.WatchBatchResponse, requested_name: str) -> None:
    """Raises UntrustedResponse unless this is a valid step of the requested batch."""
    if step.HasField("item"):
        _check_batch_item(step.item, requested_name)
    elif step.HasField("ended"):
        check_batch(step.ended, requested_name)


def _check_batch_item(item: batch_pb2.BatchItem, requested_name: str) -> None:
    if item.index < 0:
        raise UntrustedResponse(requested_name, f"index {item.index} is negative")
    check_export_name(requested_name, "export", item.export)
    if item.stored_under:
        check_export_name(requested_name, "stored_under", item.stored_under)


def check_artifact(artifact: export_pb2.Artifact, export_name: str, requested_path: str) -> None:
    """Raises UntrustedResponse unless the artifact describes the requested file."""
    if artifact.path != requested_path:
        raise UntrustedResponse(
            export_name, f"path {quoted(artifact.path)} is not the requested {quoted(requested_path)}"
        )
    if artifact.size_bytes < 0:
        raise UntrustedResponse(
            export_name, f"size_bytes {artifact.size_bytes} of {quoted(requested_path)} is negative"
        )


def check_archive(archive: service_pb2.BundleArchive, export_name: str) -> None:
    """Raises UntrustedResponse unless the archive has a folder name with the extension `.zip`."""
    name = archive.file_name
    folder = name[: -len(_ARCHIVE_SUFFIX)] if name.endswith(_ARCHIVE_SUFFIX) else ""
    violation = folder_violation(folder) if folder else "is not a ZIP file name"
    if violation:
        raise UntrustedResponse(export_name, f"file_name {quoted(name)} {violation}")


def check_upload(upload: upload_pb2.Upload, requested_name: str, size_bytes: int) -> None:
    """Raises UntrustedResponse unless this is a valid upload, with `requested_name` unless that is empty."""
    subject = requested_name or "a new upload"
    if not _UPLOAD.fullmatch(upload.name):
        raise UntrustedResponse(subject, f"name {quoted(upload.name)} is not an upload name")
    if requested_name and upload.name != requested_name:
        raise UntrustedResponse(subject, f"name {quoted(upload.name)} belongs to another upload")
    committed = upload.committed_size_bytes
    if not 0 <= committed <= size_bytes:
        raise UntrustedResponse(
            subject, f"committed_size_bytes {committed} is not between 0 and {size_bytes}"
        )
    if upload.chunk_size_bytes < 0:
        raise UntrustedResponse(subject, f"chunk_size_bytes {upload.chunk_size_bytes} is negative")
