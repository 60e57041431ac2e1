"""The README's snippet, word for word but for the port."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest
from test_scenarios import ROOT, WORLD


def test_snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    readme = (ROOT / "clients/python/README.md").read_text()
    snippet = readme.split("```python\n")[1].split("```")[0]
    with subprocess.Popen(
        [WORLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as world:
        assert world.stdin and world.stdout
        try:
            address = json.loads(world.stdout.readline())["server"]
            monkeypatch.chdir(tmp_path)
            exec(snippet.replace("127.0.0.1:8080", address), {})
            assert "incident report.docx" in (tmp_path / "report.txt").read_text()
        finally:
            world.stdin.close()
            world.wait(30)
