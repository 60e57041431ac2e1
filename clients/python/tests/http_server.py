"""An HTTP server with the response of a row, over HTTP/1.1 and HTTP/2, like a proxy or another program."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Optional

import h2.config
import h2.connection
import h2.events

_HTTP2_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


class HttpServer:
    """`clients/README.md` documents the rows."""

    def __init__(self, row: dict[str, Any], protocol: str, tls: Optional[ssl.SSLContext]) -> None:
        self._row, self._protocol, self._tls = row, protocol, tls
        #: The number of requests, and the headers of each.
        self.requests: list[dict[str, str]] = []
        #: The number of connections.
        self.connections = 0
        outer = self

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                outer.connections += 1
                with suppress(OSError, ssl.SSLError, h2.exceptions.ProtocolError):
                    outer._serve(self.request)

        self.server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.server_address[1]}"

    def _serve(self, connection: Any) -> None:
        if self._tls is not None:
            connection = self._tls.wrap_socket(connection, server_side=True)
        start = b""
        while len(start) < len(_HTTP2_PREFACE) and (data := connection.recv(65536)):
            start += data
        (self._serve_http2 if start.startswith(_HTTP2_PREFACE) else self._serve_http1)(connection, start)

    def _headers(self) -> list[tuple[str, str]]:
        headers = dict(self._row.get("headers", {}))
        if self._row.get("is_grpc"):
            headers["content-type"] = {"grpc": "application/grpc", "grpc-web": "application/grpc-web+proto"}[
                self._protocol
            ]
        if "header_bytes" in self._row:
            headers["x-filler"] = "a" * self._row["header_bytes"]
        return list(headers.items())

    def _trailers(self) -> dict[str, str]:
        trailers = dict(self._row.get("trailers", {}))
        if "trailer_bytes" in self._row:
            trailers["x-filler"] = "a" * self._row["trailer_bytes"]
        return trailers

    def _body(self) -> bytes:
        if "message_bytes" in self._row:
            body = _frame(0, bytes(self._row["message_bytes"]))
        elif "body_base64" in self._row:
            body = base64.b64decode(self._row["body_base64"])
        else:
            body = self._row.get("body", "").encode()
        if self._protocol == "grpc-web" and (trailers := self._trailers()):
            text = "".join(f"{name}: {value}\r\n" for name, value in trailers.items())
            body += _frame(0x80, text.encode())
        return body

    def _serve_http1(self, connection: Any, data: bytes) -> None:
        while True:
            while b"\r\n\r\n" not in data:
                if not (more := connection.recv(65536)):
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            lines = (line.partition(":") for line in head.decode("latin-1").split("\r\n")[1:])
            received = {name.lower(): value.strip() for name, _, value in lines}
            body_bytes = int(received.get("content-length", 0))
            while len(data) < body_bytes and (more := connection.recv(65536)):
                data += more
            data = data[body_bytes:]
            self.requests.append(received)
            body = self._body()
            headers = [*self._headers(), ("content-length", str(len(body)))]
            text = "".join(f"{name}: {value}\r\n" for name, value in headers)
            status_line = f"HTTP/1.1 {self._row['status']} x\r\n"
            connection.sendall(f"{status_line}{text}\r\n".encode("latin-1") + body)

    def _serve_http2(self, connection: Any, data: bytes) -> None:
        state = h2.connection.H2Connection(
            config=h2.config.H2Configuration(client_side=False, header_encoding="utf-8")
        )
        state.initiate_connection()
        pending: dict[int, memoryview] = {}
        while data:
            for event in state.receive_data(data):
                if isinstance(event, h2.events.RequestReceived):
                    self.requests.append(dict(event.headers))
                if isinstance(event, h2.events.DataReceived) and event.flow_controlled_length:
                    state.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                if isinstance(event, h2.events.StreamEnded):
                    self._respond_http2(state, event.stream_id, pending)
                if isinstance(event, h2.events.StreamReset):
                    pending.pop(event.stream_id, None)
            self._send_pending(state, pending)
            connection.sendall(state.data_to_send())
            data = connection.recv(65536)

    def _respond_http2(self, state: Any, stream_id: int, pending: dict[int, memoryview]) -> None:
        body, trailers = self._body(), self._trailers()
        headers = [(":status", str(self._row["status"])), *self._headers()]
        state.send_headers(stream_id, headers, end_stream=not body and not trailers)
        pending[stream_id] = memoryview(body)
        self._send_pending(state, pending)

    def _send_pending(self, state: Any, pending: dict[int, memoryview]) -> None:
        """Sends as much as the client's windows allow."""
        trailers = list(self._trailers().items())
        for stream_id, body in list(pending.items()):
            while body:
                size_bytes = min(
                    len(body), state.local_flow_control_window(stream_id), state.max_outbound_frame_size
                )
                if size_bytes <= 0:
                    break
                is_end = size_bytes == len(body) and not trailers
                state.send_data(stream_id, bytes(body[:size_bytes]), end_stream=is_end)
                body = body[size_bytes:]
            pending[stream_id] = body
            if not body:
                del pending[stream_id]
                if trailers:
                    state.send_headers(stream_id, trailers, end_stream=True)


def _frame(flags: int, message: bytes) -> bytes:
    return bytes([flags]) + len(message).to_bytes(4, "big") + message


@contextmanager
def http_server(
    row: dict[str, Any], protocol: str, tls: Optional[ssl.SSLContext] = None
) -> Iterator[HttpServer]:
    """Serves every request with the response of the row."""
    server = HttpServer(row, protocol, tls)
    thread = threading.Thread(target=server.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.server.shutdown()
        thread.join()
        server.server.server_close()
