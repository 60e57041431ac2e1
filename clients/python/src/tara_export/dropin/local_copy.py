"""A copy on this machine of a bundle that is on the server's disk.

Of the server's own folder the caller has no use: it is on another machine, or goes as soon as S3 takes the
bundle.
"""

from __future__ import annotations

import hashlib
import json
import os
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
#: More than a manifest and the descriptions of files in a ZIP file have.
_OVERHEAD_BYTES = 4 * 1024 * 1024
_OVERHEAD_BYTES_OF_FILE = 8 * 1024
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW_FILE_FLAGS = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


class NoRoom(TaraExportError):
    """The folder of copies is full."""


class LocalCopies:
    """The folder of copies."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def fetch(self, client: Client, export: export_pb2.Export) -> tuple[Path, Path]:
        """Downloads the bundle, checks every file of it, and returns the copy's folder and its ZIP file.

        Writes only below the folder of copies, and through no link that is there. Raises NoRoom, Damaged,
        UntrustedAnswer, CallError, or OSError when the disk takes nothing.
        """
        check_export(export, export.name)
        check_folder_name(export.name, export.folder_name)
        make_folder(self._folder)
        used_bytes = sum(path.lstat().st_size for path in self._folder.rglob("*") if _is_file(path))
        size_bytes = sum(artifact.size_bytes for artifact in export.artifacts)
        # The files and the archive of them.
        if used_bytes + 2 * size_bytes > self._max_bytes:
            raise NoRoom(
                f"{self._folder} holds {used_bytes} bytes, and may hold {self._max_bytes}: "
                "remove copies that are no longer needed"
            )
        # By export: two servers may give one name to different bundles.
        parent = self._folder / export.name.rpartition("/")[2]
        make_folder(parent)
        archive_name, unpacked_name = f"{export.folder_name}.zip", f".{uuid.uuid4()}"
        with _opened_folder(parent) as folder:
            max_bytes = size_bytes + _overhead_bytes(export)
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
    return _OVERHEAD_BYTES + _OVERHEAD_BYTES_OF_FILE * len(export.artifacts)


def _is_file(path: Path) -> bool:
    return stat.S_ISREG(path.lstat().st_mode)


def _exists(name: str, folder: int) -> bool:
    """Whether the folder is there already: of this bundle, since it is below the export's own folder."""
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
    """Unpacks a bundle into the new folder `to`, and compares every file with the manifest."""
    expected = {artifact.path: artifact for artifact in export.artifacts}
    with _opened_archive(file, export.name) as archive:
        members = archive.infolist()
        paths = unpacked_paths(export.folder_name, [member.filename for member in members])
        different = sorted({*paths} ^ {*expected, MANIFEST})
        if different:
            listed = ", ".join(map(quoted, different[:10]))
            raise Damaged(f"{export.name}: the archive and the server's list of files differ: {listed}")
        os.mkdir(to, 0o700, dir_fd=folder)
        for member, path in zip(members, paths):
            if not _is_plain_file(member):
                raise Damaged(
                    f"{export.name}: {quoted(path)} in the archive is a link or another special file"
                )
            is_manifest = path == MANIFEST
            max_bytes = _overhead_bytes(export) if is_manifest else expected[path].size_bytes
            sha256 = export.manifest_sha256 if is_manifest else expected[path].sha256
            _write(archive, member, folder, to, path, max_bytes, sha256)
        _check_manifest(archive, members[paths.index(MANIFEST)], export)


@contextmanager
def _opened_archive(file: BinaryIO, name: str) -> Iterator[zipfile.ZipFile]:
    try:
        with zipfile.ZipFile(file) as archive:
            yield archive
    # What zipfile raises for files that are none, of other methods, or encrypted.
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError) as error:
        raise Damaged(f"{name}: the archive can't be read: {error!r}") from error


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
        raise Damaged(f"not what the manifest says: {quoted(path)}")


def _enter(folder: int, name: str) -> int:
    """Makes a folder in an open one if it is not there, opens it, and closes the other."""
    with suppress(FileExistsError):
        os.mkdir(name, 0o700, dir_fd=folder)
    inner = os.open(name, _FOLDER_FLAGS, dir_fd=folder)
    os.close(folder)
    return inner


def _check_manifest(archive: zipfile.ZipFile, member: zipfile.ZipInfo, export: export_pb2.Export) -> None:
    """The manifest lists the same files as the server did; its digest is right."""
    try:
        manifest: dict[str, Any] = json.loads(archive.read(member))
        listed = [(artifact["path"], artifact["sha256"]) for artifact in manifest["artifacts"]]
    except (ValueError, KeyError, TypeError) as error:
        raise Damaged(f"{export.name}: manifest.json can't be read: {error!r}") from error
    if sorted(listed) != sorted((artifact.path, artifact.sha256) for artifact in export.artifacts):
        raise Damaged(f"{export.name}: manifest.json lists other files than the server did")
