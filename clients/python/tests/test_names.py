"""The names that every client accepts or rejects."""

from __future__ import annotations

from typing import Any

import pytest
from fake_server import HOSTILE

from tara.export.v1 import export_pb2, upload_pb2
from tara_export import Damaged, UntrustedResponse, file_name_violation, names, printable


def rows(key: str) -> Any:
    return pytest.mark.parametrize("row", HOSTILE[key], ids=ascii)


@rows("names")
def test_path_segments_and_file_names(row: dict[str, Any]) -> None:
    assert (names.segment_violation(row["name"]) is None) == row["in_bundle"]
    assert (file_name_violation(row["name"]) is None) == row["on_disk"]


@rows("folders")
def test_folder_names(row: dict[str, Any]) -> None:
    assert (names.folder_violation(row["name"]) is None) == row["accepted"]


@rows("paths")
def test_paths(row: dict[str, Any]) -> None:
    assert (names.path_violation(row["path"]) is None) == row["accepted"]


@rows("texts")
def test_printable_texts(row: dict[str, Any]) -> None:
    assert printable(row["text"]) == row["printed"]


@rows("exports")
def test_export_names(row: dict[str, Any]) -> None:
    export = export_pb2.Export(name=row["name"])
    if row["accepted"]:
        names.check_export(export, None)
    else:
        with pytest.raises(UntrustedResponse):
            names.check_export(export, None)


@rows("uploads")
def test_upload_names(row: dict[str, Any]) -> None:
    upload = upload_pb2.Upload(name=row["name"])
    if row["accepted"]:
        names.check_upload(upload, "", 0)
    else:
        with pytest.raises(UntrustedResponse):
            names.check_upload(upload, "", 0)


@rows("bundles")
def test_archive_entries(row: dict[str, Any]) -> None:
    if row["accepted"]:
        names.unpacked_paths(HOSTILE["folder"], row["entries"])
    else:
        with pytest.raises(Damaged):
            names.unpacked_paths(HOSTILE["folder"], row["entries"])
