"""The drop-in with a hostile server: it writes nothing outside of its folder and loses no request."""

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
from tara_export import Policy
from tara_export.dropin import S3ExportManager, Settings

FOLDER: str = HOSTILE["folder"]
CONTENTS = {"a.txt": b"a", "documents/before_\u5831\u544a.docx": b"before"}
UNUSABLE = [row["name"] for row in HOSTILE["names"] if not row["on_disk"]]


class HostileServer:
    """A server that stores nothing but reports success."""

    def __init__(self) -> None:
        self.export = export_pb2.Export(
            state=export_pb2.Export.STATE_COMMITTED,
            stored_in=export_pb2.DESTINATION_LOCAL,
            folder_name=FOLDER,
            location=f"/data/{FOLDER}/",
        )
        self.archive_name = f"{FOLDER}.zip"
        self.archive = b""
        self.calls: list[str] = []
        self.set_contents(CONTENTS)

    def set_contents(
        self, contents: dict[str, bytes], entries: Optional[list[zipfile.ZipInfo]] = None
    ) -> None:
        """Sets the files of the export, and of its archive unless `entries` is given."""
        del self.export.artifacts[:]
        for path, content in contents.items():
            sha256 = hashlib.sha256(content).hexdigest()
            self.export.artifacts.add(path=path, size_bytes=len(content), sha256=sha256)
        listed = [{"path": artifact.path, "sha256": artifact.sha256} for artifact in self.export.artifacts]
        manifest = json.dumps({"artifacts": listed}).encode()
        self.export.manifest_sha256 = hashlib.sha256(manifest).hexdigest()
        archive = io.BytesIO()
        with zipfile.ZipFile(archive, "w") as written:
            for entry in entries or [zipfile.ZipInfo(f"{FOLDER}/{path}") for path in contents]:
                written.writestr(entry, contents.get(entry.filename.partition("/")[2], b"hostile"))
            written.writestr(f"{FOLDER}/manifest.json", manifest)
        self.archive = archive.getvalue()

    def __call__(self, method: str, request: Any) -> list[Any]:
        self.calls.append(method)
        if method == "StartExport":
            self.export.name = self.export.name or f"exports/{request.request_id}"
            completed = export_pb2.Completed(export=self.export)
            name = f"exports/{request.request_id}"
            return [export_pb2.ExportEvent(name=name, run_id="r", sequence=1, completed=completed)]
        assert method == "DownloadBundle"
        metadata = service_pb2.BundleArchive(file_name=self.archive_name, media_type="application/zip")
        pieces = [self.archive[start : start + 1024] for start in range(0, len(self.archive), 1024)]
        return [
            service_pb2.DownloadBundleResponse(archive=metadata),
            *(service_pb2.DownloadBundleResponse(data=piece) for piece in pieces),
        ]


@pytest.fixture
def hostile() -> HostileServer:
    return HostileServer()


