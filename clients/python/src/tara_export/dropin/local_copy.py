"""Copies a bundle from the server's disk to this machine.

The caller cannot use the server's folder: it is on another machine, or is removed after the bundle is synced
to S3.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
import uuid
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from tara.export.v1 import export_pb2

from ..client import Client
from ..download import Download
from ..errors import Damaged, TaraExportError
from ..names import MANIFEST, check_export, check_folder_name, quoted, unpacked_paths
from .disk import make_folder

_PIECE_BYTES = 1024 * 1024
#: Upper bound for the size of the manifest and of the ZIP metadata.
_OVERHEAD_BYTES = 4 * 1024 * 1024
_OVERHEAD_BYTES_PER_FILE = 8 * 1024
#: A file that cannot be compressed grows by less than 1 in this number of bytes.
_GROWTH = 1000
#: The archive's list of digests.
_SUMS = "SHA256SUMS"
#: A line of it, as sha256sum writes it.
_SUM = re.compile("([0-9a-f]{64})  ([^\n]+)\n")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class CopiesFull(TaraExportError):
    """The copies have reached their size limit."""


class LocalCopies:
    """The folder with the copies."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def fetch(self, client: Client, export: export_pb2.Export) -> tuple[Path, Path]:
        """Downloads the bundle, verifies every file, and returns the copy's folder and its ZIP file.

        Writes only below the folder with the copies, and does not follow links in it. Raises CopiesFull,
        Damaged, UntrustedResponse, CallError, or OSError if a write fails.
        """
        check_export(export, export.name)
        check_folder_name(export.name, export.folder_name)
        make_folder(self._folder)
        used_bytes = sum(path.lstat().st_size for path in self._folder.rglob("*") if _is_file(path))
        size_bytes = sum(artifact.size_bytes for artifact in export.artifacts)
        # The files and the archive.
        if used_bytes + 2 * size_bytes > self._max_bytes:
            raise CopiesFull(
                f"{self._folder} has {used_bytes} of at most {self._max_bytes} bytes: "
                "remove copies that are no longer needed"
            )
        # One folder per export: bundles of different servers may have the same folder name.
        parent = self._folder / export.name.rpartition("/")[2]
        make_folder(parent)
        archive_name, unpacked_name = f"{export.folder_name}.zip", f".{uuid.uuid4()}"
        with _opened_folder(parent) as folder:
            max_bytes = size_bytes + size_bytes // _GROWTH + _overhead_bytes(export)
            client.receive_bundle(
                export.name, Download(archive_name, export.name, max_bytes=max_bytes, folder=folder)
            )
            try:
                with _opened(archive_name, folder) as archive:
                    _unpack(archive, export, folder, unpacked_name)
                if not _exists(export.folder_name, folder):
                    os.rename(unpacked_name, export.folder_name, src_dir_fd=folder, dst_dir_fd=folder)
            finally:
                shutil.rmtree(parent / unpacked_name, ignore_errors=True)
        return parent / export.folder_name, parent / archive_name


def _overhead_bytes(export: export_pb2.Export) -> int:
    return _OVERHEAD_BYTES + _OVERHEAD_BYTES_PER_FILE * len(export.artifacts)


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _exists(name: str, folder: int) -> bool:
    """Whether the folder exists. It is of this bundle, because its parent is the export's folder."""
    try:
        found = os.stat(name, dir_fd=folder, follow_symlinks=False)
    except FileNotFoundError:
        return False
    if not stat.S_ISDIR(found.st_mode):
        raise FileExistsError(f"{quoted(name)} exists and is not a folder: remove it")
    return True


@contextmanager
def _opened_folder(path: Path) -> Iterator[int]:
    try:
        descriptor = os.open(path, _FOLDER_FLAGS)
    except OSError as error:
        raise OSError(
            error.errno, f"{error.strerror}: not a folder, or a link to one: remove it", str(path)
        ) from error
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _opened(name: str, folder: int) -> BinaryIO:
    return os.fdopen(os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=folder), "rb")


def _unpack(file: BinaryIO, export: export_pb2.Export, folder: int, to: str) -> None:
    """Unpacks a bundle into the new folder `to`, and verifies every file against the manifest."""
    expected = {artifact.path: artifact for artifact in export.artifacts}
    with _opened_archive(file, export.name) as archive:
        members, paths = _members(archive, export)
        differences = sorted({*paths} ^ {*expected, MANIFEST})
        if differences:
            listed = ", ".join(map(quoted, differences[:10]))
            raise Damaged(f"{export.name}: files in the archive differ from the server's list: {listed}")
        os.mkdir(to, 0o700, dir_fd=folder)
        for member, path in zip(members, paths):
            if not _is_plain_file(member):
                raise Damaged(f"{export.name}: {quoted(path)} in the archive is a link or special file")
            is_manifest = path == MANIFEST
            max_bytes = _overhead_bytes(export) if is_manifest else expected[path].size_bytes
            sha256 = export.manifest_sha256 if is_manifest else expected[path].sha256
            _write(archive, member, folder, to, path, max_bytes, sha256)
        _check_manifest(archive, members[paths.index(MANIFEST)], export)


