"""A review application in small: completes a review and exports it by the drop-in.

    python review_application.py ../../../examples/sample-review

Its one line about tara-export is the import. Without a server the review is kept on disk, and the next run,
or `python -m tara_export.dropin`, sends it.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from tara_export.dropin import S3ExportManager


class AuditLogger:
    """What happened, as the application's own logger tells it."""

    def __init__(self, said: dict[str, Any]) -> None:
        self._said = said

    def get_session_logs(self) -> Any:
        return self._said.get("audit_logs", [])

    def get_performance_metrics(self) -> Any:
        return self._said.get("performance_metrics", {})

    def get_activity_timeline(self) -> Any:
        return self._said.get("activity_timeline", [])


class ReviewSession:
    """A review as the application holds it in memory: here of a folder."""

    def __init__(self, folder: Path) -> None:
        said = json.loads((folder / "session.json").read_text(encoding="utf-8"))
        self.__dict__.update(said)
        self.audit_logger = AuditLogger(said)
        self.guidelines_path = folder / "guidelines.docx"


def main(folder: Path) -> int:
    """Returns 0 when there is a bundle, else 1."""
    manager = S3ExportManager(bucket_name="tara-test", base_path="tara/")
    print("S3:", manager.test_s3_connection()["error"] or "works")
    answer = manager.export_complete_review_to_s3(
        ReviewSession(folder), folder / "before.docx", folder / "after.docx"
    )
    for warning in answer.get("warnings", []):
        print("Note:", warning)
    if answer["success"]:
        print("Exported:", answer.get("zip_path") or answer["location"])
    elif answer["location"] == "queued":
        print("Kept for later:", answer["error"])
    else:
        print("Failed:", answer["error"])
    return 0 if answer["success"] else 1


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
