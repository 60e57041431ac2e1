"""The client with a hostile server: it raises an error and leaves no file."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import pytest
from fake_server import HOSTILE, fake_server
from google.protobuf import json_format
from google.protobuf.message_factory import GetMessageClass
from world import client_at

from tara_export import CallError, TaraExportError, methods

#: Methods that this client does not implement.
_NOT_IMPLEMENTED = ("CreateDownloadLink",)
RESPONSES = [row for row in HOSTILE["cases"] if row["method"] not in _NOT_IMPLEMENTED]


def call(client: Any, method: str, folder: Path) -> None:
    name, path = HOSTILE["export"], HOSTILE["path"]
    if method == "GetExport":
        client.get_export(name)
    elif method == "ListExports":
        list(client.list_exports())
    elif method == "ListEvents":
        list(client.list_events())
    elif method == "WatchExport":
        list(client.watch(name))
    elif method == "DownloadArtifact":
        client.download_artifact(name, path, folder / "file")
    elif method == "DownloadBundle":
        client.download_bundle(name, folder / "file")
    elif method == "CreateUpload":
        document = folder.parent / "document"
        document.write_text(HOSTILE["document"])
        client.upload_file(document)
    else:
        raise AssertionError(method)


@pytest.mark.parametrize("mode", ["grpc", "asyncio"])
@pytest.mark.parametrize("row", RESPONSES, ids=lambda row: f"{row['method']}: {row['about']}")
def test_hostile_responses_are_rejected(row: dict[str, Any], mode: str, tmp_path: Path) -> None:
    message_class = GetMessageClass(methods.DESCRIPTORS[row["method"]].output_type)
    responses = [json_format.ParseDict(response, message_class()) for response in row["responses"]]
    folder = tmp_path / "folder"
    folder.mkdir()
    with (
        fake_server(lambda method, _: responses if method == row["method"] else []) as server,
        client_at(mode, server) as client,
        pytest.raises(TaraExportError) as raised,
    ):
        call(client, row["method"], folder)
    for text in row["error_contains"]:
        assert text in str(raised.value)
    assert str(raised.value).isprintable()
    assert list(folder.iterdir()) == []


def test_link_at_the_target_is_replaced_and_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.write_text("untouched")
    target = tmp_path / "file"
    target.symlink_to(outside)
    with fake_server(lambda *_: valid_artifact()) as server, client_at("grpc", server) as client:
        client.download_artifact(HOSTILE["export"], HOSTILE["path"], target)
    assert not target.is_symlink() and target.read_text() == "abc"
    assert outside.read_text() == "untouched"


def valid_artifact() -> list[Any]:
    message_class = GetMessageClass(methods.DESCRIPTORS["DownloadArtifact"].output_type)
    sha256 = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    metadata = {"artifact": {"path": HOSTILE["path"], "sizeBytes": 3, "sha256": sha256}}
    return [json_format.ParseDict(part, message_class()) for part in (metadata, {"data": "YWJj"})]


@pytest.mark.parametrize("mode", ["grpc", "asyncio"])
def test_traceback_contains_no_control_characters_of_the_server(mode: str) -> None:
    def fail(*_: Any) -> list[Any]:
        raise ValueError("\x1b[2J\x9b31m\u202e")

    with (
        fake_server(fail) as server,
        client_at(mode, server) as client,
        pytest.raises(CallError) as raised,
    ):
        client.get_export(HOSTILE["export"])
    printed = "".join(traceback.format_exception(None, raised.value, None))
    assert "\\u{1b}" in printed and not {"\x1b", "\x9b", "\u202e"} & set(printed)
