"""The drop-in before a server that lies: it writes nothing outside of its folder, and loses no request."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Optional

import pytest
from fake_server import HOSTILE, fake_server
from sessions import sample_session

from tara.export.v1 import export_pb2, service_pb2
from tara_export import Patience
from tara_export.dropin import S3ExportManager, Settings

FOLDER: str = HOSTILE["folder"]
CONTENTS = {"a.txt": b"a", "documents/before_\u5831\u544a.docx": b"before"}
UNUSABLE = [row["name"] for row in HOSTILE["names"] if not row["on_disk"]]


class Lies:
    """A server that stores nothing, and says that it did."""

    def __init__(self) -> None:
        self.export = export_pb2.Export(
            state=export_pb2.Export.STATE_COMMITTED,
            stored_in=export_pb2.DESTINATION_LOCAL,
            folder_name=FOLDER,
            location=f"/data/{FOLDER}/",
        )
        self.archive_name = f"{FOLDER}.zip"
        self.archive = b""
        self.asked: list[str] = []
        self.holds(CONTENTS)

    def holds(self, contents: dict[str, bytes], entries: Optional[list[zipfile.ZipInfo]] = None) -> None:
        """The export has these files, and its archive these entries instead if given."""
        del self.export.artifacts[:]
        for path, content in contents.items():
            sha256 = hashlib.sha256(content).hexdigest()
            self.export.artifacts.add(path=path, size_bytes=len(content), sha256=sha256)
        listed = [{"path": each.path, "sha256": each.sha256} for each in self.export.artifacts]
        manifest = json.dumps({"artifacts": listed}).encode()
        self.export.manifest_sha256 = hashlib.sha256(manifest).hexdigest()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as written:
            for entry in entries or [zipfile.ZipInfo(f"{FOLDER}/{path}") for path in contents]:
                written.writestr(entry, contents.get(entry.filename.partition("/")[2], b"hostile"))
            written.writestr(f"{FOLDER}/manifest.json", manifest)
        self.archive = archive.getvalue()

    def __call__(self, method: str, request: Any) -> list[Any]:
        self.asked.append(method)
        if method == "StartExport":
            self.export.name = self.export.name or f"exports/{request.request_id}"
            completed = export_pb2.Completed(export=self.export)
            name = f"exports/{request.request_id}"
            return [export_pb2.ExportEvent(name=name, run_id="r", sequence=1, completed=completed)]
        assert method == "DownloadBundle"
        described = service_pb2.BundleArchive(file_name=self.archive_name, media_type="application/zip")
        pieces = [self.archive[at : at + 1024] for at in range(0, len(self.archive), 1024)]
        return [
            service_pb2.DownloadBundleResponse(archive=described),
            *(service_pb2.DownloadBundleResponse(data=piece) for piece in pieces),
        ]


@pytest.fixture
def lies() -> Lies:
    return Lies()


class Files:
    """What is on disk around the drop-in's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.downloads = folder / "inner" / "downloads"
        self.downloads.mkdir(parents=True)
        (folder / "outside").mkdir()
        (folder / "outside" / "file").write_text("untouched")

    def written(self) -> list[str]:
        """The files of copies. Nothing else changed."""
        outside = [path for path in (self.folder / "outside").rglob("*")]
        assert [path.name for path in outside] == ["file"] and outside[0].read_text() == "untouched"
        assert {path.name for path in self.folder.iterdir()} <= {"outside", "inner", "queue"}
        assert {path.name for path in (self.folder / "inner").iterdir()} == {"downloads"}
        return sorted(
            path.relative_to(self.downloads).as_posix()
            for path in self.downloads.rglob("*")
            if not path.is_dir() or path.is_symlink()
        )


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


@contextmanager
def manager(lies: Lies, files: Files, **more: Any) -> Iterator[S3ExportManager]:
    with fake_server(lies) as server:
        settings = Settings(
            server=server,
            queue_dir=files.folder / "queue",
            download_dir=files.downloads,
            patience=Patience(limit_seconds=30),
            **more,
        )
        yield S3ExportManager("bucket", settings=settings, send_at_start=False)


