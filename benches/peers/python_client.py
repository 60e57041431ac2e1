"""Exports the sample review with the Python client, directly and with its drop-in. Reads commands from
standard input, `plain PREFIX` or `dropin PREFIX`, and prints the seconds that each took.

Both export the same review in the same process. `plain` has its request in memory and one connection;
`dropin` gets a session and the paths of its documents, as from the review application.

python_client.py SERVER
"""

import contextlib
import json
import pathlib
import sys
import tempfile
import time
from types import SimpleNamespace

ROOT = pathlib.Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "clients/python/src"))

from tara.export.v1 import export_pb2, review_pb2, service_pb2  # noqa: E402
from tara_export import Client, Policy, review_from_session  # noqa: E402
from tara_export.dropin import S3ExportManager, Settings  # noqa: E402

SAMPLE = ROOT / "examples/sample-review"
#: With these bytes the bundle has 250 KiB, as in benches/support/review.rs.
ADDED_BYTES = 156 * 1024
AUDIT = ("audit_logs", "performance_metrics", "activity_timeline")
KINDS = ("before", "after", "guidelines")


def copied_documents(folder):
    """Copies the sample's documents, enlarged, and returns their paths by kind."""
    paths = {kind: folder / f"{kind}.docx" for kind in KINDS}
    for kind, path in paths.items():
        path.write_bytes((SAMPLE / f"{kind}.docx").read_bytes() + b"." * (ADDED_BYTES // len(KINDS)))
    return paths


def sample_session(guidelines):
    data = json.loads((SAMPLE / "session.json").read_text())
    logs, metrics, timeline = (data.pop(key) for key in AUDIT)
    logger = SimpleNamespace(
        get_session_logs=lambda: logs,
        get_performance_metrics=lambda: metrics,
        get_activity_timeline=lambda: timeline,
    )
    return SimpleNamespace(**data, audit_logger=logger, guidelines_path=str(guidelines))


def plain_request(session, documents):
    request = service_pb2.StartExportRequest(review=review_from_session(session)[0])
    for kind, path in documents.items():
        request.documents.append(
            review_pb2.Document(kind=f"KIND_{kind.upper()}", file_name=path.name, content=path.read_bytes())
        )
    return request


def export_plain(client, request):
    for event in client.export(request):
        if event.WhichOneof("event") == "completed":
            return event.completed.export.stored_in == export_pb2.DESTINATION_S3
    return False


def export_dropin(manager, session, documents):
    result = manager.export_complete_review_to_s3(session, documents["before"], documents["after"])
    return result["location"].startswith("s3://")


def main():
    server = sys.argv[1]
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory()))
        documents = copied_documents(folder)
        session = sample_session(documents["guidelines"])
        request = plain_request(session, documents)
        client = stack.enter_context(Client(server, Policy()))
        settings = Settings(server, folder / "queue", folder / "downloads")
        manager = S3ExportManager(settings=settings)
        for line in sys.stdin:
            mode, prefix = line.split()
            # The same name in the same second would measure the search for a free folder.
            name = f"{prefix.strip('/').replace('/', ' ')}.docx"
            session.document_name = request.review.document_name = name
            started = time.perf_counter()
            if mode == "plain":
                is_stored = export_plain(client, request)
            else:
                is_stored = export_dropin(manager, session, documents)
            seconds = time.perf_counter() - started
            if not is_stored:
                sys.exit(f"{line.strip()}: the bundle is not in S3")
            print(seconds, flush=True)


main()
