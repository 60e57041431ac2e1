"""A source of completed sessions for jobs of kind `pull` (docs/jobs.md).

    python completed_sessions.py FOLDER [PORT]

Each folder below FOLDER with a session.json is a completed session, like examples/sample-review. It was
completed when its session.json was last changed. A review application has both in its database.

With SOURCE_TOKEN, only requests with this Bearer token are answered.
"""

from __future__ import annotations

import hmac
import json
import os
import sys
from datetime import datetime, timezone
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import SimpleNamespace
from typing import Any, Union
from urllib.parse import parse_qs, urlsplit

from google.protobuf import json_format

from tara.export.v1 import review_pb2, service_pb2
from tara_export.review import review_from_session

PATH = "/completed-sessions"
KINDS = {
    "before.docx": review_pb2.Document.KIND_BEFORE,
    "after.docx": review_pb2.Document.KIND_AFTER,
    "guidelines.docx": review_pb2.Document.KIND_GUIDELINES,
}


def request_of(folder: Path) -> dict[str, Any]:
    """The request of a session. Without a request_id, its id is derived from the session id."""
    session = SimpleNamespace(**json.loads((folder / "session.json").read_text("utf-8")))
    review, _ = review_from_session(session)
    request = service_pb2.StartExportRequest(review=review)
    for name, kind in KINDS.items():
        if (folder / name).exists():
            request.documents.add(kind=kind, file_name=name, content=(folder / name).read_bytes())
    return json_format.MessageToDict(request)


def page(root: Path, completed_after: datetime, limit: int) -> dict[str, Any]:
    """The first sessions that were completed at this time or later."""
    completed = []
    for file in root.glob("*/session.json"):
        # Whole microseconds, as in the cursor.
        microseconds = file.stat().st_mtime_ns // 1000
        time = datetime.fromtimestamp(microseconds // 1_000_000, timezone.utc)
        time = time.replace(microsecond=microseconds % 1_000_000)
        if time >= completed_after:
            completed.append((time, file.parent))
    completed = sorted(completed)[:limit]
    result: dict[str, Any] = {"requests": [request_of(folder) for _, folder in completed]}
    if completed:
        result["cursor"] = completed[-1][0].isoformat()
    return result


class Handler(BaseHTTPRequestHandler):
    root: Path
    token = os.environ.get("SOURCE_TOKEN", "")

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        query = parse_qs(url.query)
        authorization = self.headers.get("Authorization", "")
        if self.token and not hmac.compare_digest(authorization.encode(), f"Bearer {self.token}".encode()):
            return self.answer(401, {"error": "a token is required"})
        if url.path != PATH:
            return self.answer(404, {"error": f"only {PATH} exists"})
        try:
            # fromisoformat of Python 3.10 does not know Z.
            after = datetime.fromisoformat(query["completed_after"][0].replace("Z", "+00:00"))
            limit = int(query["limit"][0])
        except (KeyError, ValueError):
            return self.answer(400, {"error": "completed_after and limit are required"})
        self.answer(200, page(self.root, after, limit))

    def answer(self, status: int, content: dict[str, Any]) -> None:
        body = json.dumps(content).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def main(root: Path, port: Union[str, int] = 0) -> None:
    Handler.root = root
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    print(f"http://127.0.0.1:{server.server_port}{PATH}", flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
