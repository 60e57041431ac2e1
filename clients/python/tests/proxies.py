"""Proxies in front of a server that limit requests to 1 MiB."""

from __future__ import annotations

import http.client
import os
import socket
import socketserver
import ssl
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Optional

LIMIT_BYTES = 1024 * 1024
#: Changes the body of a response to a request with this path.
Change = Callable[[str, bytes], bytes]


class Nginx:
    """nginx with default settings, except for the folders of its files."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._ports = {"grpc-web": _free_port(), "grpc": _free_port()}

    def address(self, mode: str) -> str:
        return f"127.0.0.1:{self._ports['grpc-web' if mode == 'grpc-web' else 'grpc']}"

    def configuration(self, server: str) -> str:
        names = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        paths = " ".join(f"{name}_temp_path {self._folder}/{name};" for name in names)
        # As root, nginx would change to a user that cannot write to the test's folder.
        user = "user root;" if os.geteuid() == 0 else ""
        web, grpc = self.address("grpc-web"), self.address("grpc")
        return f"""
            {user} daemon off; pid {self._folder}/pid; error_log {self._folder}/error.log; events {{ }}
            http {{
                access_log off; {paths}
                server {{ listen {web}; location / {{ proxy_pass http://{server}; }} }}
                server {{ listen {grpc} http2; location / {{ grpc_pass grpc://{server}; }} }}
            }}
        """

    def wait(self, process: subprocess.Popen[bytes]) -> None:
        """Waits until both ports accept connections."""
        deadline = time.monotonic() + 30
        for port in self._ports.values():
            while not _accepts(port):
                assert process.poll() is None and time.monotonic() < deadline, "nginx did not start"

    @property
    def refused(self) -> int:
        """The number of requests beyond the limit."""
        return (self._folder / "error.log").read_text().count("client intended to send too large")


@contextmanager
def nginx(folder: Path, server: str) -> Iterator[Nginx]:
    own = folder / "nginx"
    own.mkdir()
    proxy = Nginx(own)
    (own / "nginx.conf").write_text(proxy.configuration(server))
    with subprocess.Popen(["nginx", "-c", str(own / "nginx.conf"), "-p", str(own)]) as process:
        try:
            proxy.wait(process)
            yield proxy
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


class Http1Proxy:
    """A proxy for gRPC-Web that closes the connection without reading a request beyond the limit."""

    def __init__(self, server: str, change: Change) -> None:
        #: The sizes of the requests that were refused and passed on, by path.
        self.refused: list[tuple[str, int]] = []
        self.passed: list[tuple[str, int]] = []
        outer = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                while request_line := self.rfile.readline().decode():
                    path = request_line.split()[1]
                    headers = http.client.parse_headers(self.rfile)
                    size_bytes = int(headers["content-length"])
                    if size_bytes > LIMIT_BYTES:
                        outer.refused.append((path.rpartition("/")[2], size_bytes))
                        self.wfile.write(
                            b"HTTP/1.1 413 x\r\ncontent-type: text/html\r\ncontent-length: 5\r\n\r\nlarge"
                        )
                        return
                    outer.passed.append((path.rpartition("/")[2], size_bytes))
                    self.wfile.write(outer._response(path, headers, self.rfile.read(size_bytes)))

        self._server, self._change = server, change
        self.listener = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self.listener.daemon_threads = True

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.listener.server_address[1]}"

    def _response(self, path: str, headers: Any, body: bytes) -> bytes:
        with closing(http.client.HTTPConnection(self._server)) as connection:
            passed_on = {name: value for name, value in headers.items() if name.lower() != "host"}
            connection.request("POST", path, body, passed_on)
            response = connection.getresponse()
            changed = self._change(path.rpartition("/")[2], response.read())
        names = ("content-type", "grpc-status", "grpc-message", "grpc-status-details-bin")
        sent = {name: value for name in names if (value := response.getheader(name)) is not None}
        sent["content-length"] = str(len(changed))
        text = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
        return f"HTTP/1.1 {response.status} x\r\n{text}\r\n".encode("latin-1") + changed


@contextmanager
def http1_proxy(
    server: str, change: Change = lambda _, body: body, tls: Optional[ssl.SSLContext] = None
) -> Iterator[Http1Proxy]:
    proxy = Http1Proxy(server, change)
    if tls is not None:
        proxy.listener.socket = tls.wrap_socket(proxy.listener.socket, server_side=True)
    thread = threading.Thread(target=proxy.listener.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.listener.shutdown()
        thread.join()
        proxy.listener.server_close()
