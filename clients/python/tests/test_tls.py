"""TLS in front of the real server, with a certificate that is not trusted by default."""

from __future__ import annotations

import asyncio
import os
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from forwarding import copy, running
from world import MODES, ROOT, client_at, started

from tara_export import CallError

#: Runs in its own process, because grpcio reads the trusted certificates only once.
LIST = """
import sys
from world import client_at
with client_at(sys.argv[1], sys.argv[2]) as client:
    print([export.name for export in client.list_exports()])
"""


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1, with its key in the same file."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    names = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    kind = ["-x509", "-days", "1", "-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
    subprocess.run(
        ["openssl", "req", *kind, *names, "-keyout", str(path), "-out", "-"],
        stdout=path.with_suffix(".out").open("wb"),
        stderr=subprocess.PIPE,
        check=True,
        timeout=60,
    )
    path.write_bytes(path.with_suffix(".out").read_bytes() + path.read_bytes())
    return path


@contextmanager
def tls_proxy(address: str, certificate: Path) -> Iterator[str]:
    """Starts a TLS proxy to `address` and yields its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    context.set_alpn_protocols(["h2", "http/1.1"])
    host, _, port = address.partition(":")

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection(host, int(port))
        await asyncio.gather(copy(reader, inner_writer), copy(inner_reader, writer))

    with running(asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)) as server:
        yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"


@pytest.mark.parametrize("mode", MODES)
def test_trusted_certificate_is_required(mode: str, certificate: Path) -> None:
    paths = [str(ROOT / "clients/python" / folder) for folder in ("src", "tests")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    trusted = {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(certificate), "SSL_CERT_FILE": str(certificate)}
    with started() as world:
        address = world.addresses["http1" if mode == "grpc-web" else "grpc"]
        with tls_proxy(address, certificate) as server:
            program = [sys.executable, "-c", LIST, mode, server]
            listed = subprocess.run(
                program, env={**environment, **trusted}, capture_output=True, text=True, timeout=60
            )
            assert (listed.returncode, listed.stdout) == (0, "[]\n"), listed.stderr
            refused = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60)
            assert refused.returncode == 1 and "CallError" in refused.stderr


@pytest.mark.parametrize("mode", MODES)
def test_https_url_is_never_used_without_tls(mode: str) -> None:
    with started() as world:
        address = world.addresses["http1" if mode == "grpc-web" else "grpc"]
        with client_at(mode, f"https://{address}") as client, pytest.raises(CallError):
            list(client.list_exports())


@pytest.mark.parametrize("server", ["ftp://127.0.0.1:1", "https://127.0.0.1:1/below", "https://", ""])
@pytest.mark.parametrize("mode", ["grpc", "asyncio"])
def test_invalid_server_is_rejected(mode: str, server: str) -> None:
    with pytest.raises(ValueError), client_at(mode, server):
        pass
