"""Runs the README's snippets, unchanged except for the port, and the example program."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from notifications import notify_file
from world import ROOT, started

SNIPPETS = [
    part.split("```")[0] for part in (ROOT / "clients/python/README.md").read_text().split("```python\n")[1:]
]


def run(code: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    with started() as world:
        exec(code.replace("127.0.0.1:8080", world.addresses["server"]), {"__name__": "snippet"})


def test_client_snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(SNIPPETS[0], tmp_path, monkeypatch)
    assert "incident report.docx" in (tmp_path / "report.txt").read_text()


def test_grpc_web_snippet_with_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run(SNIPPETS[1], tmp_path, monkeypatch)
    with zipfile.ZipFile(tmp_path / "bundle.zip") as archive:
        sizes = {info.filename.split("/")[-1]: info.file_size for info in archive.infolist()}
    assert sizes["before_large.docx"] == 20_000_000
    bars = capsys.readouterr().err
    assert "large.docx: 100%" in bars and "export: 100%" in bars


def test_asyncio_snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run(SNIPPETS[2], tmp_path, monkeypatch)
    assert "minutes.docx" in (tmp_path / "report.txt").read_text()


def test_token_snippet(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    digest = hashlib.sha256(b"of-the-readme").hexdigest()
    tokens = tmp_path / "tokens.json"
    tokens.write_text(json.dumps({"tokens": [{"name": "app", "roles": ["read"], "sha256": digest}]}))
    monkeypatch.setenv("TARA_EXPORT_TOKEN", "of-the-readme")
    monkeypatch.chdir(tmp_path)
    Path("token.txt").write_text("of-the-readme\n")
    with started({"AUTH_TOKENS_FILE": str(tokens)}) as world:
        exec(SNIPPETS[3].replace("127.0.0.1:8080", world.addresses["server"]), {"__name__": "snippet"})
    assert capsys.readouterr().out == "0\n0\n"


def test_notifications_snippet(
    tmp_path: Path, receiver: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hook = {"name": "hook", "kind": "webhook", "url": f"http://{receiver}/", "secret_files": ["secret"]}
    file = notify_file(tmp_path, {"targets": [{**hook, "private_network": True}]}, receiver)
    with started({"NOTIFY_FILE": str(file)}) as world:
        exec(SNIPPETS[4].replace("127.0.0.1:8080", world.addresses["server"]), {"__name__": "snippet"})
    assert capsys.readouterr().out.splitlines() == ["hook STATE_ACTIVE ", "True", "0"]


@pytest.mark.parametrize("transport", ["grpc", "grpc-web"])
def test_example(transport: str) -> None:
    program = ROOT / "clients/python/examples/export_review.py"
    environment = {
        **os.environ,
        "TARA_EXPORT_TRANSPORT": transport,
        "PYTHONPATH": str(ROOT / "clients/python/src"),
    }
    with started() as world:
        completed = subprocess.run(
            [
                sys.executable,
                program,
                "http://" + world.addresses["server"],
                "examples/request.json",
                program,
            ],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=120,
        )
    assert completed.returncode == 0, completed.stderr
    assert "files in s3://" in completed.stdout
