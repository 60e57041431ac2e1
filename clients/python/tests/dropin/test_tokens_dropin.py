"""The drop-in with a server that requires a token or a certificate."""

from __future__ import annotations

import hashlib
import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import world as worlds
from authority import Authority
from dropin_world import World
from sessions import sample_session

from tara_export.dropin import S3ExportManager, Settings

TOKEN = "5d0e9b-accepted-by-the-server"
REFUSED = "77ac1f-refused-by-the-server"


@pytest.fixture
def secured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A world whose server requires the token, and the environment of an application without a token."""
    file = tmp_path / "tokens.json"
    digest = hashlib.sha256(TOKEN.encode()).hexdigest()
    # `admin` includes the check of the stores.
    file.write_text(json.dumps({"tokens": [{"name": "app", "roles": ["admin"], "sha256": digest}]}))
    with (
        worlds.started({"AUTH_TOKENS_FILE": str(file)}) as process,
        World(process, tmp_path) as world,
    ):
        for name, value in world.environment().items():
            monkeypatch.setenv(name, value)
        yield world


def export(**options: Any) -> dict[str, Any]:
    manager = S3ExportManager("tara-test", send_at_start=False, **options)
    return manager.export_complete_review_to_s3(sample_session(), None, None)


def test_token_of_the_environment(secured: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TARA_EXPORT_TOKEN", f"{TOKEN}\n")
    assert export()["location"].startswith("s3://tara-test/")
    assert S3ExportManager("tara-test").test_s3_connection()["error"] is None


def test_token_file_is_read_again(secured: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text(REFUSED)
    monkeypatch.setenv("TARA_EXPORT_TOKEN", REFUSED)
    monkeypatch.setenv("TARA_EXPORT_TOKEN_FILE", str(file))
    manager = S3ExportManager("tara-test", send_at_start=False)
    queued = manager.export_complete_review_to_s3(sample_session(), None, None)
    assert queued["location"] == "queued" and "CREDENTIALS" not in queued["location"]
    file.write_text(f"{TOKEN}\n")
    (sent,) = manager.send_queued()
    assert sent["location"].startswith("s3://tara-test/") and sent["request_id"] == queued["request_id"]


@pytest.mark.parametrize("token", ["", REFUSED, f"{REFUSED} ü"])
def test_refused_review_is_queued_and_the_token_is_not_shown(
    secured: World, token: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("TARA_EXPORT_TOKEN", token)
    first, second = export(), export()
    assert [first["location"], second["location"]] == ["queued", "queued"], first
    assert "token" in first["error"].lower()
    if "ü" not in token:
        assert "TARA_EXPORT_TOKEN_FILE" in first["error"]
    status = S3ExportManager("tara-test", send_at_start=False).test_s3_connection()
    assert status["connected"] is False and "token" in status["error"].lower()
    settings = Settings.from_environment()
    shown = f"{first} {second} {status} {settings!r} {caplog.text}"
    files = [path.read_bytes() for path in (secured.folder / "queue").rglob("*") if path.is_file()]
    for secret in (REFUSED, TOKEN):
        assert secret not in shown
        assert not any(secret.encode() in data for data in files)
    # The first refusal ends the sending: the others would be refused too.
    if "ü" not in token:
        assert len(S3ExportManager("tara-test", send_at_start=False).send_queued()) == 1
    monkeypatch.setenv("TARA_EXPORT_TOKEN", TOKEN)
    sent = S3ExportManager("tara-test", send_at_start=False).send_queued()
    assert [result["success"] for result in sent] == [True, True]


def test_failing_function_queues_the_review(secured: World) -> None:
    def sealed() -> str:
        raise RuntimeError("the vault is sealed")

    settings = Settings(secured.server, secured.folder / "queue", secured.folder / "downloads", token=sealed)
    result = export(settings=settings)
    assert result["location"] == "queued" and "the vault is sealed" in result["error"]


def test_token_is_not_sent_in_clear_to_another_machine(
    secured: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TARA_EXPORT_TOKEN", TOKEN)
    monkeypatch.setenv("TARA_EXPORT_SERVER", "http://192.0.2.7:8080")
    result = export()
    assert result["location"] == "queued" and "https://" in result["error"]
    assert TOKEN not in str(result)
    monkeypatch.setenv("TARA_EXPORT_ALLOW_INSECURE_TOKEN", "true")
    assert Settings.from_environment().allow_insecure_token
    Settings.from_environment().connect().close()


def test_program_sends_with_the_token(secured: World, monkeypatch: pytest.MonkeyPatch) -> None:
    assert export()["location"] == "queued"
    program = [sys.executable, "-m", "tara_export.dropin"]
    refused = subprocess.run(program, env=secured.environment(), capture_output=True, text=True, timeout=60)
    assert refused.returncode == 1 and "UNAUTHENTICATED" in refused.stdout
    environment = {**secured.environment(), "TARA_EXPORT_TOKEN": TOKEN}
    sent = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60)
    assert sent.returncode == 0 and "s3://tara-test/" in sent.stdout, sent


def test_certificates_of_the_environment(
    tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        worlds.started(authority.server_settings(is_mutual=True)) as process,
        World(process, tmp_path) as world,
    ):
        for name, value in world.environment(f"https://{world.server}").items():
            monkeypatch.setenv(name, value)
        queued = export()
        assert queued["location"] == "queued" and "certificate" in queued["error"]
        monkeypatch.setenv("TARA_EXPORT_TLS_CA_FILE", authority.ca_file)
        queued = export()
        assert queued["location"] == "queued" and "tls_client_cert_file" in queued["error"]
        monkeypatch.setenv("TARA_EXPORT_TLS_CLIENT_CERT_FILE", authority.client_cert_file)
        monkeypatch.setenv("TARA_EXPORT_TLS_CLIENT_KEY_FILE", authority.client_key_file)
        assert export()["location"].startswith("s3://tara-test/")
