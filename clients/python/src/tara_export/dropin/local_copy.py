"""A copy on this machine of a bundle that is on the server's disk.

Of the server's own folder the caller has no use: it is on another machine, or goes as soon as S3 takes the
bundle.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import uuid
import zipfile
from pathlib import Path, PurePosixPath
from typing import Any

from tara.export.v1 import export_pb2

from ..client import Client
from ..errors import Damaged, TaraExportError
from .disk import make_folder

_PIECE_BYTES = 1024 * 1024
_MANIFEST = "manifest.json"


class NoRoom(TaraExportError):
    """The folder of copies is full."""


class LocalCopies:
    """The folder of copies."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes

    def fetch(self, client: Client, export: export_pb2.Export) -> tuple[Path, Path]:
        """Downloads the bundle, checks every file of it, and returns the copy's folder and its ZIP file.

        Raises NoRoom, Damaged, CallError, or OSError when the disk takes nothing.
        """
        # By export: two servers may give one name to different bundles.
        parent = self._folder / export.name.rpartition("/")[2]
        folder, archive = parent / export.folder_name, parent / f"{export.folder_name}.zip"
        make_folder(self._folder)
        used_bytes = sum(path.stat().st_size for path in self._folder.rglob("*") if path.is_file())
        # The files and the archive of them.
        if used_bytes + 2 * export.size_bytes > self._max_bytes:
            raise NoRoom(
                f"{self._folder} holds {used_bytes} bytes, and may hold {self._max_bytes}: "
                "remove copies that are no longer needed"
            )
        make_folder(parent)
        client.download_bundle(export.name, archive)
        unpacked = parent / f".{export.folder_name}.{uuid.uuid4()}"
        try:
            _unpack(archive, unpacked, export.folder_name)
            _check(unpacked)
            if not folder.exists():
                unpacked.rename(folder)
        finally:
            shutil.rmtree(unpacked, ignore_errors=True)
        return folder, archive


def _unpack(archive: Path, to: Path, folder_name: str) -> None:
    with zipfile.ZipFile(archive) as opened:
        for member in opened.infolist():
            parts = PurePosixPath(member.filename).parts
            if parts[0] == folder_name and len(parts) > 1:
                parts = parts[1:]
            if ".." in parts or PurePosixPath(*parts).is_absolute():
                raise Damaged(f"{archive} has a file named {member.filename}")
            target = to.joinpath(*parts)
            target.parent.mkdir(parents=True, exist_ok=True)
            with opened.open(member) as read, target.open("xb") as written:
                shutil.copyfileobj(read, written, _PIECE_BYTES)


def _check(folder: Path) -> None:
    """Compares every file with the manifest."""
    manifest: dict[str, Any] = json.loads((folder / _MANIFEST).read_bytes())
    expected = {artifact["path"]: artifact["sha256"] for artifact in manifest["artifacts"]}
    found = {
        path.relative_to(folder).as_posix(): _sha256(path) for path in folder.rglob("*") if path.is_file()
    }
    found.pop(_MANIFEST)
    if found != expected:
        different = sorted(path for path in {*found, *expected} if found.get(path) != expected.get(path))
        raise Damaged(f"not what the manifest says: {', '.join(different)}")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
