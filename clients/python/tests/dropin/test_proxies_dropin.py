"""The drop-in behind nginx with its limit of 1 MiB."""

from __future__ import annotations

import random
from pathlib import Path

import world
from dropin_world import World
from proxies import nginx
from sessions import sample_session

MIB = 1024 * 1024


def test_large_documents_pass_nginx(tmp_path: Path) -> None:
    before, after = tmp_path / "before.docx", tmp_path / "after.docx"
    # One is a part of the request, the other is uploaded in any case.
    before.write_bytes(random.randbytes(3 * MIB))
    after.write_bytes(random.randbytes(9 * MIB))
    with (
        world.started() as process,
        World(process, tmp_path) as started,
        nginx(tmp_path, started.server) as proxy,
    ):
        manager = started.manager(proxy.address("grpc"))
        result = manager.export_complete_review_to_s3(
            sample_session(guidelines_path=None), str(before), str(after)
        )
        assert result["success"], result
        assert result["location"].startswith("s3://")
        assert {before.stat().st_size, after.stat().st_size} <= {
            file["size"] for file in result["uploaded_files"]
        }
        assert manager.send_queued() == []
        assert proxy.refused == 1
