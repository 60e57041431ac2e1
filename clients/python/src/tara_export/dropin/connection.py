"""What CheckStorage says, as the answer to `test_s3_connection`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tara.export.v1 import service_pb2

from ..errors import printable
from .place import Place

_Status = service_pb2.StorageCheck.Status
#: Checks that ask the bucket something.
_ASKED = ("s3.bucket", "s3.put", "s3.read", "s3.list")


def connection(
    checks: Sequence[service_pb2.StorageCheck], bucket_name: str, base_path: str
) -> dict[str, Any]:
    """Whether S3 answers, and whether bundles can be stored in the bucket that the caller expects."""
    of_s3 = [check for check in checks if check.check.startswith("s3.")]
    configured = not any(check.check == "s3.configured" for check in of_s3)
    failed = [check for check in of_s3 if check.status == _Status.STATUS_FAILED]
    passed = {check.check: check for check in of_s3 if check.status == _Status.STATUS_PASSED}
    errors = [_told(check) for check in (failed if configured else of_s3)]
    place = Place.of_check(printable(passed["s3.bucket"].message)) if "s3.bucket" in passed else None
    difference = place.difference(bucket_name, base_path) if place else None
    if difference:
        errors.append(difference)
    return {
        "connected": configured and any(check in passed for check in _ASKED),
        "bucket_accessible": configured and bool(of_s3) and not errors,
        "bucket_name": place.bucket if place else bucket_name,
        "base_path": place.base_path if place else base_path,
        "error": "; ".join(errors) or None,
    }


def not_connected(error: str, bucket_name: str, base_path: str) -> dict[str, Any]:
    """When the server did not even answer."""
    return {
        "connected": False,
        "bucket_accessible": False,
        "bucket_name": bucket_name,
        "base_path": base_path,
        "error": error,
    }


def _told(check: service_pb2.StorageCheck) -> str:
    return printable(f"{check.message} ({check.hint})" if check.hint else check.message)
