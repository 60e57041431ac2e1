from google.protobuf import timestamp_pb2 as _timestamp_pb2
from tara.export.v1 import export_pb2 as _export_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Batch(_message.Message):
    __slots__ = ("name", "state", "counts", "items", "requested_by", "accepted_time", "ended_time", "report_location")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Batch.State]
        STATE_INCOMPLETE: _ClassVar[Batch.State]
        STATE_RUNNING: _ClassVar[Batch.State]
        STATE_ENDED: _ClassVar[Batch.State]
    STATE_UNSPECIFIED: Batch.State
    STATE_INCOMPLETE: Batch.State
    STATE_RUNNING: Batch.State
    STATE_ENDED: Batch.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_TIME_FIELD_NUMBER: _ClassVar[int]
    ENDED_TIME_FIELD_NUMBER: _ClassVar[int]
    REPORT_LOCATION_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: Batch.State
    counts: BatchCounts
    items: _containers.RepeatedCompositeFieldContainer[BatchItem]
    requested_by: str
    accepted_time: _timestamp_pb2.Timestamp
    ended_time: _timestamp_pb2.Timestamp
    report_location: str
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[Batch.State, str]] = ..., counts: _Optional[_Union[BatchCounts, _Mapping]] = ..., items: _Optional[_Iterable[_Union[BatchItem, _Mapping]]] = ..., requested_by: _Optional[str] = ..., accepted_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., ended_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., report_location: _Optional[str] = ...) -> None: ...

class BatchCounts(_message.Message):
    __slots__ = ("total", "not_accepted", "pending", "committed", "fell_back", "refused", "failed")
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    NOT_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    PENDING_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_FIELD_NUMBER: _ClassVar[int]
    FELL_BACK_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    total: int
    not_accepted: int
    pending: int
    committed: int
    fell_back: int
    refused: int
    failed: int
    def __init__(self, total: _Optional[int] = ..., not_accepted: _Optional[int] = ..., pending: _Optional[int] = ..., committed: _Optional[int] = ..., fell_back: _Optional[int] = ..., refused: _Optional[int] = ..., failed: _Optional[int] = ...) -> None: ...

class BatchItem(_message.Message):
    __slots__ = ("index", "export", "state", "state_reason", "message", "stored_under", "location", "manifest_sha256")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[BatchItem.State]
        STATE_NOT_ACCEPTED: _ClassVar[BatchItem.State]
        STATE_PENDING: _ClassVar[BatchItem.State]
        STATE_COMMITTED: _ClassVar[BatchItem.State]
        STATE_FELL_BACK: _ClassVar[BatchItem.State]
        STATE_REFUSED: _ClassVar[BatchItem.State]
        STATE_FAILED: _ClassVar[BatchItem.State]
    STATE_UNSPECIFIED: BatchItem.State
    STATE_NOT_ACCEPTED: BatchItem.State
    STATE_PENDING: BatchItem.State
    STATE_COMMITTED: BatchItem.State
    STATE_FELL_BACK: BatchItem.State
    STATE_REFUSED: BatchItem.State
    STATE_FAILED: BatchItem.State
    INDEX_FIELD_NUMBER: _ClassVar[int]
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STORED_UNDER_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    index: int
    export: str
    state: BatchItem.State
    state_reason: str
    message: str
    stored_under: str
    location: str
    manifest_sha256: str
    def __init__(self, index: _Optional[int] = ..., export: _Optional[str] = ..., state: _Optional[_Union[BatchItem.State, str]] = ..., state_reason: _Optional[str] = ..., message: _Optional[str] = ..., stored_under: _Optional[str] = ..., location: _Optional[str] = ..., manifest_sha256: _Optional[str] = ...) -> None: ...

class BatchStartExportsResponse(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: Batch
    def __init__(self, batch: _Optional[_Union[Batch, _Mapping]] = ...) -> None: ...

class GetBatchRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetBatchResponse(_message.Message):
    __slots__ = ("batch",)
    BATCH_FIELD_NUMBER: _ClassVar[int]
    batch: Batch
    def __init__(self, batch: _Optional[_Union[Batch, _Mapping]] = ...) -> None: ...

class WatchBatchRequest(_message.Message):
    __slots__ = ("name", "run_id", "after_sequence")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    run_id: str
    after_sequence: int
    def __init__(self, name: _Optional[str] = ..., run_id: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class WatchBatchResponse(_message.Message):
    __slots__ = ("run_id", "sequence", "counts", "item", "heartbeat", "ended")
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    COUNTS_FIELD_NUMBER: _ClassVar[int]
    ITEM_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    ENDED_FIELD_NUMBER: _ClassVar[int]
    run_id: str
    sequence: int
    counts: BatchCounts
    item: BatchItem
    heartbeat: _export_pb2.Heartbeat
    ended: Batch
    def __init__(self, run_id: _Optional[str] = ..., sequence: _Optional[int] = ..., counts: _Optional[_Union[BatchCounts, _Mapping]] = ..., item: _Optional[_Union[BatchItem, _Mapping]] = ..., heartbeat: _Optional[_Union[_export_pb2.Heartbeat, _Mapping]] = ..., ended: _Optional[_Union[Batch, _Mapping]] = ...) -> None: ...
