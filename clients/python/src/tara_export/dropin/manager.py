"""What the review application calls."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any, Optional

from tara.export.v1 import export_pb2

from ..errors import TaraExportError
from . import answers
from .answers import Answer
from .backlog import Backlog, Outcome, connect, send_entry
from .connection import connection, not_connected
from .local_copy import LocalCopies
from .outgoing import DocumentPath, Outgoing, outgoing_from_session
from .place import Place, normal_base_path
from .queue import Queue
from .sending import Prospect, prospect, send
from .settings import Settings

_log = logging.getLogger(__name__)


class S3ExportManager:
    """Exports reviews through a tara-export server, in place of the review application's own export.

    `bucket_name` and `base_path` say where the caller expects bundles. The server decides, and a difference
    is told; without a `bucket_name` any is expected. Several threads and processes may export at once.
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
        self._backlog = Backlog(self._queue, self._settings)
        self._copies = LocalCopies(self._settings.download_dir, self._settings.max_download_bytes)
        if send_at_start:
            self._backlog.send_in_background()

    def export_complete_review_to_s3(
        self, review_session: Any, before_document_path: DocumentPath, after_document_path: DocumentPath
    ) -> Answer:
        """Exports the session with its documents, and returns when the bundle is whole. Raises nothing."""
        try:
            return self._export(review_session, before_document_path, after_document_path)
        except Exception as error:
            # Callers look into the dictionary, as with what this replaces.
            _log.exception("the review was not exported")
            return answers.failed(str(error) or repr(error))

    def send_queued(self) -> list[Answer]:
        """Sends now what waits, the oldest first, and returns an answer for each request that was tried."""
        return [self._answer(outcome, []) for outcome in self._backlog.send()]

    def test_s3_connection(self) -> dict[str, Any]:
        """Whether the server can store bundles in S3, and where. Raises nothing."""
        try:
            with connect(self._settings) as client:
                return connection(client.check_storage(), self.bucket_name, self.base_path)
        except Exception as error:
            return not_connected(self._told(error), self.bucket_name, self.base_path)

    def _export(self, session: Any, before: DocumentPath, after: DocumentPath) -> Answer:
        outgoing, warnings = outgoing_from_session(session, before, after)
        try:
            entry = self._queue.add(outgoing)
        except (TaraExportError, OSError) as error:
            _log.warning("the request can't be kept on disk, and is sent without that: %s", error)
            return self._export_unqueued(outgoing, warnings, error)
        with entry:
            outcome = send_entry(entry, self._settings)
            if outcome.prospect is Prospect.NEVER:
                # Its caller learns of it, and has the session.
                entry.remove()
        if outcome.prospect in (None, Prospect.NEVER):
            # The server answers, and is not too busy.
            self._backlog.send_in_background()
        return self._answer(outcome, warnings)

    def _export_unqueued(self, outgoing: Outgoing, warnings: list[str], why: Exception) -> Answer:
        try:
            with connect(self._settings) as client:
                export = send(client, outgoing, self._settings.stalled_seconds)
        except (TaraExportError, OSError) as error:
            message = f"{self._told(error)}; and the request could not be queued: {why}"
            return answers.failed(message, outgoing.request_id)
        return self._stored(export, warnings)

    def _answer(self, outcome: Outcome, warnings: list[str]) -> Answer:
        if outcome.export is not None:
            return self._stored(outcome.export, warnings)
        assert outcome.error is not None
        error = self._told(outcome.error)
        if outcome.prospect is not Prospect.NEVER:
            _log.warning("exports/%s waits in %s: %s", outcome.request_id, outcome.folder, error)
            return answers.queued(outcome.request_id, outcome.folder, error)
        refused_path = outcome.folder if outcome.folder.exists() else None
        return answers.failed(error, outcome.request_id, refused_path)

    def _stored(self, export: export_pb2.Export, warnings: list[str]) -> Answer:
        if export.stored_in == export_pb2.DESTINATION_S3:
            place = Place.of_bundle(export.location, export.folder_name)
            difference = place.difference(self.bucket_name, self.base_path)
            if difference:
                _log.warning("%s: %s", export.name, difference)
                warnings = [*warnings, difference]
            return answers.stored_in_s3(export, warnings)
        if export.state == export_pb2.Export.STATE_FELL_BACK:
            warnings = [*warnings, "S3 could not take the bundle; the server sends it there by itself later"]
        else:
            warnings = [*warnings, "the server has no S3 bucket; the bundle stays on its disk"]
        folder, archive = self._copy(export, warnings)
        return answers.stored_locally(export, folder, archive, warnings)

    def _copy(self, export: export_pb2.Export, warnings: list[str]) -> tuple[Optional[Path], Optional[Path]]:
        try:
            with connect(self._settings) as client:
                return self._copies.fetch(client, export)
        except Exception as error:
            # The bundle is safe all the same.
            _log.warning("no copy of %s was made here: %s", export.name, error)
            warnings.append(f"no copy of the bundle was made here: {error}")
            return None, None

    def _told(self, error: Exception) -> str:
        if prospect(error) is Prospect.UNREACHABLE:
            server = self._settings.server
            return f"the tara-export server {server} (TARA_EXPORT_SERVER) can't be reached: {error}"
        return str(error) or repr(error)
