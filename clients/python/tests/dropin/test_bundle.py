"""The drop-in's bundle of the sample, beside that of the command."""

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
#: What tells one export of the same review from another.
_OF_THE_EXPORT = ("timestamp", "export_id", "folder_name", "accepted_time", "sha256")


def files(world: World, name: str) -> dict[str, Any]:
    """The bundle's files by their paths, without times, ids, and digests of files with these."""
    archive = world.folder / "compared.zip"
    with Client(world.server) as client:
        client.download_bundle(name, archive)
    with zipfile.ZipFile(archive) as opened:
        found = {entry: opened.read(entry) for entry in opened.namelist()}
    return {re.sub(r"^\d{8}_\d{6}_[^/]*/", "", path): comparable(path, data) for path, data in found.items()}


def comparable(path: str, data: bytes) -> Any:
    if path.endswith(".json"):
        return without_times(json.loads(data), path.endswith("manifest.json"))
    if path.endswith(".txt"):
        return re.sub(rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d\S*", b"", data, count=1)
    return data


def without_times(value: dict[str, Any], is_manifest: bool) -> dict[str, Any]:
    for part in (value, value.get("export_info", {}), value.get("export_metadata", {})):
        for key in _OF_THE_EXPORT:
            part.pop(key, None)
    if is_manifest:
        for artifact in value["artifacts"]:
            if not artifact["path"].startswith("documents/"):
                del artifact["sha256"]
    return value


def test_the_bundle_is_the_one_that_the_command_makes(world: World) -> None:
    answer = world.manager().export_complete_review_to_s3(
        sample_session(), SAMPLE / "before.docx", str(SAMPLE / "after.docx")
    )
    assert answer["success"], answer
    exported = subprocess.run(
        [_COMMAND, "export", str(SAMPLE), "--server", f"http://{world.server}", "--json"],
        capture_output=True,
        text=True,
        check=True,
    )
    last = json.loads(exported.stdout.splitlines()[-1])
    ours = files(world, "exports/" + answer["request_id"])
    theirs = files(world, last["name"])
    assert len(ours) == 13
    assert ours.keys() == theirs.keys()
    for path, content in theirs.items():
        assert ours[path] == content, path
    # The server's own digest of review and documents.
    digest = ours[next(path for path in ours if path.endswith("manifest.json"))]["content_digest"]
    assert len(digest) == 64


def test_the_answer_names_what_is_there(world: World) -> None:
    answer = world.manager().export_complete_review_to_s3(
        sample_session(), SAMPLE / "before.docx", Path("/nowhere/after.docx")
    )
    folder = answer["folder_name"]
    assert answer["success"] and answer["bucket"] == "tara-test"
    assert answer["s3_path"] == f"tara/{folder}/" and answer["location"] == f"s3://tara-test/tara/{folder}/"
    assert answer["warnings"] == ["/nowhere/after.docx: there is no such file, so the bundle goes without it"]
    with Client(world.server) as client:
        artifacts = client.get_export("exports/" + answer["request_id"]).artifacts
    assert answer["uploaded_files"] == [
        {
            "local_path": artifact.path,
            "s3_key": f"tara/{folder}/{artifact.path}",
            "size": artifact.size_bytes,
        }
        for artifact in artifacts
    ]
    assert answer["total_files"] == len(artifacts) == 11
    assert not list((world.folder / "queue").glob("[!.b]*"))
    json.dumps(answer)
