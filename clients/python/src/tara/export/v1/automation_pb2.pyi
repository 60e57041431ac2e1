from google.protobuf import timestamp_pb2 as _timestamp_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class EventType(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    EVENT_TYPE_UNSPECIFIED: _ClassVar[EventType]
    EVENT_TYPE_COMMITTED: _ClassVar[EventType]
    EVENT_TYPE_FELL_BACK: _ClassVar[EventType]
    EVENT_TYPE_SYNCED: _ClassVar[EventType]
    EVENT_TYPE_FAILED: _ClassVar[EventType]
    EVENT_TYPE_QUARANTINED: _ClassVar[EventType]
    EVENT_TYPE_BATCH_ENDED: _ClassVar[EventType]
    EVENT_TYPE_JOB_ENDED: _ClassVar[EventType]
EVENT_TYPE_UNSPECIFIED: EventType
EVENT_TYPE_COMMITTED: EventType
EVENT_TYPE_FELL_BACK: EventType
EVENT_TYPE_SYNCED: EventType
EVENT_TYPE_FAILED: EventType
EVENT_TYPE_QUARANTINED: EventType
EVENT_TYPE_BATCH_ENDED: EventType
EVENT_TYPE_JOB_ENDED: EventType

class Event(_message.Message):
    __slots__ = ("event_id", "type", "export", "time", "state", "deliveries", "batch", "job")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Event.State]
        STATE_PENDING: _ClassVar[Event.State]
        STATE_DELIVERED: _ClassVar[Event.State]
        STATE_DEAD: _ClassVar[Event.State]
    STATE_UNSPECIFIED: Event.State
    STATE_PENDING: Event.State
    STATE_DELIVERED: Event.State
    STATE_DEAD: Event.State
    EVENT_ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    TIME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    DELIVERIES_FIELD_NUMBER: _ClassVar[int]
    BATCH_FIELD_NUMBER: _ClassVar[int]
    JOB_FIELD_NUMBER: _ClassVar[int]
    event_id: str
    type: EventType
    export: str
    time: _timestamp_pb2.Timestamp
    state: Event.State
    deliveries: _containers.RepeatedCompositeFieldContainer[Delivery]
    batch: str
    job: str
    def __init__(self, event_id: _Optional[str] = ..., type: _Optional[_Union[EventType, str]] = ..., export: _Optional[str] = ..., time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., state: _Optional[_Union[Event.State, str]] = ..., deliveries: _Optional[_Iterable[_Union[Delivery, _Mapping]]] = ..., batch: _Optional[str] = ..., job: _Optional[str] = ...) -> None: ...

class Delivery(_message.Message):
    __slots__ = ("target", "state", "message", "next_try_time")
    TARGET_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    NEXT_TRY_TIME_FIELD_NUMBER: _ClassVar[int]
    target: str
    state: Event.State
    message: str
    next_try_time: _timestamp_pb2.Timestamp
    def __init__(self, target: _Optional[str] = ..., state: _Optional[_Union[Event.State, str]] = ..., message: _Optional[str] = ..., next_try_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class ListEventsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "state", "type", "export", "target")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    state: Event.State
    type: EventType
    export: str
    target: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., state: _Optional[_Union[Event.State, str]] = ..., type: _Optional[_Union[EventType, str]] = ..., export: _Optional[str] = ..., target: _Optional[str] = ...) -> None: ...