class Files:
    """The files on disk around the drop-in's folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.downloads = folder / "inner" / "downloads"
        self.downloads.mkdir(parents=True)
        (folder / "outside").mkdir()
        (folder / "outside" / "file").write_text("untouched")

    def written(self) -> list[str]:
        """Returns the files of the copies. Asserts that nothing else changed."""
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
def manager(hostile: HostileServer, files: Files, **more: Any) -> Iterator[S3ExportManager]:
    with fake_server(hostile) as server:
        settings = Settings(
            server=server,
            queue_dir=files.folder / "queue",
            download_dir=files.downloads,
            policy=Policy(progress_timeout_seconds=30),
            **more,
        )
        yield S3ExportManager("bucket", settings=settings, send_at_start=False)


def export(hostile: HostileServer, files: Files, **more: Any) -> dict[str, Any]:
    with manager(hostile, files, **more) as export_manager:
        return export_manager.export_complete_review_to_s3(sample_session(guidelines_path=None), None, None)


def test_valid_bundle_is_copied(hostile: HostileServer, files: Files) -> None:
    result = export(hostile, files)
    assert result["success"] and result["location"] == "local", result
    folder = Path(result["folder_path"])
    assert folder == files.downloads / result["request_id"] / FOLDER
    for path, content in CONTENTS.items():
        assert (folder / path).read_bytes() == content
    assert {path.name for path in folder.parent.iterdir()} == {FOLDER, f"{FOLDER}.zip"}


def rename_in_archive(hostile: HostileServer, contents: dict[str, bytes], names: dict[str, str]) -> None:
    """Sets the files of the export. The archive has other names, a short folder, and the list of digests."""
    hostile.set_contents(contents)
    with zipfile.ZipFile(io.BytesIO(hostile.archive)) as archive:
        manifest = archive.read(f"{FOLDER}/manifest.json")
    files = {names.get(path, path): content for path, content in contents.items()}
    files["manifest.json"] = manifest
    sums = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in files.items()]
    files["SHA256SUMS"] = "".join(sums).encode()
    renamed = io.BytesIO()
    with zipfile.ZipFile(renamed, "w") as written:
        for name, content in files.items():
            written.writestr(f"short~12345678/{name}", content)
    hostile.archive, hostile.archive_name = renamed.getvalue(), "short~12345678.zip"


def test_file_with_another_name_in_the_archive_gets_its_own(hostile: HostileServer, files: Files) -> None:
    document = next(path for path in CONTENTS if path.startswith("documents/"))
    rename_in_archive(hostile, CONTENTS, {document: "documents/cut~12345678.docx"})
    result = export(hostile, files)
    assert result["success"] and result["folder_path"], result
    folder = Path(result["folder_path"])
    assert folder.name == FOLDER
    unpacked = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert unpacked == {*CONTENTS, "manifest.json"}
    for path, content in CONTENTS.items():
        assert (folder / path).read_bytes() == content


@pytest.mark.parametrize("path", ["../../outside/x", "nul.txt", "a\u202eb", "A.txt"], ids=ascii)
def test_hostile_path_of_a_renamed_file_is_not_written(
    hostile: HostileServer, files: Files, path: str
) -> None:
    """The name in the archive is valid, but not the one in the list of the export."""
    rename_in_archive(hostile, {"a.txt": b"a", path: b"before"}, {path: "b~12345678"})
    assert not export(hostile, files).get("folder_path")
    assert all(name.endswith(".zip") for name in files.written())


@pytest.mark.parametrize("stored_in", ["DESTINATION_LOCAL", "DESTINATION_S3"])
@pytest.mark.parametrize("name", [*UNUSABLE, "../../outside/x", "../outside"], ids=ascii)
def test_hostile_folder_name_writes_nothing_and_keeps_the_request(
    hostile: HostileServer, files: Files, name: str, stored_in: Any
) -> None:
    hostile.export.folder_name, hostile.export.stored_in = name, stored_in
    hostile.export.location = f"s3://bucket/tara/{name}/"
    result = export(hostile, files)
    assert (result["success"], result["location"]) == (False, "queued")
    assert result["error"].isprintable()
    for text in ("folder_name", f"exports/{result['request_id']}", "check the server's address"):
        assert text in result["error"]
    assert files.written() == []
    assert hostile.calls == ["StartExport"]
    assert (Path(result["queued_path"]) / "entry.json").is_file()


def test_absolute_folder_name_writes_nothing(hostile: HostileServer, files: Files) -> None:
    hostile.export.folder_name = str(files.folder / "outside" / "x")
    assert export(hostile, files)["location"] == "queued"
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
def test_invalid_s3_location_keeps_the_request(hostile: HostileServer, files: Files, location: str) -> None:
    hostile.export.stored_in, hostile.export.location = export_pb2.DESTINATION_S3, location
    result = export(hostile, files)
    assert (result["success"], result["location"]) == (False, "queued")
    assert "location" in result["error"] and result["error"].isprintable()


def test_another_export_keeps_the_request(hostile: HostileServer, files: Files) -> None:
    hostile.export.name = HOSTILE["export"]
    result = export(hostile, files)
    assert result["location"] == "queued" and HOSTILE["export"] in result["error"]
    assert files.written() == []


def test_archive_with_hostile_name_is_not_written(hostile: HostileServer, files: Files) -> None:
    hostile.archive_name = "../../outside/file"
    result = export(hostile, files)
    assert result["success"] and result["zip_path"] is None
    assert "file_name" in result["warnings"][-1]
    assert files.written() == []


@pytest.mark.parametrize(
    "row", [row for row in HOSTILE["bundles"] if not row["accepted"]], ids=lambda row: row["about"]
)
def test_entries_outside_of_the_bundle_are_not_unpacked(
    hostile: HostileServer, files: Files, row: dict[str, Any]
) -> None:
    paths = {entry.partition("/")[2]: b"a" for entry in row["entries"] if entry.startswith(f"{FOLDER}/")}
    hostile.set_contents(paths or CONTENTS, [zipfile.ZipInfo(entry) for entry in row["entries"]])
    result = export(hostile, files)
    assert not result.get("folder_path")
    assert all(name.endswith(".zip") for name in files.written())


def hostile_entry(kind: str) -> zipfile.ZipInfo:
    entry = zipfile.ZipInfo(f"{FOLDER}/a.txt")
    entry.create_system = 3
    entry.external_attr = {"link": 0o120777, "device": 0o060666, "fifo": 0o010666}[kind] << 16
    return entry


@pytest.mark.parametrize("kind", ["link", "device", "fifo"])
def test_special_files_are_not_unpacked(hostile: HostileServer, files: Files, kind: str) -> None:
    content = str(files.folder / "outside" / "file").encode()
    hostile.set_contents({"a.txt": content}, [hostile_entry(kind)])
    result = export(hostile, files)
    assert result["folder_path"] is None and "special file" in result["warnings"][-1]
    assert len(files.written()) == 1


@pytest.mark.parametrize("path", ["../../outside/x", "/outside/x", "a\\b", "nul.txt"])
def test_hostile_paths_in_list_and_archive_are_not_unpacked(
    hostile: HostileServer, files: Files, path: str
) -> None:
    hostile.set_contents({path: b"hostile"})
    assert not export(hostile, files).get("folder_path")
    assert all(name.endswith(".zip") for name in files.written())


def test_archive_larger_than_listed_is_aborted(hostile: HostileServer, files: Files) -> None:
    hostile.archive = bytes(32 * 1024 * 1024)
    result = export(hostile, files)
    assert result["zip_path"] is None and "received more than" in result["warnings"][-1]
    assert files.written() == []


def test_file_larger_than_listed_is_not_unpacked(hostile: HostileServer, files: Files) -> None:
    entry = zipfile.ZipInfo(f"{FOLDER}/a.txt")
    entry.compress_type = zipfile.ZIP_DEFLATED
    hostile.set_contents({"a.txt": bytes(64 * 1024 * 1024)}, [entry])
    hostile.export.artifacts[0].size_bytes = 3
    result = export(hostile, files)
    assert result["folder_path"] is None and "more than 3 bytes" in result["warnings"][-1]
    assert len(files.written()) == 1


def test_size_beyond_the_limit_is_rejected_before_the_download(hostile: HostileServer, files: Files) -> None:
    hostile.export.artifacts[0].size_bytes = 2**62
    result = export(hostile, files)
    assert result["zip_path"] is None and "remove copies" in result["warnings"][-1]
    assert hostile.calls == ["StartExport"] and files.written() == []


def test_manifest_with_other_digest_is_rejected(hostile: HostileServer, files: Files) -> None:
    hostile.export.manifest_sha256 = "ab" * 32
    result = export(hostile, files)
    assert result["folder_path"] is None and "manifest.json" in result["warnings"][-1]


def test_link_in_the_folder_with_copies_is_not_followed(hostile: HostileServer, files: Files) -> None:
    hostile.export.name = HOSTILE["export"]
    request_id = HOSTILE["export"].rpartition("/")[2]
    (files.downloads / request_id).symlink_to(files.folder / "outside")
    with manager(hostile, files) as export_manager:
        folder, archive = export_manager._copy(hostile.export, warnings := [])
    assert folder is None and archive is None
    assert "a link" in warnings[0] and request_id in warnings[0]
    assert files.written() == [request_id]


@pytest.mark.parametrize("name", [FOLDER, f"{FOLDER}.zip"])
def test_link_at_a_name_of_the_copy_is_not_followed(hostile: HostileServer, files: Files, name: str) -> None:
    hostile.export.name = HOSTILE["export"]
    parent = files.downloads / HOSTILE["export"].rpartition("/")[2]
    parent.mkdir()
    (parent / name).symlink_to(files.folder / "outside" / ("file" if name.endswith(".zip") else ""))
    with manager(hostile, files) as export_manager:
        folder, archive = export_manager._copy(hostile.export, warnings := [])
    if name == FOLDER:
        assert folder is None and "remove it" in warnings[0]
    else:
        assert archive == parent / name and not archive.is_symlink()
    files.written()
