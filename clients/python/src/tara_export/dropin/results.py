"""The dictionaries that the review application expects."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Optional

from tara.export.v1 import export_pb2

from ..errors import printable

Result = dict[str, Any]


def stored_in_s3(export: export_pb2.Export, warnings: list[str]) -> Result:
    """The result for a bundle in S3."""
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
) -> Result:
    """The result for a bundle on the server's disk, with the copy on this machine if there is one."""
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


def _identity(export: export_pb2.Export) -> Result:
    return {
        "request_id": export.name.rpartition("/")[2],
        "manifest_sha256": export.manifest_sha256,
    }


def queued(request_id: str, folder: Path, error: str) -> Result:
    """The result for a request that is queued on this machine's disk."""
    return {
        "success": False,
        "location": "queued",
        "error": f"{error}. The request is queued on disk and sent later: do not export the review again",
        "request_id": request_id,
        "queued_path": str(folder),
    }


def failed(error: str, request_id: str = "", refused_path: Optional[Path] = None) -> Result:
    """The result for a request without a bundle. `refused_path` is its folder if it was queued."""
    result: Result = {"success": False, "location": "failed", "error": error, "request_id": request_id}
    if refused_path is not None:
        result["refused_path"] = str(refused_path)
    return result
