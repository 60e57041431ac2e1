"""Queued requests on disk."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from dropin_world import World
from sessions import SAMPLE, sample_session, wait_until
from world import content

from tara.export.v1 import service_pb2
from tara_export import Client
from tara_export.dropin import QueueLimits, S3ExportManager
from tara_export.dropin.outgoing import request_from_session
from tara_export.dropin.queue import Queue

#: A program that exports the sample and prints the result.
_EXPORT = """
import json, sys
from sessions import sample_session
from tara_export.dropin import S3ExportManager
manager = S3ExportManager(send_at_start=False)
print(json.dumps(manager.export_complete_review_to_s3(sample_session(), None, sys.argv[1])))
"""


def start(*arguments: str, environment: dict[str, str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, *arguments],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def waiting(world: World) -> list[Path]:
    return sorted(path.parent for path in (world.folder / "queue").glob("[!.]*/entry.json"))


def test_addresses_are_queued_with_the_request(world: World) -> None:
    result = world.manager(world.unreachable).export_complete_review_to_s3(
        sample_session(), None, None, notify_emails=["ada@example.com", "eve@example.com"]
    )
    assert result["location"] == "queued"
    request = service_pb2.StartExportRequest.FromString(
        Path(result["queued_path"], "request.bin").read_bytes()
    )
    assert list(request.notify_emails) == ["ada@example.com", "eve@example.com"]


def test_text_instead_of_addresses_is_an_error(world: World) -> None:
    result = world.manager().export_complete_review_to_s3(
        sample_session(),
        None,
        None,
        notify_emails="ada@example.com",
    )
    assert result["location"] == "failed" and "must be a list" in result["error"]
    assert world.exports() == []


def test_unsent_request_is_queued_and_sent_later_under_its_id(world: World) -> None:
    result = world.queue_one(after=SAMPLE / "after.docx")
    assert (result["success"], result["location"]) == (False, "queued")
    assert world.unreachable in result["error"] and "queued on disk" in result["error"]
    assert [str(folder) for folder in waiting(world)] == [result["queued_path"]]
    assert result["queued_path"].endswith(result["request_id"])
    # The server is still unreachable: nothing changes.
    again = world.manager(world.unreachable).send_queued()
    assert [attempt["request_id"] for attempt in again] == [result["request_id"]]
    assert again[0]["location"] == "queued"
    (sent,) = world.manager().send_queued()
    assert sent["success"] and sent["request_id"] == result["request_id"]
    assert "documents/after_incident_report_0000.docx" in [
        file["local_path"] for file in sent["uploaded_files"]
    ]
    assert world.exports() == [result["request_id"]] and waiting(world) == []
    assert world.manager().send_queued() == []


def test_next_export_and_next_start_send_queued_requests(world: World) -> None:
    first = world.queue_one()
    second = world.manager().export_complete_review_to_s3(sample_session(), None, None)
    wait_until(lambda: not waiting(world))
    assert sorted(world.exports()) == sorted([first["request_id"], second["request_id"]])
    third = world.queue_one()
    S3ExportManager(settings=world.settings())
    wait_until(lambda: not waiting(world))
    assert third["request_id"] in world.exports()


def test_process_killed_before_sending_loses_nothing(world: World) -> None:
    environment = world.environment(world.unreachable)
    with start("-c", _EXPORT, str(SAMPLE / "after.docx"), environment=environment) as process:
        wait_until(lambda: bool(waiting(world)))
        process.kill()
    (folder,) = waiting(world)
    (sent,) = world.manager().send_queued()
    assert sent["success"] and sent["request_id"] == folder.name
    assert world.exports() == [folder.name]


def test_only_one_of_two_processes_sends(world: World) -> None:
    result = world.queue_one()
    world("hold")
    with start("-m", "tara_export.dropin", environment=world.environment()) as first:
        wait_until(lambda: bool(world.exports()))
        # The request is being sent, so no other process sends it, but it is still queued.
        with start("-m", "tara_export.dropin", environment=world.environment()) as second:
            printed, _ = second.communicate(timeout=30)
            assert (printed, second.returncode) == ("", 1)
        assert world.manager().send_queued() == []
        world("release")
        printed, _ = first.communicate(timeout=30)
    assert printed.startswith(result["request_id"] + "\ts3://tara-test/") and first.returncode == 0
    assert world.exports() == [result["request_id"]]


def test_concurrent_processes_send_each_request_once(world: World) -> None:
    expected = sorted(world.queue_one()["request_id"] for _ in range(4))
    processes = [start("-m", "tara_export.dropin", environment=world.environment()) for _ in range(3)]
    printed = "".join(process.communicate(timeout=60)[0] for process in processes)
    assert sorted(line.split("\t")[0] for line in printed.splitlines()) == expected
    assert sorted(world.exports()) == expected and waiting(world) == []


def test_large_document_is_queued_completely(world: World) -> None:
    size_bytes = 9 * 1024 * 1024
    document = world.folder / "after.bin"
    document.write_bytes(content(size_bytes))
    result = world.queue_one(after=document)
    # The queue has its own copy.
    document.write_bytes(b"something else")
    # One connection is lost during the upload.
    world("cut requests 4000000")
    (sent,) = world.manager(world.addresses["grpc"]).send_queued()
    assert sent["success"], sent
    stored = next(file for file in sent["uploaded_files"] if "after_" in file["local_path"])
    assert stored["size"] == size_bytes
    to = world.folder / "downloaded"
    with Client(world.server) as client:
        artifact = client.download_artifact("exports/" + result["request_id"], stored["local_path"], to)
    assert artifact.sha256 == hashlib.sha256(content(size_bytes)).hexdigest()


def test_refused_request_is_moved_and_others_are_sent(world: World) -> None:
    refused = world.queue_one(sample_session(document_name=""))
    good = world.queue_one()
    first, second = world.manager().send_queued()
    assert (first["location"], first["request_id"]) == ("failed", refused["request_id"])
    assert second["success"] and world.exports() == [good["request_id"]]
    folder = Path(first["refused_path"])
    error = json.loads((folder / "error.json").read_text())
    assert (error["code"], error["reason"]) == ("INVALID_ARGUMENT", "INVALID_REQUEST")
    assert list(error["fields"]) == ["review.document_name"]
    assert (folder / "request.bin").stat().st_size > 0
    # It is not sent again until it is moved back.
    assert world.manager().send_queued() == []
    with start("-m", "tara_export.dropin", "list", environment=world.environment()) as listing:
        printed, _ = listing.communicate(timeout=30)
    assert printed.startswith(refused["request_id"]) and "refused: review.document_name" in printed
    folder.rename(world.folder / "queue" / folder.name)
    (again,) = world.manager().send_queued()
    assert again["refused_path"] == first["refused_path"]


def queue_with_files(world: World) -> Path:
    """Queues a request with its documents in own files, as for large ones and by earlier releases."""
    outgoing, _ = request_from_session(sample_session(), None, SAMPLE / "after.docx")
    settings = world.settings()
    with Queue(settings.queue_dir, settings.queue_limits).add(outgoing) as entry:
        assert (entry.folder / "document_1").is_file()
        return entry.folder


def test_documents_in_own_files_are_sent(world: World) -> None:
    folder = queue_with_files(world)
    (sent,) = world.manager().send_queued()
    assert sent["success"] and sent["request_id"] == folder.name
    documents = [file["local_path"] for file in sent["uploaded_files"] if "documents/" in file["local_path"]]
    assert len(documents) == 2


def damage(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("name", ["request.bin", "document_0", "entry.json"])
@pytest.mark.parametrize("change", [damage, Path.unlink])
def test_damaged_request_is_not_sent(world: World, name: str, change: Any) -> None:
    file = queue_with_files(world) / name
    if name == "entry.json" and change is damage:
        file.write_text("{")
    else:
        change(file)
    (attempt,) = world.manager().send_queued()
    assert attempt["location"] == "failed" and world.exports() == []
    assert Path(attempt["refused_path"]).is_dir() and waiting(world) == []


def test_full_queue_is_reported(world: World) -> None:
    def export(server: str) -> dict[str, Any]:
        manager = world.manager(server, queue_limits=QueueLimits(max_requests=1))
        return manager.export_complete_review_to_s3(sample_session(), None, None)

    assert export(world.unreachable)["location"] == "queued"
    full = export(world.unreachable)
    assert full["location"] == "failed" and world.unreachable in full["error"]
    assert f"the queue {world.folder / 'queue'} is full: 1 requests" in full["error"]
    # A full queue does not prevent direct sending.
    assert export(world.server)["success"]
    small = world.manager(world.unreachable, queue_limits=QueueLimits(max_bytes=30_000))
    first_queued = waiting(world)
    result = small.export_complete_review_to_s3(sample_session(), None, SAMPLE / "after.docx")
    assert result["location"] == "failed" and waiting(world) == first_queued


def test_export_works_without_a_queue_folder(world: World) -> None:
    (world.folder / "queue").write_text("conflicting")
    assert world.manager().export_complete_review_to_s3(sample_session(), None, None)["success"]
    failed = world.manager(world.unreachable).export_complete_review_to_s3(sample_session(), None, None)
    assert failed["location"] == "failed" and "could not be queued" in failed["error"]


def test_stalled_export_is_continued_by_the_server(world: World) -> None:
    world("hold")
    manager = world.manager(stall_timeout_seconds=0.5)
    result = manager.export_complete_review_to_s3(sample_session(), None, None)
    assert result["location"] == "queued" and "the server has accepted" in result["error"]
    world("release")
    (sent,) = world.manager().send_queued()
    assert sent["success"] and world.exports() == [result["request_id"]]
