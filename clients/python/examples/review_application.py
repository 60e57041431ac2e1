"""A minimal review application that completes a review and exports it with the drop-in.

    python review_application.py ../../../examples/sample-review

The import is the only line that is specific to tara-export. Without a server, the review is queued on disk,
and the next run or `python -m tara_export.dropin` sends it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tara_export.dropin import S3ExportManager


class AuditLogger:
    """The application's audit logger."""

    def __init__(self, data: dict[str, Any]) -> None:
        self._data = data

    def get_session_logs(self) -> Any:
        return self._data.get("audit_logs", [])

    def get_performance_metrics(self) -> Any:
        return self._data.get("performance_metrics", {})

    def get_activity_timeline(self) -> Any:
        return self._data.get("activity_timeline", [])


class ReviewSession:
    """The application's session of a review, here read from a folder."""

    def __init__(self, folder: Path) -> None:
        data = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        self.__dict__.update(data)
        self.audit_logger = AuditLogger(data)
        self.guidelines_path = folder / "guidelines.docx"


def main(folder: Path) -> int:
    """Returns 0 if there is a bundle, else 1."""
    manager = S3ExportManager(bucket_name="tara-test", base_path="tara/")
    print("S3:", manager.test_s3_connection()["error"] or "works")
    result = manager.export_complete_review_to_s3(
        ReviewSession(folder), folder / "before.docx", folder / "after.docx"
    )
    for warning in result.get("warnings", []):
        print("Note:", warning)
    if result["success"]:
        print("Exported:", result.get("zip_path") or result["location"])
    elif result["location"] == "queued":
        print("Queued:", result["error"])
    else:
        print("Failed:", result["error"])
    return 0 if result["success"] else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
