from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from dropin_world import World
from test_scenarios import ROOT, WORLD


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A world of the test's own."""
    with subprocess.Popen(
        [WORLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT
    ) as process:
        started = World(process, tmp_path)
        try:
            yield started
        finally:
            started.end()
