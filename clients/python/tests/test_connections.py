"""Errors that are no lost connection: responses of proxies and other programs, TLS and names."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from fake_server import HOSTILE
from http_server import http_server
from world import MODES, client_at, started

from tara_export import CallError, LostContact, Policy, TaraExportError

#: So short that a retried error ends the test soon, and long enough for two attempts.
_SHORT = Policy(progress_timeout_seconds=1.5, min_delay_seconds=0.05)
_MAX_SECONDS = 10
_MAX_REQUESTS = 4


def rows(key: str) -> list[Any]:
    """The rows for each mode that they are for."""
    return [
        pytest.param(row, mode, id=f"{mode}: {row['about']}")
        for row in HOSTILE[key]
        for mode in MODES
        if _protocol(mode) in row.get("protocols", ("grpc", "grpc-web"))
    ]


def _protocol(mode: str) -> str:
    return "grpc-web" if mode == "grpc-web" else "grpc"


def watch(row: dict[str, Any], mode: str, server: str, **options: Any) -> None:
    """Watches an export, which must fail as the row says."""
    policy = _SHORT if row["retried"] else Policy()
    start = time.monotonic()
    with client_at(mode, server, policy, **options) as client, pytest.raises(TaraExportError) as raised:
        list(client.watch(HOSTILE["export"]))
    error = raised.value
    if row["retried"]:
        assert isinstance(error, LostContact), repr(error)
        assert error.last.reason == row["reason"]
    else:
        assert isinstance(error, CallError), repr(error)
        assert error.reason == row["reason"], repr(error)
        assert time.monotonic() - start < _MAX_SECONDS
    for text in row["error_contains"]:
        assert text in str(error), str(error)
    assert str(error).isprintable()


@pytest.mark.parametrize("row, mode", rows("http"))
def test_response_of_another_program_is_reported(row: dict[str, Any], mode: str) -> None:
    with http_server(row, _protocol(mode)) as server:
        watch(row, mode, server.address)
        if row["retried"]:
            assert len(server.requests) >= 2
        else:
            assert 1 <= len(server.requests) <= _MAX_REQUESTS


@pytest.mark.parametrize("row, mode", rows("http"))
def test_unary_call_reports_the_response_of_another_program(row: dict[str, Any], mode: str) -> None:
    with http_server(row, _protocol(mode)) as server, client_at(mode, server.address) as client:
        start = time.monotonic()
        with pytest.raises(CallError) as raised:
            client.get_export(HOSTILE["export"])
        assert time.monotonic() - start < _MAX_SECONDS and len(server.requests) <= _MAX_REQUESTS
    assert raised.value.reason == row["reason"], repr(raised.value)
    for text in row["error_contains"]:
        assert text in str(raised.value)


@contextmanager
def failing_server(row: dict[str, Any], mode: str, authority: Authority) -> Iterator[str]:
    """The address of the row's server."""
    if "address" in row:
        yield row["address"]
    elif row["server"] == "closed port":
        # Bound but not listening, so that no other process can use the port.
        with socket.socket() as closed:
            closed.bind(("127.0.0.1", 0))
            yield f"127.0.0.1:{closed.getsockname()[1]}"
    else:
        settings = {}
        if row["server"] != "plain":
            settings = authority.server_settings(row.get("certificate", ""), row["server"] == "mutual tls")
        with started(settings) as world:
            # The server itself: the test world's proxy for HTTP/1.1 looks into connections without TLS.
            yield world.addresses["server"]


@pytest.mark.parametrize("row, mode", rows("connections"))
def test_failed_connection_is_reported(row: dict[str, Any], mode: str, authority: Authority) -> None:
    options = {"tls_ca_file": authority.ca_file} if "ca" in row.get("client", ()) else {}
    with failing_server(row, mode, authority) as address:
        watch(row, mode, f"{row['scheme']}://{address}", **options)


@pytest.mark.parametrize("mode", MODES)
def test_unreadable_document_is_no_lost_connection(
    mode: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    document = tmp_path / "document.bin"
    document.write_bytes(bytes(20_000_000))

    from tara_export import upload

    opened = upload.open_document
    opens = 0

    def open_once(path: Path) -> Any:
        # The digest is computed, then the disk fails.
        nonlocal opens
        opens += 1
        if opens > 1:
            raise OSError(5, "Input/output error", str(path))
        return opened(path)

    monkeypatch.setattr(upload, "open_document", open_once)
    with started() as world, client_at(mode, world.addresses["server"]) as client:
        start = time.monotonic()
        with pytest.raises(OSError, match=r"Input/output error.*document\.bin"):
            client.upload_file(document)
        assert time.monotonic() - start < _MAX_SECONDS


@pytest.mark.parametrize("mode", MODES)
def test_request_beyond_the_limit_is_not_sent(mode: str) -> None:
    from tara.export.v1 import review_pb2, service_pb2

    document = review_pb2.Document(file_name="large.bin", content=bytes(64 * 1024 * 1024))
    request = service_pb2.StartExportRequest(documents=[document])
    with client_at(mode, "127.0.0.1:1") as client, pytest.raises(CallError) as raised:
        list(client.export(request))
    assert raised.value.reason == "REQUEST_TOO_LARGE" and "upload" in str(raised.value)
