"""Addresses of servers: what gRPC accepts, with real connections where that is possible."""

from __future__ import annotations

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from forwarding import copy, running
from world import MODES, ROOT, client_at, started

from tara_export.address import is_loopback, parse_address

_LIST = """
import sys
from world import client_at
with client_at(sys.argv[1], sys.argv[2]) as client:
    print([export.name for export in client.list_exports()])
"""


@contextmanager
def forwarder(server: str, **listen: Any) -> Iterator[list[bytes]]:
    """Forwards connections to the server. Accepts CONNECT first if a client uses it as a proxy.

    Yields the first bytes of each connection.
    """
    host, _, port = server.rpartition(":")
    starts: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        start = await reader.read(65536)
        starts.append(start)
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        if start.startswith(b"CONNECT "):
            writer.write(b"HTTP/1.1 200 connected\r\n\r\n")
        else:
            inner_writer.write(start)
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    start_server: Any = asyncio.start_unix_server if "path" in listen else asyncio.start_server
    with running(start_server(serve, **listen)):
        yield starts


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "form",
    ["{}", "http://{}", "http://{}/", "HTTP://{}", "dns:///{}", "dns:{}", "ipv4:{}", "localhost:{port}"],
)
def test_server_is_reached(mode: str, form: str) -> None:
    with started() as world:
        address = world.addresses["server"]
        server = form.format(address, port=address.rpartition(":")[2])
        with client_at(mode, server) as client:
            assert list(client.list_exports()) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["[::1]:{}", "http://[::1]:{}", "dns:///[::1]:{}", "ipv6:[::1]:{}"])
def test_ipv6_address_is_reached(mode: str, form: str) -> None:
    with socket.socket(socket.AF_INET6) as probe:
        probe.bind(("::1", 0))
        port = probe.getsockname()[1]
    with (
        started() as world,
        forwarder(world.addresses["server"], host="::1", port=port),
        client_at(mode, form.format(port)) as client,
    ):
        assert list(client.list_exports()) == []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("form", ["unix:{}", "unix://{}", "unix:socket", "unix-abstract:tara-export-{pid}"])
def test_unix_socket_is_reached(
    mode: str, form: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = str(tmp_path / "socket")
    server = form.format(path, pid=os.getpid())
    listen = f"\0tara-export-{os.getpid()}" if "abstract" in form else path
    with (
        started() as world,
        forwarder(world.addresses["server"], path=listen),
        client_at(mode, server, token="sent-to-this-machine") as client,
    ):
        assert list(client.list_exports()) == []
        assert client.check_storage() if mode != "asyncio" else True


@pytest.mark.parametrize("mode", MODES)
def test_unix_socket_with_tls(mode: str, tmp_path: Path, authority: Authority) -> None:
    path = tmp_path / "socket"
    with (
        started(authority.server_settings()) as world,
        forwarder(world.addresses["server"], path=str(path)),
        client_at(mode, f"unix:{path}", tls_ca_file=authority.ca_file) as client,
    ):
        assert list(client.list_exports()) == []


@pytest.mark.parametrize("mode", MODES)
def test_missing_unix_socket_is_reported_with_its_path(mode: str, tmp_path: Path) -> None:
    from tara_export import LostContact, Policy

    path = tmp_path / "socket"
    policy = Policy(progress_timeout_seconds=0.5)
    with client_at(mode, f"unix:{path}", policy) as client, pytest.raises(LostContact, match=str(path)):
        list(client.watch("exports/6f1c7a52-3b0e-4c59-9d7e-0b1f2a3c4d5e"))


@pytest.mark.parametrize("mode", ["grpc", "asyncio"])
def test_host_with_an_underscore_is_reached(mode: str) -> None:
    # A proxy resolves the name, because this machine has no such name.
    paths = [str(ROOT / "clients/python" / folder) for folder in ("src", "tests")]
    with started() as world:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        with forwarder(world.addresses["server"], host="127.0.0.1", port=port) as starts:
            # The name has the suffix that a server without authentication allows.
            program = [sys.executable, "-c", _LIST, mode, "http://export_server.localhost:8080"]
            environment = {
                **os.environ,
                "PYTHONPATH": os.pathsep.join(paths),
                "http_proxy": f"http://127.0.0.1:{port}",
                "no_proxy": "",
            }
            listed = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60)
        assert (listed.returncode, listed.stdout) == (0, "[]\n"), listed.stderr
        assert starts[0].startswith(b"CONNECT export_server.localhost:8080 ")


