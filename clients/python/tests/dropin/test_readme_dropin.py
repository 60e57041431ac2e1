"""Runs the README's snippet of the drop-in and the example program."""

from __future__ import annotations

import subprocess
import sys

import pytest
from dropin_world import World
from sessions import SAMPLE
from world import ROOT


def test_snippet(world: World, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    readme = (ROOT / "clients/python/README.md").read_text()
    snippet = readme.split("## The drop-in")[1].split("```python\n")[1].split("```")[0]
    for name, value in world.environment().items():
        monkeypatch.setenv(name, value)
    exec(snippet, {})
    problem, exported = capsys.readouterr().out.splitlines()
    assert problem == "None" and exported.startswith("True s3://tara-test/tara/")
    assert len(world.exports()) == 1


def test_example(world: World) -> None:
    program = [sys.executable, "clients/python/examples/review_application.py", str(SAMPLE)]
    run = subprocess.run(
        program, cwd=ROOT, env=world.environment(), capture_output=True, text=True, timeout=60, check=True
    )
    connection, exported = run.stdout.splitlines()
    assert connection == "S3: works" and exported.startswith("Exported: s3://tara-test/tara/")
    assert len(world.exports()) == 1
