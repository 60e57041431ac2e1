"""Runs clients/scenarios.json in every mode of the client."""

from __future__ import annotations

import hashlib
import json
import logging
import re
import time
import traceback
import zipfile
from pathlib import Path
from typing import Any

import pytest
from authority import Authority
from google.protobuf import json_format
from notifications import notify_file
from world import MODES, ROOT, World, client_of, content, started

from tara.export.v1 import automation_pb2, export_pb2, review_pb2, service_pb2
from tara_export import CallError

FILE = json.loads((ROOT / "clients/scenarios.json").read_text())


class Run:
    def __init__(self, client: Any, world: World, folder: Path) -> None:
        self.client, self.world, self.folder = client, world, folder
        self.exports: dict[str, export_pb2.Export] = {}
        #: What the client shows of itself and of its errors.
        self.texts = [repr(client), repr(vars(getattr(client, "client", client)))]

    def name(self, step: dict[str, Any]) -> str:
        return self.exports[step["of"]].name if "of" in step else step["name"]

    def request(self, step: dict[str, Any]) -> service_pb2.StartExportRequest:
        request = service_pb2.StartExportRequest(
            request_id=step.get("request_id", ""), notify_emails=step.get("notify_emails", ())
        )
        review = step.get("review", FILE["request"]["review"])
        json_format.ParseDict(reviewable(review), request.review)
        for document in step.get("documents", FILE["request"]["documents"]):
            converted = request.documents.add(
                kind=review_pb2.Document.Kind.Value(document["kind"]), file_name=document["file_name"]
            )
            if "size_bytes" in document:
                path = self.folder / document["file_name"]
                path.write_bytes(content(document["size_bytes"]))
                converted.upload = self.client.upload_file(path).name
            else:
                converted.content = document["text"].encode()
        return request

    def batch(self, step: dict[str, Any]) -> dict[str, Any]:
        requests = [self.request(item) for item in step["items"]]
        indexes: list[int] = []
        for result in self.client.export_batch(requests, step.get("batch_id", "")):
            if result.HasField("item"):
                indexes.append(result.item.index)
            elif result.HasField("ended"):
                ended = result.ended
        assert sorted(indexes) == list(range(len(requests)))
        assert self.client.get_batch(ended.name).counts == ended.counts
        return {"committed": ended.counts.committed, "refused": ended.counts.refused}

    def export(self, step: dict[str, Any]) -> dict[str, Any]:
        request = self.request(step)
        seen: dict[str, Any] = {}
        last: dict[str, int] = {}
        for event in self.client.export(request):
            kind = event.WhichOneof("event")
            if kind not in ("artifact_progress", "heartbeat", "completed", "failed"):
                assert event.sequence > last.get(event.run_id, 0)
                last[event.run_id] = event.sequence
            if kind == "accepted" and not event.accepted.resumed:
                for command in step.get("when_accepted", []):
                    self.world.run(command)
            if kind == "fell_back":
                seen["fell_back"] = event.fell_back.reason
            if kind == "completed":
                self.exports[step["as"]] = event.completed.export
        return {**seen, **values(self.exports[step["as"]])}

    def get(self, step: dict[str, Any]) -> dict[str, Any]:
        return values(self.client.get_export(self.name(step)))

    def list(self, step: dict[str, Any]) -> dict[str, Any]:
        known = {export.name: key for key, export in self.exports.items()}
        found = self.client.list_exports(step["filter"], step["page_size"])
        return {"exports": [known.get(export.name, export.name) for export in found]}

    def download(self, step: dict[str, Any]) -> dict[str, Any]:
        to = self.folder / "downloaded"
        self.client.download_artifact(self.name(step), step["path"], to)
        return {"sha256": hashlib.sha256(to.read_bytes()).hexdigest()}

    def bundle(self, step: dict[str, Any]) -> dict[str, Any]:
        to = self.folder / "bundle.zip"
        self.client.download_bundle(self.name(step), to)
        with zipfile.ZipFile(to) as archive:
            assert archive.testzip() is None
            return {"files": len(archive.namelist())}

    def targets(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"targets": [target.name for target in self.client.list_targets().targets]}

    def test_target(self, step: dict[str, Any]) -> dict[str, Any]:
        return {"delivered": self.client.test_target(step["target"]).delivered}

    def events(self, step: dict[str, Any]) -> dict[str, Any]:
        state = automation_pb2.Event.State.Value(step.get("state", "STATE_UNSPECIFIED"))
        events = self.client.list_events(
            state=state, target=step.get("target", ""), page_size=step["page_size"]
        )
        known = {export.name: key for key, export in self.exports.items()}
        return {"events": [known.get(event.export, event.export) for event in events]}

    def retry_events(self, step: dict[str, Any]) -> dict[str, Any]:
        response = self.client.retry_events(automation_pb2.RetryEventsRequest(**step))
        return {
            "event_count": response.event_count,
            "missing_event_ids": list(response.missing_event_ids),
        }

    def step(self, step: dict[str, Any]) -> None:
        if "world" in step:
            return self.world.run(step["world"])
        verb = next(key for key in step if key not in ("expect", "until"))
        if "until" in step:
            deadline = time.monotonic() + 60
            while not self.matches(getattr(self, verb)(step[verb]), step["until"]):
                assert time.monotonic() < deadline, step
                time.sleep(0.1)
            return None
        try:
            found = getattr(self, verb)(step[verb])
        except CallError as error:
            self.texts += [str(error), repr(error), "".join(traceback.format_exception(error))]
            found = {"code": error.code.name, "reason": error.reason}
            found["fields"] = [violation.field for violation in error.field_violations]
            assert "code" in step["expect"], error
        except TokenUnavailable as error:
            found = {"token_error": str(error)}
            assert "token_error" in step["expect"], error
        assert self.matches(found, step["expect"]), (found, step)
        return None

    def matches(self, found: dict[str, Any], expected: dict[str, Any]) -> bool:
        required = dict(expected)
        if "same_as" in required:
            other = self.exports[required.pop("same_as")]
            required.update(name=other.name, manifest_sha256=other.manifest_sha256)
        if "sha256_of_size_bytes" in required:
            required["sha256"] = hashlib.sha256(content(required.pop("sha256_of_size_bytes"))).hexdigest()
        return all(found.get(key) == value for key, value in required.items())


