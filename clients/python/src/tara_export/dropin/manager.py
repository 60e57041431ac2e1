"""The class that the review application calls."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Optional

import grpc

from tara.export.v1 import export_pb2

from ..errors import CallError
from . import results
from .backlog import Backlog, Outcome, connect
from .batch import MAX_REQUESTS, send_batch
from .connection import connection_failure, connection_status
from .first import NotQueued, send_new
from .kept_connection import Connections
from .local_copy import LocalCopies
from .location import BundleLocation, normal_base_path
from .outgoing import DocumentPath, request_from_session
from .queue import Entry, Queue
from .results import Result
from .sending import MAX_INLINE_BYTES, FailureKind, failure_kind
from .settings import Settings

_log = logging.getLogger(__name__)


class S3ExportManager:
    """Exports reviews through a tara-export server, instead of the review application's own export.

    `bucket_name` and `base_path` are the location where the caller expects bundles. The server's settings
    decide, and a difference causes a warning. Without a `bucket_name`, any bucket is expected. Threads and
    processes may export concurrently.
    """

    def __init__(
        self,
        bucket_name: Optional[str] = None,
        base_path: str = "tara/",
        *,
        settings: Optional[Settings] = None,
        send_at_start: bool = True,
    ) -> None:
        self.bucket_name = bucket_name or ""
        self.base_path = normal_base_path(base_path)
        self._settings = settings or Settings.from_environment()
        self._queue = Queue(self._settings.queue_dir, self._settings.queue_limits)
        self._connections = Connections(self._settings)
        self._backlog = Backlog(self._queue, self._settings)
        self._copies = LocalCopies(self._settings.download_dir, self._settings.max_download_bytes)
        if send_at_start:
            self._backlog.send_in_background()

    def export_complete_review_to_s3(
        self,
        review_session: Any,
        before_document_path: DocumentPath,
        after_document_path: DocumentPath,
        *,
        notify_emails: Sequence[str] = (),
    ) -> Result:
        """Exports the session with its documents, and returns when the bundle is complete. Never raises.

        `notify_emails` are addresses that are notified of the events of the export. The server refuses a
        request with an address that it does not allow.
        """
        try:
            return self._export(review_session, before_document_path, after_document_path, notify_emails)
        except Exception as error:
            # Callers check the dictionary, as with the class that this one replaces.
            _log.exception("the review was not exported")
            return results.failed(str(error) or repr(error))

    def export_complete_reviews_to_s3(
        self,
        reviews: Sequence[tuple[Any, DocumentPath, DocumentPath]],
        *,
        notify_emails: Sequence[str] = (),
    ) -> list[Result]:
        """Exports sessions, each with the paths of its documents, as batches. Never raises.

        Returns one result for each session, in the same order, when all have ended. A session that cannot be
        exported does not affect the others.
        """
        all_results: list[Result] = []
        for start in range(0, len(reviews), MAX_REQUESTS):
            all_results += self._export_batch(reviews[start : start + MAX_REQUESTS], notify_emails)
        return all_results

    def _export_batch(
        self, reviews: Sequence[tuple[Any, DocumentPath, DocumentPath]], notify_emails: Sequence[str]
    ) -> list[Result]:
        found: list[Optional[Result]] = [None] * len(reviews)
        queued: list[tuple[int, Entry, list[str]]] = []
        with ExitStack() as locks:
            for index, (session, before, after) in enumerate(reviews):
                try:
                    outgoing, warnings = request_from_session(session, before, after, notify_emails)
                    entry = self._queue.add(outgoing.loaded(MAX_INLINE_BYTES) or outgoing)
                    queued.append((index, locks.enter_context(entry), warnings))
                except Exception:
                    # Alone, the session is exported, or its error is reported.
                    found[index] = self.export_complete_review_to_s3(
                        session, before, after, notify_emails=notify_emails
                    )
            outcomes = send_batch([entry for _, entry, _ in queued], self._settings) if queued else []
            for (index, entry, warnings), outcome in zip(queued, outcomes):
                if outcome.failure_kind is FailureKind.PERMANENT:
                    # The caller gets the error and still has the session.
                    entry.remove()
                try:
                    found[index] = self._result(outcome, warnings)
                except Exception as error:
                    _log.exception("the review was not exported")
                    found[index] = results.failed(str(error) or repr(error), entry.request_id)
        return [result or results.failed("the review was not exported") for result in found]

    def send_queued(self) -> list[Result]:
        """Sends the queued requests, the oldest first, and returns a result for each attempt."""
        return [self._result(outcome, []) for outcome in self._backlog.send()]

    def test_s3_connection(self) -> dict[str, Any]:
        """Whether the server can store bundles in S3, and where. Never raises."""
        try:
            with connect(self._settings) as client:
                return connection_status(client.check_storage(), self.bucket_name, self.base_path)
        except Exception as error:
            return connection_failure(self._error_message(error), self.bucket_name, self.base_path)

    def _export(
        self, session: Any, before: DocumentPath, after: DocumentPath, notify_emails: Sequence[str]
    ) -> Result:
        outgoing, warnings = request_from_session(session, before, after, notify_emails)
        try:
            outcome = send_new(outgoing, self._queue, self._settings, self._connections)
        except NotQueued as failure:
            error = self._error_message(failure.error)
            message = f"{error}; the request could not be queued: {failure.queue_error}"
            return results.failed(message, outgoing.request_id)
        if outcome.failure_kind in (None, FailureKind.PERMANENT):
            # The server responds and is not overloaded.
            self._backlog.send_in_background()
        return self._result(outcome, warnings)

    def _result(self, outcome: Outcome, warnings: list[str]) -> Result:
        if outcome.export is not None:
            return self._stored(outcome.export, warnings)
        assert outcome.error is not None
        error = self._error_message(outcome.error)
        if outcome.failure_kind is not FailureKind.PERMANENT:
            _log.warning("exports/%s is queued in %s: %s", outcome.request_id, outcome.folder, error)
            return results.queued(outcome.request_id, outcome.folder, error)
        refused_path = outcome.folder if outcome.folder.exists() else None
        return results.failed(error, outcome.request_id, refused_path)

    def _stored(self, export: export_pb2.Export, warnings: list[str]) -> Result:
        if export.stored_in == export_pb2.DESTINATION_S3:
            location = BundleLocation.of_bundle(export.location, export.folder_name)
            difference = location.difference(self.bucket_name, self.base_path)
            if difference:
                _log.warning("%s: %s", export.name, difference)
                warnings = [*warnings, difference]
            return results.stored_in_s3(export, warnings)
        if export.state == export_pb2.Export.STATE_FELL_BACK:
            warnings = [*warnings, "S3 could not store the bundle; the server syncs it to S3 later"]
        else:
            warnings = [*warnings, "the server has no S3 bucket; the bundle stays on its disk"]
        folder, archive = self._copy(export, warnings)
        return results.stored_locally(export, folder, archive, warnings)

    def _copy(self, export: export_pb2.Export, warnings: list[str]) -> tuple[Optional[Path], Optional[Path]]:
        try:
            with self._connections.client() as client:
                return self._copies.fetch(client, export)
        except Exception as error:
            # The bundle is stored nevertheless.
            _log.warning("cannot copy %s to this machine: %s", export.name, error)
            warnings.append(f"cannot copy the bundle to this machine: {error}")
            return None, None

    def _error_message(self, error: Exception) -> str:
        if failure_kind(error) is FailureKind.UNREACHABLE:
            server = self._settings.server
            if isinstance(error, CallError) and error.code == grpc.StatusCode.UNAUTHENTICATED:
                advice = "set TARA_EXPORT_TOKEN or TARA_EXPORT_TOKEN_FILE to a token that it accepts"
                return f"the tara-export server {server} refuses the call: {error}; {advice}"
            return f"cannot reach the tara-export server {server} (TARA_EXPORT_SERVER): {error}"
        return str(error) or repr(error)
