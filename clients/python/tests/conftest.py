from __future__ import annotations

from collections.abc import Iterator

import pytest
from authority import Authority
from notifications import started_receiver


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority with certificates of servers and a client."""
    return Authority(tmp_path_factory.mktemp("authority"))


@pytest.fixture(scope="session")
def receiver() -> Iterator[str]:
    """An HTTP server that accepts every event, by its `host:port`."""
    with started_receiver() as receiver:
        yield receiver