def export(lies: Lies, files: Files, **more: Any) -> dict[str, Any]:
    with manager(lies, files, **more) as made:
        return made.export_complete_review_to_s3(sample_session(guidelines_path=None), None, None)


def test_an_honest_bundle_is_copied(lies: Lies, files: Files) -> None:
    answer = export(lies, files)
    assert answer["success"] and answer["location"] == "local", answer
    folder = Path(answer["folder_path"])
    assert folder == files.downloads / answer["request_id"] / FOLDER
    for path, content in CONTENTS.items():
        assert (folder / path).read_bytes() == content
    assert {path.name for path in folder.parent.iterdir()} == {FOLDER, f"{FOLDER}.zip"}


@pytest.mark.parametrize("stored_in", ["DESTINATION_LOCAL", "DESTINATION_S3"])
@pytest.mark.parametrize("name", [*UNUSABLE, "../../outside/x", "../outside"], ids=ascii)
def test_a_hostile_folder_name_writes_nothing_and_keeps_the_request(
    lies: Lies, files: Files, name: str, stored_in: Any
) -> None:
    lies.export.folder_name, lies.export.stored_in = name, stored_in
    lies.export.location = f"s3://bucket/tara/{name}/"
    answer = export(lies, files)
    assert (answer["success"], answer["location"]) == (False, "queued")
    assert answer["error"].isprintable()
    for text in ("folder_name", f"exports/{answer['request_id']}", "check the server's address"):
        assert text in answer["error"]
    assert files.written() == []
    assert lies.asked == ["StartExport"]
    assert (Path(answer["queued_path"]) / "entry.json").is_file()


def test_an_absolute_folder_name_writes_nothing(lies: Lies, files: Files) -> None:
    lies.export.folder_name = str(files.folder / "outside" / "x")
    assert export(lies, files)["location"] == "queued"
    assert files.written() == []


@pytest.mark.parametrize(
    "location",
    [
        "",
        "s3://",
        "file:///etc/",
        f"s3://bucket/tara/x{FOLDER}/",
        f"s3://bucket/\x1b[2J/{FOLDER}/",
        "s3://bucket/tara/",
    ],
    ids=ascii,
)
def test_a_place_in_s3_that_is_none_keeps_the_request(lies: Lies, files: Files, location: str) -> None:
    lies.export.stored_in, lies.export.location = export_pb2.DESTINATION_S3, location
    answer = export(lies, files)
    assert (answer["success"], answer["location"]) == (False, "queued")
    assert "location" in answer["error"] and answer["error"].isprintable()


def test_another_export_keeps_the_request(lies: Lies, files: Files) -> None:
    lies.export.name = HOSTILE["export"]
    answer = export(lies, files)
    assert answer["location"] == "queued" and HOSTILE["export"] in answer["error"]
    assert files.written() == []


def test_an_archive_with_a_hostile_name_is_not_written(lies: Lies, files: Files) -> None:
    lies.archive_name = "../../outside/file"
    answer = export(lies, files)
    assert answer["success"] and answer["zip_path"] is None
    assert "file_name" in answer["warnings"][-1]
    assert files.written() == []


@pytest.mark.parametrize(
    "row", [row for row in HOSTILE["bundles"] if not row["accepted"]], ids=lambda row: row["about"]
)
def test_entries_that_are_no_files_of_the_bundle_are_not_unpacked(
    lies: Lies, files: Files, row: dict[str, Any]
) -> None:
    paths = {entry.partition("/")[2]: b"a" for entry in row["entries"] if entry.startswith(f"{FOLDER}/")}
    lies.holds(paths or CONTENTS, [zipfile.ZipInfo(entry) for entry in row["entries"]])
    answer = export(lies, files)
    assert not answer.get("folder_path")
    assert all(name.endswith(".zip") for name in files.written())


