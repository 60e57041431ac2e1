"""Follows one batch until every item has ended: chooses the next call and filters seen results. No IO."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import Optional

import grpc

from tara.export.v1 import batch_pb2, service_pb2

from . import methods, names
from .errors import CallError
from .methods import StreamCall
from .retry import Policy, RetryTimer

#: The time that a server may take to accept a batch, for each request.
_ACCEPT_SECONDS = 0.2


class BatchFollower:
    """A batch that is started, or only watched if `request` is None."""

    def __init__(
        self, name: str, request: Optional[service_pb2.BatchStartExportsRequest], policy: Policy
    ) -> None:
        self.has_ended = False
        self._name, self._request, self._policy = name, request, policy
        self._retry_timer = RetryTimer(policy, name)
        self._run_id, self._sequence = "", 0
        self._seen: set[int] = set()
        self._not_accepted: Optional[int] = None
        #: Whether the next call sends the batch.
        self.is_start = request is not None

    @classmethod
    def of_requests(
        cls, requests: Iterable[service_pb2.StartExportRequest], batch_id: str, policy: Policy
    ) -> BatchFollower:
        """Starts a batch. Generates its id if it is empty."""
        batch_id = batch_id or str(uuid.uuid4())
        request = service_pb2.BatchStartExportsRequest(batch_id=batch_id, requests=requests)
        return cls(f"batches/{batch_id}", request, policy)

    def start_call(self) -> tuple[str, service_pb2.BatchStartExportsRequest, float]:
        """The unary call that sends the batch, and its deadline in seconds."""
        request = self._request or service_pb2.BatchStartExportsRequest()
        deadline_seconds = self._policy.idle_timeout_seconds + methods.sending_seconds(request.ByteSize())
        return "BatchStartExports", request, deadline_seconds + _ACCEPT_SECONDS * len(request.requests)

    def started(self, response: batch_pb2.BatchStartExportsResponse) -> None:
        """Handles the response to `start_call`. Raises CallError if the batch has to be sent again."""
        batch = response.batch
        names.check_batch(batch, self._name)
        count = batch.counts.not_accepted
        if count == 0:
            self.is_start = False
            return
        if self._not_accepted is None or count < self._not_accepted:
            self._not_accepted = count
            self._retry_timer.record_progress()
        missing = next(item for item in batch.items if item.state == batch_pb2.BatchItem.STATE_NOT_ACCEPTED)
        message = f"{count} items were not accepted, one because {missing.message}"
        error = CallError(grpc.StatusCode.UNAVAILABLE, message)
        error.reason = missing.state_reason
        raise error

    def watch_call(self) -> StreamCall:
        """The call that returns the next results."""
        request = batch_pb2.WatchBatchRequest(
            name=self._name, run_id=self._run_id, after_sequence=self._sequence
        )
        seconds = self._policy.idle_timeout_seconds
        return StreamCall("WatchBatch", request, seconds, seconds)

    def is_new(self, step: batch_pb2.WatchBatchResponse) -> bool:
        """Whether the step has something new. Marks it as seen. Raises UntrustedResponse."""
        names.check_batch_step(step, self._name)
        self._run_id, self._sequence = step.run_id, step.sequence
        kind = step.WhichOneof("event")
        if kind == "item":
            if step.item.index in self._seen:
                return False
            self._seen.add(step.item.index)
        self._retry_timer.record_progress()
        self.has_ended = kind == "ended"
        return kind is not None

    def next_delay_seconds(self, error: CallError) -> float:
        """The delay before the next call. Raises the error if a retry cannot help."""
        if not self.is_start and self._request is not None and error.reason == "BATCH_NOT_HERE":
            self.is_start = True
            return 0
        if not error.is_unavailable:
            raise error
        return self._retry_timer.next_delay_seconds(error)


def batch_ended_early() -> CallError:
    """An error for a stream that ended with OK before the batch."""
    return CallError(grpc.StatusCode.UNAVAILABLE, "the stream ended before the batch")
