"""The targets of a server's notifications."""

from __future__ import annotations

import base64
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


class _Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def started_receiver() -> Iterator[str]:
    """An HTTP server that accepts every event, by its `host:port`."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def notify_file(folder: Path, content: dict[str, Any], receiver: str) -> Path:
    """Writes a NOTIFY_FILE, in which RECEIVER stands for the receiver, and its secret."""
    (folder / "secret").write_text(f"whsec_{base64.b64encode(bytes(range(32))).decode()}")
    file = folder / "notify.json"
    file.write_text(json.dumps(content).replace("RECEIVER", receiver))
    return file
