"""Converts the result of CheckStorage to the result of `test_s3_connection`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tara.export.v1 import service_pb2

from ..errors import printable
from .location import BundleLocation

_Status = service_pb2.StorageCheck.Status
#: Checks that send requests to the bucket.
_REQUEST_CHECKS = ("s3.bucket", "s3.put", "s3.read", "s3.list")


def connection_status(
    checks: Sequence[service_pb2.StorageCheck], bucket_name: str, base_path: str
) -> dict[str, Any]:
    """Whether S3 responds, and whether bundles can be stored in the bucket that the caller expects."""
    s3_checks = [check for check in checks if check.check.startswith("s3.")]
    is_configured = not any(check.check == "s3.configured" for check in s3_checks)
    failed = [check for check in s3_checks if check.status == _Status.STATUS_FAILED]
    passed = {check.check: check for check in s3_checks if check.status == _Status.STATUS_PASSED}
    errors = [_message(check) for check in (failed if is_configured else s3_checks)]
    location = (
        BundleLocation.of_check(printable(passed["s3.bucket"].message)) if "s3.bucket" in passed else None
    )
    difference = location.difference(bucket_name, base_path) if location else None
    if difference:
        errors.append(difference)
    return {
        "connected": is_configured and any(check in passed for check in _REQUEST_CHECKS),
        "bucket_accessible": is_configured and bool(s3_checks) and not errors,
        "bucket_name": location.bucket if location else bucket_name,
        "base_path": location.base_path if location else base_path,
        "error": "; ".join(errors) or None,
    }


def connection_failure(error: str, bucket_name: str, base_path: str) -> dict[str, Any]:
    """The result if the server did not respond."""
    return {
        "connected": False,
        "bucket_accessible": False,
        "bucket_name": bucket_name,
        "base_path": base_path,
        "error": error,
    }


def _message(check: service_pb2.StorageCheck) -> str:
    return printable(f"{check.message} ({check.hint})" if check.hint else check.message)
