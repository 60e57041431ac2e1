"""Locations of bundles: S3, the server's disk, or another bucket than the caller expects."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

from dropin_world import World
from sessions import SAMPLE, sample_session

from tara_export import Client
from tara_export.dropin import S3ExportManager


def test_fallback_bundle_is_copied_to_this_machine(world: World) -> None:
    world("s3 down")
    result = world.manager().export_complete_review_to_s3(sample_session(), SAMPLE / "before.docx", None)
    assert result["success"] and result["location"] == "local"
    assert "syncs it to S3 later" in result["warnings"][0]
    folder, archive = Path(result["folder_path"]), Path(result["zip_path"])
    assert folder.name == result["folder_name"] and folder.is_relative_to(world.folder)
    assert archive == folder.with_name(folder.name + ".zip")
    manifest = (folder / "manifest.json").read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == result["manifest_sha256"]
    paths = [artifact["path"] for artifact in json.loads(manifest)["artifacts"]]
    assert "documents/before_incident_report_0000.docx" in paths
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted(files) == sorted([*paths, "manifest.json"])
    with zipfile.ZipFile(archive) as opened:
        # And SHA256SUMS.
        assert opened.testzip() is None and len(opened.namelist()) == len(files) + 1
    json.dumps(result)
    # The request is not queued: when S3 works again, there is still only one export.
    world("s3 up")
    assert world.exports() == [result["request_id"]]


def test_bundle_is_stored_without_a_local_copy(world: World) -> None:
    world("s3 down")
    # No user, not even root, can create a folder below a file.
    (world.folder / "downloads").write_text("conflicting")
    result = world.manager().export_complete_review_to_s3(sample_session(), None, None)
    assert result["success"] and result["location"] == "local"
    assert result["zip_path"] is None and result["folder_path"] is None
    assert "cannot copy the bundle to this machine" in result["warnings"][1]
    (world.folder / "downloads").unlink()
    full = world.manager(max_download_bytes=1000).export_complete_review_to_s3(sample_session(), None, None)
    assert full["success"] and full["zip_path"] is None
    assert "remove copies that are no longer needed" in full["warnings"][1]


def test_failures_are_returned_as_dictionaries(world: World) -> None:
    manager = world.manager()
    nameless = manager.export_complete_review_to_s3(sample_session(document_name=""), None, None)
    assert (nameless["success"], nameless["location"]) == (False, "failed")
    assert "document_name" in nameless["error"]
    invalid = manager.export_complete_review_to_s3(
        sample_session(activity_log=[{"a": range(10**9)}]), None, None
    )
    assert invalid["location"] == "failed" and "more than 1000000" in invalid["error"]
    # The caller got the errors, so the requests are not queued.
    assert manager.send_queued() == [] and world.exports() == []
    assert not list((world.folder / "queue").rglob("entry.json"))


def test_connection_check_uses_the_server(world: World) -> None:
    manager = world.manager()
    assert manager.test_s3_connection() == {
        "connected": True,
        "bucket_accessible": True,
        "bucket_name": "tara-test",
        "base_path": "tara/",
        "error": None,
    }
    world("s3 down")
    s3_down = manager.test_s3_connection()
    assert not s3_down["connected"] and not s3_down["bucket_accessible"]
    assert "AccessDenied" in s3_down["error"]
    unreachable = world.manager(world.unreachable).test_s3_connection()
    assert (unreachable["connected"], unreachable["bucket_name"]) == (False, "tara-test")
    assert "TARA_EXPORT_SERVER" in unreachable["error"] and world.unreachable in unreachable["error"]


def test_other_bucket_than_the_servers_causes_a_warning(world: World) -> None:
    manager = S3ExportManager("another", "/deep/er", settings=world.settings(), send_at_start=False)
    assert (manager.bucket_name, manager.base_path) == ("another", "deep/er/")
    connection = manager.test_s3_connection()
    assert (connection["connected"], connection["bucket_accessible"]) == (True, False)
    assert (connection["bucket_name"], connection["base_path"]) == ("tara-test", "tara/")
    result = manager.export_complete_review_to_s3(sample_session(), None, None)
    assert result["success"] and result["bucket"] == "tara-test"
    for message in (connection["error"], result["warnings"][0]):
        assert "s3://tara-test/tara/" in message and "s3://another/deep/er/" in message
    any_bucket = S3ExportManager(settings=world.settings(), send_at_start=False)
    assert any_bucket.export_complete_review_to_s3(sample_session(), None, None)["warnings"] == []


def test_unusual_values_are_preserved(world: World) -> None:
    session = sample_session(
        document_name="Prüfbericht 日本 \U0001f600.docx",
        guidelines_name=None,
        guidelines_path=None,
        chat_history=None,
        activity_log=[{"timestamp": None, "who": "Zoë", "details": {"a": [None, 0.1, "\U0001f600"]}}],
    )
    result = world.manager().export_complete_review_to_s3(session, None, SAMPLE / "after.docx")
    assert result["success"], result
    name = "exports/" + result["request_id"]
    with Client(world.server) as client:
        assert client.get_export(name).document_name == session.document_name
        client.download_artifact(name, "logs/activity_log.json", world.folder / "log.json")
    log = json.loads((world.folder / "log.json").read_text())
    assert log["activity_log"] == session.activity_log