def _members(archive: zipfile.ZipFile, export: export_pb2.Export) -> tuple[list[zipfile.ZipInfo], list[str]]:
    """Returns the archive's files and their paths in the bundle, without the list of digests.

    The archive has other names where a name in the bundle is too long or not valid on every system. Their
    digests identify them.
    """
    members = archive.infolist()
    root = members[0].filename.partition("/")[0] if members else ""
    names = unpacked_paths(root, [member.filename for member in members])
    if _SUMS not in names:
        # Servers of earlier releases.
        if root != export.folder_name:
            raise Damaged(f"{export.name}: {quoted(root)} is not the folder {quoted(export.folder_name)}")
        return members, names
    sums = members.pop(names.index(_SUMS))
    names.remove(_SUMS)
    if not _is_plain_file(sums):
        raise Damaged(f"{export.name}: {_SUMS} in the archive is a link or special file")
    digests = _digests(archive, sums, export)
    #: The paths of the bundle's files that are not in the archive under their own names.
    renamed: dict[str, list[str]] = {}
    listed = [(artifact.path, artifact.sha256) for artifact in export.artifacts]
    for path, sha256 in [*listed, (MANIFEST, export.manifest_sha256)]:
        if digests.get(path) != sha256:
            renamed.setdefault(sha256, []).append(path)
    own = dict(listed)
    own[MANIFEST] = export.manifest_sha256
    paths = []
    for name in names:
        sha256 = digests.get(name, "")
        if own.get(name) == sha256:
            paths.append(name)
        elif renamed.get(sha256):
            paths.append(renamed[sha256].pop())
        else:
            raise Damaged(f"{export.name}: the server does not list {quoted(name)} of the archive")
    # The names in the bundle become names on this disk.
    return members, unpacked_paths(export.folder_name, [f"{export.folder_name}/{path}" for path in paths])


def _digests(archive: zipfile.ZipFile, member: zipfile.ZipInfo, export: export_pb2.Export) -> dict[str, str]:
    """Reads the list of digests: SHA-256 by name in the archive."""
    max_bytes = _overhead_bytes(export)
    with archive.open(member) as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise Damaged(f"{export.name}: {_SUMS} has more than {max_bytes} bytes")
    found = [_SUM.fullmatch(f"{line}\n") for line in data.decode().removesuffix("\n").split("\n")]
    if not all(found):
        raise Damaged(f"{export.name}: {_SUMS} has a line that is not of sha256sum")
    return {line[2]: line[1] for line in found if line}


@contextmanager
def _opened_archive(file: BinaryIO, name: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    # zipfile raises these for invalid, unsupported and encrypted archives.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise Damaged(f"{name}: cannot read the archive: {error!r}") from error


def _is_plain_file(member: zipfile.ZipInfo) -> bool:
    file_type = stat.S_IFMT(member.external_attr >> 16)
    return file_type in (0, stat.S_IFREG) and not member.is_dir()


def _write(
    archive: zipfile.ZipFile,
    member: zipfile.ZipInfo,
    folder: int,
    to: str,
    path: str,
    max_bytes: int,
    expected_sha256: str,
) -> None:
    *parents, name = path.split("/")
    digest, size_bytes = hashlib.sha256(), 0
    target_folder = os.open(to, _FOLDER_FLAGS, dir_fd=folder)
    try:
        for parent in parents:
            target_folder = _enter(target_folder, parent)
        descriptor = os.open(name, _NEW_FILE_FLAGS, 0o600, dir_fd=target_folder)
    finally:
        os.close(target_folder)
    with os.fdopen(descriptor, "wb") as written, archive.open(member) as read:
        while piece := read.read(_PIECE_BYTES):
            digest.update(piece)
            size_bytes += len(piece)
            if size_bytes > max_bytes:
                raise Damaged(f"{quoted(path)} in the archive has more than {max_bytes} bytes")
            written.write(piece)
    if digest.hexdigest() != expected_sha256:
        raise Damaged(f"{quoted(path)} does not match the manifest")


def _enter(folder: int, name: str) -> int:
    """Creates a folder in an open folder if it is missing, opens it, and closes the open folder."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=folder)
    inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
    os.close(folder)
    return inner


def _check_manifest(archive: zipfile.ZipFile, member: zipfile.ZipInfo, export: export_pb2.Export) -> None:
    """Checks that the manifest, whose digest is already verified, lists the same files as the server."""
    try:
        manifest: dict[str, Any] = json.loads(archive.read(member))
        listed = [(artifact["path"], artifact["sha256"]) for artifact in manifest["artifacts"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{export.name}: cannot read manifest.json: {error!r}") from error
    if sorted(listed) != sorted((artifact.path, artifact.sha256) for artifact in export.artifacts):
        raise Damaged(f"{export.name}: manifest.json lists other files than the server")
