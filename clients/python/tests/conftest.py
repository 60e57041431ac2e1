from __future__ import annotations

import pytest
from authority import Authority


@pytest.fixture(scope="session")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """A certificate authority with certificates of servers and a client."""
    return Authority(tmp_path_factory.mktemp("authority"))
