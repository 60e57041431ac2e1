from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from dropin_world import World
from world import started


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    """A separate world for each test."""
    with started() as process, World(process, tmp_path) as world:
        yield world
