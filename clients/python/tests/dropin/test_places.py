"""Where bundles go: S3, the server's disk, or elsewhere than the caller believes."""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path

from dropin_world import World
from sessions import SAMPLE, sample_session

from tara_export import Client
from tara_export.dropin import S3ExportManager


def test_a_bundle_that_falls_back_is_copied_here(world: World) -> None:
    world("s3 down")
    answer = world.manager().export_complete_review_to_s3(sample_session(), SAMPLE / "before.docx", None)
    assert answer["success"] and answer["location"] == "local"
    assert "sends it there by itself" in answer["warnings"][0]
    folder, archive = Path(answer["folder_path"]), Path(answer["zip_path"])
    assert folder.name == answer["folder_name"] and folder.is_relative_to(world.folder)
    assert archive == folder.with_name(folder.name + ".zip")
    manifest = (folder / "manifest.json").read_bytes()
    assert hashlib.sha256(manifest).hexdigest() == answer["manifest_sha256"]
    paths = [artifact["path"] for artifact in json.loads(manifest)["artifacts"]]
    assert "documents/before_incident_report_0000.docx" in paths
    files = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    assert sorted(files) == sorted([*paths, "manifest.json"])
    with zipfile.ZipFile(archive) as opened:
        assert opened.testzip() is None and len(opened.namelist()) == len(files)
    json.dumps(answer)
    # What is queued is sent when the bundle is in S3, and no copy is in the way of that.
    world("s3 up")
    assert world.exports() == [answer["request_id"]]


def test_without_a_copy_the_bundle_is_stored_all_the_same(world: World) -> None:
    world("s3 down")
    # Nobody, root included, makes a folder below a file.
    (world.folder / "downloads").write_text("in the way")
    answer = world.manager().export_complete_review_to_s3(sample_session(), None, None)
    assert answer["success"] and answer["location"] == "local"
    assert answer["zip_path"] is None and answer["folder_path"] is None
    assert "no copy of the bundle was made here" in answer["warnings"][1]
    (world.folder / "downloads").unlink()
    full = world.manager(max_download_bytes=1000).export_complete_review_to_s3(sample_session(), None, None)
    assert full["success"] and full["zip_path"] is None
    assert "remove copies that are no longer needed" in full["warnings"][1]


def test_a_failure_is_a_dictionary(world: World) -> None:
    manager = world.manager()
    nameless = manager.export_complete_review_to_s3(sample_session(document_name=""), None, None)
    assert (nameless["success"], nameless["location"]) == (False, "failed")
    assert "document_name" in nameless["error"]
    odd = manager.export_complete_review_to_s3(
        sample_session(activity_log=[{"a": {1: object()}}]), None, None
    )
    assert odd["location"] == "failed" and odd["error"].startswith('activity_log[0].a["1"]: a object')
    # Their caller knows; nothing is left of them.
    assert manager.send_queued() == [] and world.exports() == []
    assert not list((world.folder / "queue").rglob("entry.json"))


def test_the_connection_is_tried_at_the_server(world: World) -> None:
    manager = world.manager()
    assert manager.test_s3_connection() == {
        "connected": True,
        "bucket_accessible": True,
        "bucket_name": "tara-test",
        "base_path": "tara/",
        "error": None,
    }
    world("s3 down")
    refused = manager.test_s3_connection()
    assert not refused["connected"] and not refused["bucket_accessible"]
    assert "AccessDenied" in refused["error"]
    away = world.manager(world.nowhere).test_s3_connection()
    assert (away["connected"], away["bucket_name"]) == (False, "tara-test")
    assert "TARA_EXPORT_SERVER" in away["error"] and world.nowhere in away["error"]


def test_a_bucket_that_is_not_the_servers_is_told(world: World) -> None:
    manager = S3ExportManager("another", "/deep/er", settings=world.settings(), send_at_start=False)
    assert (manager.bucket_name, manager.base_path) == ("another", "deep/er/")
    connection = manager.test_s3_connection()
    assert (connection["connected"], connection["bucket_accessible"]) == (True, False)
    assert (connection["bucket_name"], connection["base_path"]) == ("tara-test", "tara/")
    answer = manager.export_complete_review_to_s3(sample_session(), None, None)
    assert answer["success"] and answer["bucket"] == "tara-test"
    for told in (connection["error"], answer["warnings"][0]):
        assert "s3://tara-test/tara/" in told and "s3://another/deep/er/" in told
    any_bucket = S3ExportManager(settings=world.settings(), send_at_start=False)
    assert any_bucket.export_complete_review_to_s3(sample_session(), None, None)["warnings"] == []


def test_odd_values_arrive(world: World) -> None:
    session = sample_session(
        document_name="Prüfbericht 日本 \U0001f600.docx",
        guidelines_name=None,
        guidelines_path=None,
        chat_history=None,
        activity_log=[{"timestamp": None, "who": "Zoë", "details": {"a": [None, 0.1, "\U0001f600"]}}],
    )
    answer = world.manager().export_complete_review_to_s3(session, None, SAMPLE / "after.docx")
    assert answer["success"], answer
    name = "exports/" + answer["request_id"]
    with Client(world.server) as client:
        assert client.get_export(name).document_name == session.document_name
        client.download_artifact(name, "logs/activity_log.json", world.folder / "log.json")
    log = json.loads((world.folder / "log.json").read_text())
    assert log["activity_log"] == session.activity_log