@pytest.mark.parametrize("mode", ["grpc-web"])
def test_host_with_an_underscore_is_resolved(mode: str, monkeypatch: pytest.MonkeyPatch) -> None:
    resolve = socket.getaddrinfo
    asked: list[str] = []

    def getaddrinfo(host: str, *arguments: Any, **options: Any) -> Any:
        asked.append(host)
        return resolve("127.0.0.1", *arguments, **options)

    with started() as world:
        port = world.addresses["server"].rpartition(":")[2]
        monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
        with client_at(mode, f"http://export_server.localhost:{port}") as client:
            assert list(client.list_exports()) == []
    assert "export_server.localhost" in asked


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "server",
    [
        "", " ", "http://", "https://", "ftp://127.0.0.1:1", "grpc://127.0.0.1:1", "::1", "::1:8080",
        "http://::1", "http://[::1", "[::1", "127.0.0.1:x", "127.0.0.1:99999", "127.0.0.1:-1", "a b:1",
        "127.0.0.1:1\n", "http://127.0.0.1:1?x=1", "http://127.0.0.1:1#x", "127.0.0.1:1/path", "unix:",
        "unix://host/path", "dns:", "dns:///", "dns:///a:x", ":8080",
    ],
)  # fmt: skip
def test_invalid_address_is_refused(mode: str, server: str) -> None:
    with pytest.raises(ValueError), client_at(mode, server):
        pass


@pytest.mark.parametrize("server", ["http://ada:hunter2@127.0.0.1:1", "ada:hunter2@127.0.0.1:1"])
def test_password_in_an_address_is_refused_and_not_shown(server: str) -> None:
    with pytest.raises(ValueError) as raised:
        parse_address(server)
    assert "hunter2" not in str(raised.value)


def test_certificates_need_tls(authority: Authority) -> None:
    for mode in MODES:
        for server in ("http://127.0.0.1:1", "127.0.0.1:1"):
            with (
                pytest.raises(ValueError, match="https://"),
                client_at(mode, server, tls_ca_file=authority.ca_file),
            ):
                pass
        with (
            pytest.raises(ValueError, match="tls_client_key_file"),
            client_at(mode, "https://127.0.0.1:1", tls_client_cert_file=authority.client_cert_file),
        ):
            pass
        with client_at(mode, "127.0.0.1:1", tls=True, tls_ca_file=authority.ca_file):
            pass
        with pytest.raises(ValueError, match="contradicts"), client_at(mode, "http://127.0.0.1:1", tls=True):
            pass


def test_invalid_certificates_name_their_file(authority: Authority, tmp_path: Path) -> None:
    text = tmp_path / "text.pem"
    text.write_text("not a certificate")
    for mode in MODES:
        for options, error in [
            ({"tls_ca_file": text}, ValueError),
            ({"tls_ca_file": tmp_path / "missing.pem"}, OSError),
            ({"tls_client_cert_file": text, "tls_client_key_file": authority.client_key_file}, ValueError),
            (
                {
                    "tls_client_cert_file": authority.client_cert_file,
                    "tls_client_key_file": authority.ca_file,
                },
                ValueError,
            ),
        ]:
            with pytest.raises(error, match=r"\.pem"), client_at(mode, "https://127.0.0.1:1", **options):
                pass


def test_only_grpc_can_ask_another_name_server() -> None:
    server = "dns://192.0.2.53/export.example.com:80"
    with client_at("grpc", server):
        pass
    with pytest.raises(ValueError, match="gRPC-Web"), client_at("grpc-web", server):
        pass


def test_loopback_hosts() -> None:
    for host in ("localhost", "LocalHost", "a.localhost", "localhost.", "127.0.0.1", "127.1.2.3", "::1"):
        assert is_loopback(host), host
    for host in (
        "",
        "localhost.example.com",
        "notlocalhost",
        "0.0.0.0",
        "::",
        "128.0.0.1",
        "127.0.0.1.example",
    ):
        assert not is_loopback(host), host
