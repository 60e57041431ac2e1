from google.protobuf import timestamp_pb2 as _timestamp_pb2
from tara.export.v1 import review_pb2 as _review_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Destination(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    DESTINATION_UNSPECIFIED: _ClassVar[Destination]
    DESTINATION_S3: _ClassVar[Destination]
    DESTINATION_LOCAL: _ClassVar[Destination]

class Fallback(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FALLBACK_UNSPECIFIED: _ClassVar[Fallback]
    FALLBACK_LOCAL: _ClassVar[Fallback]
    FALLBACK_NONE: _ClassVar[Fallback]
DESTINATION_UNSPECIFIED: Destination
DESTINATION_S3: Destination
DESTINATION_LOCAL: Destination
FALLBACK_UNSPECIFIED: Fallback
FALLBACK_LOCAL: Fallback
FALLBACK_NONE: Fallback

class Export(_message.Message):
    __slots__ = ("name", "state", "state_reason", "document_name", "session_id", "reviewer", "requested_by", "requested_destination", "stored_in", "folder_name", "location", "replica", "artifact_count", "size_bytes", "manifest_sha256", "accepted_time", "committed_time", "artifacts", "adopted", "replacements")
    class State(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATE_UNSPECIFIED: _ClassVar[Export.State]
        STATE_RUNNING: _ClassVar[Export.State]
        STATE_PENDING: _ClassVar[Export.State]
        STATE_FELL_BACK: _ClassVar[Export.State]
        STATE_COMMITTED: _ClassVar[Export.State]
        STATE_FAILED: _ClassVar[Export.State]
        STATE_QUARANTINED: _ClassVar[Export.State]
    STATE_UNSPECIFIED: Export.State
    STATE_RUNNING: Export.State
    STATE_PENDING: Export.State
    STATE_FELL_BACK: Export.State
    STATE_COMMITTED: Export.State
    STATE_FAILED: Export.State
    STATE_QUARANTINED: Export.State
    NAME_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    STATE_REASON_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_NAME_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REVIEWER_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_BY_FIELD_NUMBER: _ClassVar[int]
    REQUESTED_DESTINATION_FIELD_NUMBER: _ClassVar[int]
    STORED_IN_FIELD_NUMBER: _ClassVar[int]
    FOLDER_NAME_FIELD_NUMBER: _ClassVar[int]
    LOCATION_FIELD_NUMBER: _ClassVar[int]
    REPLICA_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_COUNT_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MANIFEST_SHA256_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_TIME_FIELD_NUMBER: _ClassVar[int]
    COMMITTED_TIME_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    ADOPTED_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    name: str
    state: Export.State
    state_reason: str
    document_name: str
    session_id: str
    reviewer: str
    requested_by: str
    requested_destination: Destination
    stored_in: Destination
    folder_name: str
    location: str
    replica: str
    artifact_count: int
    size_bytes: int
    manifest_sha256: str
    accepted_time: _timestamp_pb2.Timestamp
    committed_time: _timestamp_pb2.Timestamp
    artifacts: _containers.RepeatedCompositeFieldContainer[Artifact]
    adopted: bool
    replacements: _containers.RepeatedCompositeFieldContainer[_review_pb2.Replacement]
    def __init__(self, name: _Optional[str] = ..., state: _Optional[_Union[Export.State, str]] = ..., state_reason: _Optional[str] = ..., document_name: _Optional[str] = ..., session_id: _Optional[str] = ..., reviewer: _Optional[str] = ..., requested_by: _Optional[str] = ..., requested_destination: _Optional[_Union[Destination, str]] = ..., stored_in: _Optional[_Union[Destination, str]] = ..., folder_name: _Optional[str] = ..., location: _Optional[str] = ..., replica: _Optional[str] = ..., artifact_count: _Optional[int] = ..., size_bytes: _Optional[int] = ..., manifest_sha256: _Optional[str] = ..., accepted_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., committed_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., artifacts: _Optional[_Iterable[_Union[Artifact, _Mapping]]] = ..., adopted: bool = ..., replacements: _Optional[_Iterable[_Union[_review_pb2.Replacement, _Mapping]]] = ...) -> None: ...

class Artifact(_message.Message):
    __slots__ = ("path", "size_bytes", "sha256", "media_type")
    PATH_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    path: str
    size_bytes: int
    sha256: str
    media_type: str
    def __init__(self, path: _Optional[str] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., media_type: _Optional[str] = ...) -> None: ...

class ExportEvent(_message.Message):
    __slots__ = ("name", "run_id", "sequence", "event_time", "progress", "accepted", "artifact_started", "artifact_progress", "artifact_retrying", "artifact_stored", "fell_back", "heartbeat", "completed", "failed")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    EVENT_TIME_FIELD_NUMBER: _ClassVar[int]
    PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_STARTED_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_PROGRESS_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_RETRYING_FIELD_NUMBER: _ClassVar[int]
    ARTIFACT_STORED_FIELD_NUMBER: _ClassVar[int]
    FELL_BACK_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    COMPLETED_FIELD_NUMBER: _ClassVar[int]
    FAILED_FIELD_NUMBER: _ClassVar[int]
    name: str
    run_id: str
    sequence: int
    event_time: _timestamp_pb2.Timestamp
    progress: Progress
    accepted: Accepted
    artifact_started: ArtifactUpdate
    artifact_progress: ArtifactUpdate
    artifact_retrying: ArtifactUpdate
    artifact_stored: ArtifactUpdate
    fell_back: FellBack
    heartbeat: Heartbeat
    completed: Completed
    failed: Failed
    def __init__(self, name: _Optional[str] = ..., run_id: _Optional[str] = ..., sequence: _Optional[int] = ..., event_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., progress: _Optional[_Union[Progress, _Mapping]] = ..., accepted: _Optional[_Union[Accepted, _Mapping]] = ..., artifact_started: _Optional[_Union[ArtifactUpdate, _Mapping]] = ..., artifact_progress: _Optional[_Union[ArtifactUpdate, _Mapping]] = ..., artifact_retrying: _Optional[_Union[ArtifactUpdate, _Mapping]] = ..., artifact_stored: _Optional[_Union[ArtifactUpdate, _Mapping]] = ..., fell_back: _Optional[_Union[FellBack, _Mapping]] = ..., heartbeat: _Optional[_Union[Heartbeat, _Mapping]] = ..., completed: _Optional[_Union[Completed, _Mapping]] = ..., failed: _Optional[_Union[Failed, _Mapping]] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("artifacts_done", "artifacts_total", "bytes_done", "bytes_total")
    ARTIFACTS_DONE_FIELD_NUMBER: _ClassVar[int]
    ARTIFACTS_TOTAL_FIELD_NUMBER: _ClassVar[int]
    BYTES_DONE_FIELD_NUMBER: _ClassVar[int]
    BYTES_TOTAL_FIELD_NUMBER: _ClassVar[int]
    artifacts_done: int
    artifacts_total: int
    bytes_done: int
    bytes_total: int
    def __init__(self, artifacts_done: _Optional[int] = ..., artifacts_total: _Optional[int] = ..., bytes_done: _Optional[int] = ..., bytes_total: _Optional[int] = ...) -> None: ...

class Accepted(_message.Message):
    __slots__ = ("accepted_time", "resumed", "durability")
    class Durability(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        DURABILITY_UNSPECIFIED: _ClassVar[Accepted.Durability]
        DURABILITY_LOCAL_DISK: _ClassVar[Accepted.Durability]
        DURABILITY_STORE: _ClassVar[Accepted.Durability]
    DURABILITY_UNSPECIFIED: Accepted.Durability
    DURABILITY_LOCAL_DISK: Accepted.Durability
    DURABILITY_STORE: Accepted.Durability
    ACCEPTED_TIME_FIELD_NUMBER: _ClassVar[int]
    RESUMED_FIELD_NUMBER: _ClassVar[int]
    DURABILITY_FIELD_NUMBER: _ClassVar[int]
    accepted_time: _timestamp_pb2.Timestamp
    resumed: bool
    durability: Accepted.Durability
    def __init__(self, accepted_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ..., resumed: bool = ..., durability: _Optional[_Union[Accepted.Durability, str]] = ...) -> None: ...

class ArtifactUpdate(_message.Message):
    __slots__ = ("path", "bytes_done", "size_bytes", "sha256", "attempt", "reason")
    PATH_FIELD_NUMBER: _ClassVar[int]
    BYTES_DONE_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    ATTEMPT_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    path: str
    bytes_done: int
    size_bytes: int
    sha256: str
    attempt: int
    reason: str
    def __init__(self, path: _Optional[str] = ..., bytes_done: _Optional[int] = ..., size_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., attempt: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class FellBack(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class Completed(_message.Message):
    __slots__ = ("export",)
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    export: Export
    def __init__(self, export: _Optional[_Union[Export, _Mapping]] = ...) -> None: ...

class Failed(_message.Message):
    __slots__ = ("reason", "message", "stored_under")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    STORED_UNDER_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    stored_under: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ..., stored_under: _Optional[str] = ...) -> None: ...
