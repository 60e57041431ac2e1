"""Compares the drop-in's bundle of the sample with the command's bundle."""

from __future__ import annotations

import json
import os
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Any

from dropin_world import World
from sessions import SAMPLE, sample_session
from world import ROOT

from tara_export import Client

_COMMAND = os.environ.get("TARA_EXPORT_BINARY", str(ROOT / "target/debug/tara-export"))
#: Fields that differ between two exports of the same review.
_EXPORT_FIELDS = ("timestamp", "export_id", "folder_name", "accepted_time", "sha256")


def files(world: World, name: str) -> dict[str, Any]:
    """The bundle's files by path, without times, ids, and digests of files that contain them."""
    archive = world.folder / "compared.zip"
    with Client(world.server) as client:
        client.download_bundle(name, archive)
    with zipfile.ZipFile(archive) as opened:
        # SHA256SUMS repeats the digests of files that contain times and ids.
        names = [entry for entry in opened.namelist() if not entry.endswith("/SHA256SUMS")]
        found = {entry: opened.read(entry) for entry in names}
    return {re.sub(r"^\d{8}_\d{6}_[^/]*/", "", path): comparable(path, data) for path, data in found.items()}


def comparable(path: str, data: bytes) -> Any:
    if path.endswith(".json"):
        return without_times(json.loads(data), path.endswith("manifest.json"))
    if path.endswith(".txt"):
        return re.sub(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*", b"", data, count=1)
    return data


def without_times(value: dict[str, Any], is_manifest: bool) -> dict[str, Any]:
    for part in (value, value.get("export_info", {}), value.get("export_metadata", {})):
        for key in _EXPORT_FIELDS:
            part.pop(key, None)
    if is_manifest:
        for artifact in value["artifacts"]:
            if not artifact["path"].startswith("documents/"):
                del artifact["sha256"]
    return value


def test_bundle_is_the_same_as_the_command_creates(world: World) -> None:
    result = world.manager().export_complete_review_to_s3(
        sample_session(), SAMPLE / "before.docx", str(SAMPLE / "after.docx")
    )
    assert result["success"], result
    exported = subprocess.run(
        [_COMMAND, "export", str(SAMPLE), "--server", f"http://{world.server}", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    last = json.loads(exported.stdout.splitlines()[-1])
    dropin_files = files(world, "exports/" + result["request_id"])
    command_files = files(world, last["name"])
    assert len(dropin_files) == 13
    assert dropin_files.keys() == command_files.keys()
    for path, content in command_files.items():
        assert dropin_files[path] == content, path
    # The server's digest of review and documents.
    digest = dropin_files[next(path for path in dropin_files if path.endswith("manifest.json"))][
        "content_digest"
    ]
    assert len(digest) == 64


def test_result_lists_the_stored_files(world: World) -> None:
    result = world.manager().export_complete_review_to_s3(
        sample_session(), SAMPLE / "before.docx", Path("/nowhere/after.docx")
    )
    folder = result["folder_name"]
    assert result["success"] and result["bucket"] == "tara-test"
    assert result["s3_path"] == f"tara/{folder}/" and result["location"] == f"s3://tara-test/tara/{folder}/"
    assert result["warnings"] == ["/nowhere/after.docx: file not found, so the bundle does not contain it"]
    with Client(world.server) as client:
        artifacts = client.get_export("exports/" + result["request_id"]).artifacts
    assert result["uploaded_files"] == [
        {
            "local_path": artifact.path,
            "s3_key": f"tara/{folder}/{artifact.path}",
            "size": artifact.size_bytes,
        }
        for artifact in artifacts
    ]
    assert result["total_files"] == len(artifacts) == 11
    assert not list((world.folder / "queue").glob("[!.b]*"))
    json.dumps(result)


def test_values_that_a_request_cannot_have_are_listed_in_manifest_and_warnings(world: World) -> None:
    document = world.folder / "before \udcff.docx"
    document.write_bytes(b"before")
    session = sample_session(chat_history=[{"content": "cut \ud83d", "score": float("nan"), 1: object}])
    result = world.manager().export_complete_review_to_s3(session, document, None)
    assert result["success"], result
    assert [warning.split(": ")[0] for warning in result["warnings"]] == [
        "before \ufffd.docx",
        'chat_history[0]["1"]',
        "chat_history[0].content",
        "chat_history[0].score",
        'chat_history[0]["1"]',
    ]
    bundle = files(world, "exports/" + result["request_id"])
    assert bundle["logs/chat_history.json"]["chat_history"] == [
        {"1": "<class 'object'>", "content": "cut \ufffd", "score": "NaN"}
    ]
    assert bundle["manifest.json"]["replacements"] == [
        {"path": 'chat_history[0]["1"]', "reason": "KEY_NOT_TEXT"},
        {"path": "chat_history[0].content", "reason": "NOT_UNICODE"},
        {"path": "chat_history[0].score", "reason": "NOT_FINITE"},
        {"path": 'chat_history[0]["1"]', "reason": "UNKNOWN_TYPE"},
        {"path": "documents[0].file_name", "reason": "NOT_UNICODE"},
    ]
