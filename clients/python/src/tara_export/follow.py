"""Following one export to its end: what to call next, and what is new. No IO."""

from __future__ import annotations

import uuid
from typing import Optional

import grpc

from tara.export.v1 import export_pb2, service_pb2

from . import methods, names
from .errors import CallError
from .methods import StreamCall
from .patience import Patience, SeenEvents, Waits


class Follower:
    """An export that is started, or only watched where `request` is None."""

    def __init__(
        self, name: str, request: Optional[service_pb2.StartExportRequest], patience: Patience
    ) -> None:
        self.has_ended = False
        self._name, self._request, self._patience = name, request, patience
        self._seen, self._waits = SeenEvents(), Waits(patience, name)
        self._is_start, self._has_started_again = request is not None, False

    @classmethod
    def of_request(cls, given: service_pb2.StartExportRequest, patience: Patience) -> Follower:
        """Starts an export; makes the request's id when it has none."""
        request = service_pb2.StartExportRequest()
        request.CopyFrom(given)
        request.request_id = request.request_id or str(uuid.uuid4())
        return cls(f"exports/{request.request_id}", request, patience)

    def next_call(self) -> StreamCall:
        """The call whose events come next."""
        silence_seconds = self._patience.silence_seconds
        if self._is_start and self._request is not None:
            first_seconds = max(silence_seconds, self._patience.limit_seconds)
            first_seconds += methods.sending_seconds(self._request.ByteSize())
            return StreamCall("StartExport", self._request, first_seconds, silence_seconds)
        request = service_pb2.WatchExportRequest(
            name=self._name, run_id=self._seen.run_id, after_sequence=self._seen.last
        )
        return StreamCall("WatchExport", request, silence_seconds, silence_seconds)

    def is_new(self, event: export_pb2.ExportEvent) -> bool:
        """Whether the caller has not had this event; from then on it has. Raises UntrustedAnswer."""
        names.check_event(event, self._name)
        return self._seen.is_new(event)

    def wants_more(self, event: export_pb2.ExportEvent) -> bool:
        """Whether to read on in this stream after this new event."""
        if event.WhichOneof("event") in ("completed", "failed"):
            self.has_ended = True
            return False
        if event.run_id:
            self._waits.restart()
        elif self._waits.is_over and self._request is not None and not self._has_started_again:
            # Nobody seems to work on it: sent again, this server finishes it.
            self._is_start, self._has_started_again = True, True
            self._waits.restart()
            return False
        return True

    def seconds_to_wait(self, error: CallError) -> float:
        """How long to wait before the next call; raises where that would not help."""
        if not self._is_start and self._request is not None and error.reason == "EXPORT_NOT_HERE":
            self._is_start = True
            return 0
        # Not accepted: the store is down, and the caller did not want another.
        if not error.is_unavailable or (self._is_start and error.reason == "STORE_UNAVAILABLE"):
            raise error
        seconds = self._waits.next_seconds(error)
        self._is_start = False
        return seconds


def ended_early() -> CallError:
    """The failure of a stream that ended well before the export did."""
    return CallError(grpc.StatusCode.UNAVAILABLE, "the stream ended before the export did")
