"""The dictionaries that the review application expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from tara.export.v1 import export_pb2

from ..errors import printable

Answer = dict[str, Any]


def stored_in_s3(export: export_pb2.Export, warnings: list[str]) -> Answer:
    """Of a bundle in S3."""
    bucket, _, prefix = export.location[len("s3://") :].partition("/")
    files = [
        {"local_path": artifact.path, "s3_key": prefix + artifact.path, "size": artifact.size_bytes}
        for artifact in export.artifacts
    ]
    return {
        "success": True,
        "location": export.location,
        "folder_name": export.folder_name,
        "uploaded_files": files,
        "total_files": len(files),
        "bucket": bucket,
        "s3_path": prefix,
        **_identity(export),
        "warnings": warnings,
    }


def stored_locally(
    export: export_pb2.Export, folder: Optional[Path], archive: Optional[Path], warnings: list[str]
) -> Answer:
    """Of a bundle on the server's disk, with the copy on this machine if there is one."""
    return {
        "success": True,
        "location": "local",
        "folder_path": str(folder) if folder else None,
        "zip_path": str(archive) if archive else None,
        "folder_name": export.folder_name,
        "total_files": len(export.artifacts),
        "server_path": printable(export.location),
        "server": printable(export.replica),
        **_identity(export),
        "warnings": warnings,
    }


def _identity(export: export_pb2.Export) -> Answer:
    return {
        "request_id": export.name.rpartition("/")[2],
        "manifest_sha256": export.manifest_sha256,
    }


def queued(request_id: str, folder: Path, error: str) -> Answer:
    """Of a request that waits on this machine's disk."""
    return {
        "success": False,
        "location": "queued",
        "error": f"{error}. The request is kept on disk and sent by itself: don't export the review again",
        "request_id": request_id,
        "queued_path": str(folder),
    }


def failed(error: str, request_id: str = "", refused_path: Optional[Path] = None) -> Answer:
    """Of a request that made no bundle; `refused_path` is where it lies if it was queued before."""
    answer: Answer = {"success": False, "location": "failed", "error": error, "request_id": request_id}
    if refused_path is not None:
        answer["refused_path"] = str(refused_path)
    return answer
