"""Checks of what a server names: exports, uploads, folders and files. No IO.

`clients/README.md` has the rules, `clients/hostile-server.json` names that every client accepts or refuses.
"""

from __future__ import annotations

import itertools
import re
import unicodedata
from collections.abc import Iterable
from typing import Optional

from tara.export.v1 import export_pb2, service_pb2, upload_pb2

from .errors import Damaged, UntrustedAnswer, printable

MANIFEST = "manifest.json"
_MAX_PART_BYTES = 255
_MAX_FOLDER_BYTES = 227
_MAX_PATH_BYTES = 600
_MAX_QUOTED = 200
_ARCHIVE_SUFFIX = ".zip"
_EXPORT = re.compile("exports/[0-9A-Za-z-]{1,64}")
_UPLOAD = re.compile("uploads/[0-9A-Za-z-]{1,64}")
_SEPARATORS_AND_CONTROLS = re.compile("[/\\\\\x00-\x1f\x7f-\x9f]")
#: They turn the direction of writing, end a line or are invisible.
_MISLEADING = re.compile("[\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff]")
_RESERVED_CHARACTERS = re.compile('[<>:"|?*]')
_DEVICE = re.compile("(CON|PRN|AUX|NUL|CONIN[$]|CONOUT[$]|(COM|LPT)[0-9¹²³])", re.IGNORECASE)


def part_violation(name: str, max_bytes: int = _MAX_PART_BYTES) -> Optional[str]:
    """Why no server sends `name` as one part of a path, or None."""
    if not name:
        return "is empty"
    if len(name.encode("utf-8", "surrogatepass")) > max_bytes:
        return f"is longer than {max_bytes} bytes"
    if name.startswith("."):
        return "starts with a dot"
    if _SEPARATORS_AND_CONTROLS.search(name):
        return "has a slash, a backslash or a control character"
    return None


def folder_violation(name: str) -> Optional[str]:
    """Why no server sends `name` as the name of a bundle's folder, or None."""
    return part_violation(name, _MAX_FOLDER_BYTES)


def path_violation(path: str) -> Optional[str]:
    """Why no server sends `path` as the path of a file in a bundle, or None."""
    if len(path.encode("utf-8", "surrogatepass")) > _MAX_PATH_BYTES:
        return f"is longer than {_MAX_PATH_BYTES} bytes"
    return next(filter(None, map(part_violation, path.split("/"))), None)


def file_name_violation(name: str) -> Optional[str]:
    """Why `name` can't be the name of a file or folder on some system, or None.

    Check this before a server's name becomes the name of a file: names in adopted bundles may mean something
    else on this system.
    """
    violation = part_violation(name)
    if violation:
        return violation
    if name.endswith((".", " ")):
        return "ends with a dot or a space"
    if _RESERVED_CHARACTERS.search(name):
        return 'has one of the characters < > : " | ? *'
    if _DEVICE.fullmatch(name.partition(".")[0].rstrip(" ")):
        return "is the name of a device on Windows"
    if _MISLEADING.search(name):
        return "has a character that is invisible or changes the order of the others"
    return None


def check_folder_name(export_name: str, folder_name: str) -> None:
    """Raises UntrustedAnswer unless a folder can have this name on every system."""
    violation = folder_violation(folder_name) or file_name_violation(folder_name)
    if violation:
        raise UntrustedAnswer(export_name, f"folder_name {quoted(folder_name)} {violation}")


def unpacked_paths(folder_name: str, entries: Iterable[str]) -> list[str]:
    """The paths in the bundle's folder that a ZIP file's entries have, in the same order.

    Raises Damaged where one leads out of the folder, or two would be the same file on some system.
    """
    paths: list[str] = []
    #: By what all spellings of a file or folder have in common.
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
            _refuse_twin(parent, folders.setdefault(key, parent))
            _refuse_twin(parent, files.get(key, parent), key in files)
        key = _folded(path)
        _refuse_twin(path, files.get(key) or folders.get(key) or path, key in files or key in folders)
        files[key] = path
        paths.append(path)
    return paths


def _refuse_twin(path: str, other: str, is_taken: bool = False) -> None:
    if is_taken or other != path:
        raise Damaged(f"{quoted(path)} and {quoted(other)} have the same name on some systems")


