"""A bucket and the base path of bundles in it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Optional

_LISTED = re.compile(r"s3://([^/]+)/(.*) can be listed")


def normal_base_path(base_path: str) -> str:
    """Removes slashes at both ends, and adds one at the end."""
    trimmed = base_path.strip("/")
    return f"{trimmed}/" if trimmed else ""


@dataclass(frozen=True)
class BundleLocation:
    """The location of bundles. The server's settings decide; the caller may expect one."""

    bucket: str
    base_path: str

    @classmethod
    def of_bundle(cls, location: str, folder_name: str) -> BundleLocation:
        """From `s3://bucket/base path/folder/`."""
        bucket, _, prefix = location[len("s3://") :].partition("/")
        return cls(bucket, prefix[: -len(f"{folder_name}/")])

    @classmethod
    def of_check(cls, message: str) -> Optional[BundleLocation]:
        """From CheckStorage's message about an accessible bucket; the API has no field for it."""
        found = _LISTED.fullmatch(message)
        return cls(found[1], found[2]) if found else None

    def difference(self, expected_bucket: str, expected_base_path: str) -> Optional[str]:
        """The message for a caller that expects another location; an empty bucket matches any."""
        if self.bucket == (expected_bucket or self.bucket) and self.base_path == expected_base_path:
            return None
        return (
            f"bundles are stored in s3://{self.bucket}/{self.base_path}, as the server is configured "
            "(S3_BUCKET_NAME, S3_BASE_PATH), and not in "
            f"s3://{expected_bucket or self.bucket}/{expected_base_path}: "
            "correct bucket_name and base_path here, or the server's settings"
        )
