"""Follows one export until it ends: chooses the next call and filters seen events. No IO."""

from __future__ import annotations

import uuid
from typing import Optional

import grpc

from tara.export.v1 import export_pb2, review_pb2, service_pb2, upload_pb2

from . import methods, names
from .errors import CallError
from .methods import StreamCall
from .proxy_limit import ProxyLimit, is_large
from .retry import Policy, RetryTimer, SeenEvents


class Follower:
    """An export that is started, or only watched if `request` is None."""

    def __init__(
        self,
        name: str,
        request: Optional[service_pb2.StartExportRequest],
        policy: Policy,
        limit: ProxyLimit,
    ) -> None:
        self.has_ended = False
        self._name, self._request, self._policy = name, request, policy
        self._limit, self._is_refused = limit, False
        self._seen, self._retry_timer = SeenEvents(), RetryTimer(policy, name)
        self._is_start, self._has_resent_request = request is not None, False

    @classmethod
    def of_request(
        cls, original: service_pb2.StartExportRequest, policy: Policy, limit: ProxyLimit
    ) -> Follower:
        """Starts an export. Generates the request id if it is empty."""
        request = service_pb2.StartExportRequest()
        request.CopyFrom(original)
        request.request_id = request.request_id or str(uuid.uuid4())
        return cls(f"exports/{request.request_id}", request, policy, limit)

    def documents_to_upload(self) -> list[review_pb2.Document]:
        """The documents of the request to upload before the next call; see `set_uploaded`."""
        if self._request is None or not self._is_start:
            return []
        if self._is_refused:
            return _inline_documents(self._request)
        return self._limit.documents_to_upload(self._request)

    def unclear_request(self, error: CallError) -> Optional[service_pb2.StartExportRequest]:
        """The large request of the last call, if it is unclear whether a proxy refused its size."""
        if self._request is None or not self._is_start or not error.is_ambiguous:
            return None
        return self._request if is_large(self._request) else None

    def next_call(self) -> StreamCall:
        """The call that returns the next events."""
        idle_timeout_seconds = self._policy.idle_timeout_seconds
        if self._is_start and self._request is not None:
            first_timeout_seconds = max(idle_timeout_seconds, self._policy.progress_timeout_seconds)
            first_timeout_seconds += methods.sending_seconds(self._request.ByteSize())
            return StreamCall("StartExport", self._request, first_timeout_seconds, idle_timeout_seconds)
        request = service_pb2.WatchExportRequest(
            name=self._name, run_id=self._seen.run_id, after_sequence=self._seen.last
        )
        return StreamCall("WatchExport", request, idle_timeout_seconds, idle_timeout_seconds)

    def is_new(self, event: export_pb2.ExportEvent) -> bool:
        """Whether the event is new. Marks it as seen. Raises UntrustedResponse."""
        names.check_event(event, self._name)
        return self._seen.is_new(event)

    def should_continue(self, event: export_pb2.ExportEvent) -> bool:
        """Whether to continue to read this stream after this new event."""
        if event.WhichOneof("event") in ("completed", "failed"):
            self.has_ended = True
            return False
        if event.run_id:
            self._retry_timer.record_progress()
        elif self._retry_timer.is_expired and self._request is not None and not self._has_resent_request:
            # The export seems abandoned. After the request is sent again, this server finishes it.
            self._is_start, self._has_resent_request = True, True
            self._retry_timer.record_progress()
            return False
        return True

    def next_delay_seconds(self, error: CallError) -> float:
        """The delay before the next call. Raises the error if a retry cannot help."""
        if not self._is_start and self._request is not None and error.reason == "EXPORT_NOT_HERE":
            self._is_start = True
            return 0
        if self._is_start and self._request is not None and error.is_too_large_for_proxy:
            self._limit.is_known = self._is_refused = True
            # The next call sends the request without its documents.
            if _inline_documents(self._request):
                return 0
        if self.unclear_request(error) is not None:
            # If the server does not know the export, the request is sent without its documents.
            self._limit.is_likely = self._is_refused = True
        # Not accepted: the store is down, and the caller allowed no fallback.
        if not error.is_unavailable or (self._is_start and error.reason == "STORE_UNAVAILABLE"):
            raise error
        seconds = self._retry_timer.next_delay_seconds(error)
        self._is_start = False
        return seconds


def set_uploaded(document: review_pb2.Document, uploaded: upload_pb2.Upload) -> None:
    """Replaces the content of a document by its upload."""
    document.upload = uploaded.name
    document.sha256 = document.sha256 or uploaded.sha256


def _inline_documents(request: service_pb2.StartExportRequest) -> list[review_pb2.Document]:
    return [document for document in request.documents if document.content]


def stream_ended_early() -> CallError:
    """An error for a stream that ended with OK before the export."""
    return CallError(grpc.StatusCode.UNAVAILABLE, "the stream ended before the export")