def hostile_entry(kind: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(f"{FOLDER}/a.txt")
    entry.create_system = 3
    entry.external_attr = {"link": 0o120777, "device": 0o060666, "fifo": 0o010666}[kind] << 16
    return entry


@pytest.mark.parametrize("kind", ["link", "device", "fifo"])
def test_special_files_are_not_unpacked(lies: Lies, files: Files, kind: str) -> None:
    content = str(files.folder / "outside" / "file").encode()
    lies.holds({"a.txt": content}, [hostile_entry(kind)])
    answer = export(lies, files)
    assert answer["folder_path"] is None and "special file" in answer["warnings"][-1]
    assert len(files.written()) == 1


@pytest.mark.parametrize("path", ["../../outside/x", "/outside/x", "a\\b", "nul.txt"])
def test_hostile_paths_in_list_and_archive_are_not_unpacked(lies: Lies, files: Files, path: str) -> None:
    lies.holds({path: b"hostile"})
    assert not export(lies, files).get("folder_path")
    assert all(name.endswith(".zip") for name in files.written())


def test_an_archive_larger_than_listed_ends_early(lies: Lies, files: Files) -> None:
    lies.archive = bytes(32 * 1024 * 1024)
    answer = export(lies, files)
    assert answer["zip_path"] is None and "bytes came" in answer["warnings"][-1]
    assert files.written() == []


def test_a_file_larger_than_listed_is_not_unpacked(lies: Lies, files: Files) -> None:
    entry = zipfile.ZipInfo(f"{FOLDER}/a.txt")
    entry.compress_type = zipfile.ZIP_DEFLATED
    lies.holds({"a.txt": bytes(64 * 1024 * 1024)}, [entry])
    lies.export.artifacts[0].size_bytes = 3
    answer = export(lies, files)
    assert answer["folder_path"] is None and "more than 3 bytes" in answer["warnings"][-1]
    assert len(files.written()) == 1


def test_a_listed_size_beyond_the_room_is_refused_before_a_byte(lies: Lies, files: Files) -> None:
    lies.export.artifacts[0].size_bytes = 2**62
    answer = export(lies, files)
    assert answer["zip_path"] is None and "remove copies" in answer["warnings"][-1]
    assert lies.asked == ["StartExport"] and files.written() == []


def test_a_manifest_with_other_files_is_refused(lies: Lies, files: Files) -> None:
    lies.export.manifest_sha256 = "ab" * 32
    answer = export(lies, files)
    assert answer["folder_path"] is None and "manifest.json" in answer["warnings"][-1]


def test_a_link_in_the_folder_of_copies_is_not_followed(lies: Lies, files: Files) -> None:
    lies.export.name = HOSTILE["export"]
    request_id = HOSTILE["export"].rpartition("/")[2]
    (files.downloads / request_id).symlink_to(files.folder / "outside")
    with manager(lies, files) as made:
        folder, archive = made._copy(lies.export, warnings := [])
    assert folder is None and archive is None
    assert "a link" in warnings[0] and request_id in warnings[0]
    assert files.written() == [request_id]


@pytest.mark.parametrize("name", [FOLDER, f"{FOLDER}.zip"])
def test_a_link_at_a_name_of_the_copy_is_not_followed(lies: Lies, files: Files, name: str) -> None:
    lies.export.name = HOSTILE["export"]
    parent = files.downloads / HOSTILE["export"].rpartition("/")[2]
    parent.mkdir()
    (parent / name).symlink_to(files.folder / "outside" / ("file" if name.endswith(".zip") else ""))
    with manager(lies, files) as made:
        folder, archive = made._copy(lies.export, warnings := [])
    if name == FOLDER:
        assert folder is None and "remove it" in warnings[0]
    else:
        assert archive == parent / name and not archive.is_symlink()
    files.written()
