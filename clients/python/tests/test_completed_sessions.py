"""A job of a real server pulls from the example of a source."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from world import ROOT, World, started

from tara_export import Client

SAMPLE = ROOT / "examples/sample-review"


@contextmanager
def source(folder: Path) -> Iterator[str]:
    """Starts the example, and yields its URL."""
    program = [sys.executable, str(ROOT / "clients/python/examples/completed_sessions.py"), str(folder)]
    environment = {**os.environ, "SOURCE_TOKEN": "s3cret", "PYTHONPATH": str(ROOT / "clients/python/src")}
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout
        try:
            yield process.stdout.readline().strip()
        finally:
            process.terminate()


def complete(root: Path, number: int) -> None:
    """Adds a completed session: one a second."""
    folder = root / str(number)
    shutil.copytree(SAMPLE, folder)
    file = folder / "session.json"
    session = json.loads(file.read_text("utf-8"))
    session["session_id"] = f"session-{number}"
    file.write_text(json.dumps(session), "utf-8")
    os.utime(file, (1_700_000_000 + number, 1_700_000_000 + number))


def run_job(world: World) -> dict[str, Any]:
    request = urllib.request.Request(
        f"http://{world.addresses['http1']}/tara.export.v1.AutomationService/RunJob",
        json.dumps({"job": "sessions"}).encode(),
        {"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=60) as response:
        run: dict[str, Any] = json.load(response)["run"]
    return run


def test_job_pulls_from_the_example(tmp_path: Path) -> None:
    sessions = tmp_path / "sessions"
    for number in range(1, 6):
        complete(sessions, number)
    (tmp_path / "token").write_text("s3cret\n")
    with source(sessions) as url:
        job = {"name": "sessions", "kind": "pull", "url": url, "private_network": True, "limit": 2}
        file = tmp_path / "jobs.json"
        file.write_text(json.dumps({"jobs": [{**job, "token_file": "token"}]}))
        with started({"JOBS_FILE": str(file)}) as world:
            first, second = run_job(world), run_job(world)
            for run in (first, second):
                assert run["state"] == "STATE_SUCCEEDED", run
                assert "0 refused, 0 failed; cursor 2023-11-14T22:13:25Z" in run["message"], run
            with Client("http://" + world.addresses["server"]) as client:
                assert len(list(client.list_exports())) == 5
            file = tmp_path / "token"
            file.write_text("wrong\n")
            refused = run_job(world)
    assert refused["state"] == "STATE_FAILED" and 'check "token_file"' in refused["message"], refused
