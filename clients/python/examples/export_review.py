"""Exports a review from a file in proto3 JSON, with a progress bar, and prints the report.

    python clients/python/examples/export_review.py http://127.0.0.1:8080 examples/request.json [DOCUMENT]

TARA_EXPORT_TRANSPORT=grpc-web is for networks that support only HTTP/1.1.
"""

from __future__ import annotations

import os
import sys
import tempfile
import uuid
from pathlib import Path

from google.protobuf import json_format

from tara.export.v1 import review_pb2, service_pb2
from tara_export import CallError, Client, TaraExportError, printable


def main(server: str, request_path: str, document_path: str = "") -> int:
    # A new id creates a new bundle.
    request = json_format.Parse(Path(request_path).read_text("utf-8"), service_pb2.StartExportRequest())
    request.request_id = str(uuid.uuid4())
    is_web = os.environ.get("TARA_EXPORT_TRANSPORT") == "grpc-web"
    with Client(server, transport="grpc-web" if is_web else "grpc") as client:
        if document_path:
            attach(client, request, Path(document_path))
        for event in client.export(request, progress=True):
            kind = event.WhichOneof("event")
            if kind == "failed":
                print(printable(f"{event.failed.reason}: {event.failed.message}"), file=sys.stderr)
                return 1
            if kind == "completed":
                export = event.completed.export
                print(f"{export.name}: {export.artifact_count} files in {printable(export.location)}")
        with tempfile.TemporaryDirectory() as folder:
            report = Path(folder, "report.txt")
            client.download_artifact(f"exports/{request.request_id}", "readable_report.txt", report)
            print("\n".join(map(printable, report.read_text("utf-8").splitlines()[:6])))
    return 0


def attach(client: Client, request: service_pb2.StartExportRequest, path: Path) -> None:
    """Replaces the request's document after the review by a file of any size."""
    others = [document for document in request.documents if document.kind != review_pb2.Document.KIND_AFTER]
    upload = client.upload_file(path, progress=True)
    after = review_pb2.Document(kind=review_pb2.Document.KIND_AFTER, file_name=path.name, upload=upload.name)
    del request.documents[:]
    request.documents.extend([*others, after])


if __name__ == "__main__":
    if not 3 <= len(sys.argv) <= 4:
        sys.exit(__doc__)
    try:
        sys.exit(main(*sys.argv[1:]))
    except TaraExportError as error:
        print(error, file=sys.stderr)
        for violation in error.field_violations if isinstance(error, CallError) else ():
            print(printable(f"  {violation.field}: {violation.description}"), file=sys.stderr)
        sys.exit(1)