class ListEventsResponse(_message.Message):
    __slots__ = ("events", "next_page_token")
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    events: _containers.RepeatedCompositeFieldContainer[Event]
    next_page_token: str
    def __init__(self, events: _Optional[_Iterable[_Union[Event, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class RetryEventsRequest(_message.Message):
    __slots__ = ("event_ids", "all_dead", "target", "committed_since", "committed_before")
    EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    ALL_DEAD_FIELD_NUMBER: _ClassVar[int]
    TARGET_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_SINCE_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_BEFORE_FIELD_NUMBER: _ClassVar[int]
    event_ids: _containers.RepeatedScalarFieldContainer[str]
    all_dead: bool
    target: str
    committed_since: _timestamp_pb2.Timestamp
    committed_before: _timestamp_pb2.Timestamp
    def __init__(self, event_ids: _Optional[_Iterable[str]] = ..., all_dead: bool = ..., target: _Optional[str] = ..., committed_since: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., committed_before: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class RetryEventsResponse(_message.Message):
    __slots__ = ("event_count", "missing_event_ids")
    EVENT_COUNT_FIELD_NUMBER: _ClassVar[int]
    MISSING_EVENT_IDS_FIELD_NUMBER: _ClassVar[int]
    event_count: int
    missing_event_ids: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, event_count: _Optional[int] = ..., missing_event_ids: _Optional[_Iterable[str]] = ...) -> None: ...

class ListTargetsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListTargetsResponse(_message.Message):
    __slots__ = ("targets", "file_error")
    TARGETS_FIELD_NUMBER: _ClassVar[int]
    FILE_ERROR_FIELD_NUMBER: _ClassVar[int]
    targets: _containers.RepeatedCompositeFieldContainer[Target]
    file_error: str
    def __init__(self, targets: _Optional[_Iterable[_Union[Target, _Mapping]]] = ..., file_error: _Optional[str] = ...) -> None: ...

class Target(_message.Message):
    __slots__ = ("name", "kind", "events", "filter", "state", "last_error", "pending_count", "oldest_pending_time", "last_delivered_time")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Target.State]
        STATE_ACTIVE: _ClassVar[Target.State]
        STATE_FAILING: _ClassVar[Target.State]
        STATE_DISABLED: _ClassVar[Target.State]
    STATE_UNSPECIFIED: Target.State
    STATE_ACTIVE: Target.State
    STATE_FAILING: Target.State
    STATE_DISABLED: Target.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    EVENTS_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    LAST_ERROR_FIELD_NUMBER: _ClassVar[int]
    PENDING_COUNT_FIELD_NUMBER: _ClassVar[int]
    OLDEST_PENDING_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_DELIVERED_TIME_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    events: _containers.RepeatedScalarFieldContainer[EventType]
    filter: str
    state: Target.State
    last_error: str
    pending_count: int
    oldest_pending_time: _timestamp_pb2.Timestamp
    last_delivered_time: _timestamp_pb2.Timestamp
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., events: _Optional[_Iterable[_Union[EventType, str]]] = ..., filter: _Optional[str] = ..., state: _Optional[_Union[Target.State, str]] = ..., last_error: _Optional[str] = ..., pending_count: _Optional[int] = ..., oldest_pending_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_delivered_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class TestTargetRequest(_message.Message):
    __slots__ = ("target",)
    TARGET_FIELD_NUMBER: _ClassVar[int]
    target: str
    def __init__(self, target: _Optional[str] = ...) -> None: ...

class TestTargetResponse(_message.Message):
    __slots__ = ("delivered", "message")
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    delivered: bool
    message: str
    def __init__(self, delivered: bool = ..., message: _Optional[str] = ...) -> None: ...

class ListJobsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListJobsResponse(_message.Message):
    __slots__ = ("jobs",)
    JOBS_FIELD_NUMBER: _ClassVar[int]
    jobs: _containers.RepeatedCompositeFieldContainer[Job]
    def __init__(self, jobs: _Optional[_Iterable[_Union[Job, _Mapping]]] = ...) -> None: ...

class Job(_message.Message):
    __slots__ = ("name", "kind", "schedule", "timezone", "next_time", "last_run")
    NAME_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    SCHEDULE_FIELD_NUMBER: _ClassVar[int]
    TIMEZONE_FIELD_NUMBER: _ClassVar[int]
    NEXT_TIME_FIELD_NUMBER: _ClassVar[int]
    LAST_RUN_FIELD_NUMBER: _ClassVar[int]
    name: str
    kind: str
    schedule: str
    timezone: str
    next_time: _timestamp_pb2.Timestamp
    last_run: JobRun
    def __init__(self, name: _Optional[str] = ..., kind: _Optional[str] = ..., schedule: _Optional[str] = ..., timezone: _Optional[str] = ..., next_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., last_run: _Optional[_Union[JobRun, _Mapping]] = ...) -> None: ...

class JobRun(_message.Message):
    __slots__ = ("job", "number", "state", "tick_time", "start_time", "end_time", "message")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[JobRun.State]
        STATE_RUNNING: _ClassVar[JobRun.State]
        STATE_SUCCEEDED: _ClassVar[JobRun.State]
        STATE_FAILED: _ClassVar[JobRun.State]
    STATE_UNSPECIFIED: JobRun.State
    STATE_RUNNING: JobRun.State
    STATE_SUCCEEDED: JobRun.State
    STATE_FAILED: JobRun.State
    JOB_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    TICK_TIME_FIELD_NUMBER: _ClassVar[int]
    START_TIME_FIELD_NUMBER: _ClassVar[int]
    END_TIME_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    job: str
    number: int
    state: JobRun.State
    tick_time: _timestamp_pb2.Timestamp
    start_time: _timestamp_pb2.Timestamp
    end_time: _timestamp_pb2.Timestamp
    message: str
    def __init__(self, job: _Optional[str] = ..., number: _Optional[int] = ..., state: _Optional[_Union[JobRun.State, str]] = ..., tick_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., start_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., end_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., message: _Optional[str] = ...) -> None: ...

class RunJobRequest(_message.Message):
    __slots__ = ("job", "number")
    JOB_FIELD_NUMBER: _ClassVar[int]
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    job: str
    number: int
    def __init__(self, job: _Optional[str] = ..., number: _Optional[int] = ...) -> None: ...

class RunJobResponse(_message.Message):
    __slots__ = ("run",)
    RUN_FIELD_NUMBER: _ClassVar[int]
    run: JobRun
    def __init__(self, run: _Optional[_Union[JobRun, _Mapping]] = ...) -> None: ...