def _folded(path: str) -> str:
    """The same for all spellings that some file system takes for one."""
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", path).casefold())


def quoted(text: str) -> str:
    """A server's text in a message."""
    shown = text if len(text) <= _MAX_QUOTED else f"{text[:_MAX_QUOTED]}…"
    return f'"{printable(shown)}"'


def check_export(export: export_pb2.Export, asked_name: Optional[str]) -> None:
    """Raises UntrustedAnswer unless this can be the export that was asked for; None: any."""
    if asked_name is None:
        asked_name = "a list of exports"
        check_export_name(asked_name, "name", export.name)
        asked_name = export.name
    else:
        check_same_export(asked_name, export.name)
    if export.folder_name:
        violation = folder_violation(export.folder_name)
        if violation:
            raise UntrustedAnswer(asked_name, f"folder_name {quoted(export.folder_name)} {violation}")
    paths: set[str] = {MANIFEST}
    for artifact in export.artifacts:
        violation = path_violation(artifact.path)
        if not violation and artifact.path in paths:
            violation = "is there twice"
        if not violation and artifact.size_bytes < 0:
            violation = "has a size below 0"
        if violation:
            raise UntrustedAnswer(asked_name, f"path {quoted(artifact.path)} in artifacts {violation}")
        paths.add(artifact.path)


def check_export_name(of: str, field: str, name: str) -> None:
    """Raises UntrustedAnswer unless `name` is exports/{export_id}."""
    if not _EXPORT.fullmatch(name):
        raise UntrustedAnswer(of, f"{field} {quoted(name)} is not the name of an export")


def check_same_export(asked_name: str, name: str) -> None:
    """Raises UntrustedAnswer unless `name` is the export that was asked for."""
    # Servers answer in lower case, whatever case a request has.
    if name != asked_name.lower():
        raise UntrustedAnswer(asked_name, f"name {quoted(name)} is of another export")


def check_event(event: export_pb2.ExportEvent, asked_name: str) -> None:
    """Raises UntrustedAnswer unless the event can be of the export that was asked for."""
    check_same_export(asked_name, event.name)
    if event.HasField("completed"):
        check_export(event.completed.export, asked_name)
    elif event.HasField("failed") and event.failed.kept_as:
        check_export_name(asked_name, "kept_as", event.failed.kept_as)


def check_artifact(artifact: export_pb2.Artifact, export_name: str, asked_path: str) -> None:
    """Raises UntrustedAnswer unless this can be the file that was asked for."""
    if artifact.path != asked_path:
        raise UntrustedAnswer(
            export_name, f"path {quoted(artifact.path)} is not the requested {quoted(asked_path)}"
        )
    if artifact.size_bytes < 0:
        raise UntrustedAnswer(
            export_name, f"size_bytes {artifact.size_bytes} of {quoted(asked_path)} is below 0"
        )


def check_archive(archive: service_pb2.BundleArchive, export_name: str) -> None:
    """Raises UntrustedAnswer unless the archive has the name of a folder, with .zip."""
    name = archive.file_name
    folder = name[: -len(_ARCHIVE_SUFFIX)] if name.endswith(_ARCHIVE_SUFFIX) else ""
    violation = folder_violation(folder) if folder else "is not the name of a ZIP file"
    if violation:
        raise UntrustedAnswer(export_name, f"file_name {quoted(name)} {violation}")


def check_upload(upload: upload_pb2.Upload, asked_name: str, size_bytes: int) -> None:
    """Raises UntrustedAnswer unless this can be the upload `asked_name`, or any if that is empty."""
    of = asked_name or "a new upload"
    if not _UPLOAD.fullmatch(upload.name):
        raise UntrustedAnswer(of, f"name {quoted(upload.name)} is not the name of an upload")
    if asked_name and upload.name != asked_name:
        raise UntrustedAnswer(of, f"name {quoted(upload.name)} is of another upload")
    committed = upload.committed_size_bytes
    if not 0 <= committed <= size_bytes:
        raise UntrustedAnswer(of, f"committed_size_bytes {committed} is not between 0 and {size_bytes}")
    if upload.chunk_size_bytes < 0:
        raise UntrustedAnswer(of, f"chunk_size_bytes {upload.chunk_size_bytes} is below 0")