def reviewable(review: dict[str, Any]) -> dict[str, Any]:
    """Moves keys that are not fields of an item, such as `text`, to the free-form fields."""
    known = {field.name for field in review_pb2.FeedbackItem.DESCRIPTOR.fields}
    converted = json.loads(json.dumps(review))
    for section in converted.get("suggestions", []):
        for item in section["items"]:
            additional = {key: item.pop(key) for key in list(item) if key not in known}
            if additional:
                item["additional_fields"] = additional
    return converted


def values(export: export_pb2.Export) -> dict[str, Any]:
    return {
        "name": export.name,
        "state": export_pb2.Export.State.Name(export.state),
        "stored_in": export_pb2.Destination.Name(export.stored_in),
        "artifact_count": export.artifact_count,
        "document_name": export.document_name,
        "reviewer": export.reviewer,
        "manifest_sha256": export.manifest_sha256,
    }


class TokenUnavailable(Exception):
    """The error of a token's function."""


def token_of(described: dict[str, Any], mode: str) -> Any:
    """The token of a scenario's client. A function is a coroutine function in asyncio."""
    remaining = list(described.get("tokens", ()))

    def next_token() -> str:
        if "token_error" in described:
            raise TokenUnavailable(described["token_error"])
        return remaining.pop(0) if len(remaining) > 1 else remaining[0]

    async def next_token_async() -> str:
        return next_token()

    if not remaining and "token_error" not in described:
        return described.get("token")
    return next_token_async if mode == "asyncio" else next_token


def server_settings(
    described: dict[str, Any], folder: Path, authority: Authority, receiver: str
) -> dict[str, str]:
    settings: dict[str, str] = {}
    if described.get("tls") or described.get("mutual_tls"):
        settings = authority.server_settings(is_mutual=bool(described.get("mutual_tls")))
    if "tokens" in described:
        callers = [
            {
                "name": f"caller-{number}",
                "roles": caller["roles"],
                "sha256": hashlib.sha256(caller["token"].encode()).hexdigest(),
            }
            for number, caller in enumerate(described["tokens"])
        ]
        file = folder / "tokens.json"
        file.write_text(json.dumps({"tokens": callers}))
        settings["AUTH_TOKENS_FILE"] = str(file)
    if "notify" in described:
        settings["NOTIFY_FILE"] = str(notify_file(folder, described["notify"], receiver))
    if "notify_recipients" in described:
        settings["NOTIFY_RECIPIENTS"] = described["notify_recipients"]
    return settings


def client_options(described: dict[str, Any], mode: str, authority: Authority) -> dict[str, Any]:
    options: dict[str, Any] = {"token": token_of(described, mode)}
    if described.get("ca"):
        options["tls_ca_file"] = authority.ca_file
    if described.get("certificate"):
        options["tls_client_cert_file"] = authority.client_cert_file
        options["tls_client_key_file"] = authority.client_key_file
    return options


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("scenario", FILE["scenarios"], ids=lambda scenario: scenario["name"])
def test_scenario(
    scenario: dict[str, Any],
    mode: str,
    tmp_path: Path,
    authority: Authority,
    receiver: str,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    described = scenario.get("server", {}), scenario.get("client", {})
    settings = server_settings(described[0], tmp_path, authority, receiver)
    scheme = "https" if "TLS_CERT_FILE" in settings else "http"
    options = client_options(described[1], mode, authority)
    with started(settings) as world, client_of(mode, world, scheme, **options) as client:
        run = Run(client, world, tmp_path)
        for step in scenario["steps"]:
            run.step(step)
    output = capfd.readouterr()
    shown = "\n".join([*run.texts, caplog.text, output.out, output.err])
    for token in re.findall(r"[0-9a-f]+-(?:accepted|refused)[-0-9]*", json.dumps(described)):
        assert token not in shown
