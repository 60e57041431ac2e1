"""Sends many queued requests as one batch."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Optional

import grpc

from tara.export.v1 import batch_pb2, export_pb2, service_pb2

from ..client import Client
from ..errors import CallError, ExportFailed
from .backlog import Outcome, connect, send_entry
from .queue import Entry
from .sending import FailureKind, check_stored, failure_kind, with_documents
from .settings import Settings

#: Requests of one batch. Each entry is locked, which needs an open file.
MAX_REQUESTS = 100
#: Larger documents are uploaded, so that many requests fit into one message.
_MAX_INLINE_BYTES = 64 * 1024
_MAX_BATCH_BYTES = 24 * 1024 * 1024

_log = logging.getLogger(__name__)


def send_batch(entries: Sequence[Entry], settings: Settings) -> list[Outcome]:
    """Sends queued requests, at most `MAX_REQUESTS`, and removes those from the queue that have a bundle.

    Returns an outcome for each, in the same order. A refused request does not affect the others.
    """
    outcomes: dict[int, Outcome] = {}
    try:
        with connect(settings) as client:
            requests = [with_documents(client, entry.read(), _MAX_INLINE_BYTES) for entry in entries]
            if sum(request.ByteSize() for request in requests) <= _MAX_BATCH_BYTES:
                _follow(client, entries, requests, outcomes)
    except CallError as error:
        # One invalid request refuses the batch as a whole: the others are sent one by one.
        if error.code != grpc.StatusCode.INVALID_ARGUMENT:
            return [outcomes.get(index) or _failed(entry, error) for index, entry in enumerate(entries)]
    except Exception as error:
        _log.warning("cannot send a batch: %s", error)
        if failure_kind(error) is FailureKind.UNREACHABLE:
            return [outcomes.get(index) or _failed(entry, error) for index, entry in enumerate(entries)]
    return [outcomes.get(index) or send_entry(entry, settings) for index, entry in enumerate(entries)]


def _follow(
    client: Client,
    entries: Sequence[Entry],
    requests: list[service_pb2.StartExportRequest],
    outcomes: dict[int, Outcome],
) -> None:
    for step in client.export_batch(requests):
        if step.HasField("item"):
            index = step.item.index
            outcomes[index] = _outcome(client, entries[index], step.item)


def _outcome(client: Client, entry: Entry, item: batch_pb2.BatchItem) -> Outcome:
    name = _name_of_bundle(item)
    if name is None:
        error = ExportFailed(item.export, item.state_reason, item.message)
        return Outcome(entry.request_id, entry.folder, error=error, failure_kind=FailureKind.PERMANENT)
    try:
        export: export_pb2.Export = client.get_export(name)
        # Check before the request is removed from the queue: an untrusted server may have stored nothing.
        check_stored(export)
    except Exception as error:
        return _failed(entry, error)
    entry.remove()
    return Outcome(entry.request_id, entry.folder, export=export)


def _name_of_bundle(item: batch_pb2.BatchItem) -> Optional[str]:
    if item.state in (batch_pb2.BatchItem.STATE_COMMITTED, batch_pb2.BatchItem.STATE_FELL_BACK):
        return item.export
    # The id belonged to other content, so the server stored this content under a derived id.
    return item.stored_under or None


def _failed(entry: Entry, error: Exception) -> Outcome:
    return Outcome(entry.request_id, entry.folder, error=error, failure_kind=failure_kind(error))
