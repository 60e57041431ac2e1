from google.protobuf import duration_pb2 as _duration_pb2
from google.protobuf import timestamp_pb2 as _timestamp_pb2
from tara.export.v1 import batch_pb2 as _batch_pb2
from tara.export.v1 import export_pb2 as _export_pb2
from tara.export.v1 import report_pb2 as _report_pb2
from tara.export.v1 import review_pb2 as _review_pb2
from tara.export.v1 import upload_pb2 as _upload_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class PreviewExportRequest(_message.Message):
    __slots__ = ("review", "documents")
    REVIEW_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    review: _review_pb2.Review
    documents: _containers.RepeatedCompositeFieldContainer[PreviewDocument]
    def __init__(self, review: _Optional[_Union[_review_pb2.Review, _Mapping]] = ..., documents: _Optional[_Iterable[_Union[PreviewDocument, _Mapping]]] = ...) -> None: ...

class PreviewDocument(_message.Message):
    __slots__ = ("kind", "file_name", "size_bytes")
    KIND_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    kind: _review_pb2.Document.Kind
    file_name: str
    size_bytes: int
    def __init__(self, kind: _Optional[_Union[_review_pb2.Document.Kind, str]] = ..., file_name: _Optional[str] = ..., size_bytes: _Optional[int] = ...) -> None: ...

class PreviewExportResponse(_message.Message):
    __slots__ = ("artifacts", "size_bytes", "options", "warnings", "accepts_notify_emails")
    ARTIFACTS_FIELD_NUMBER: _ClassVar[int]
    SIZE_BYTES_FIELD_NUMBER: _ClassVar[int]
    OPTIONS_FIELD_NUMBER: _ClassVar[int]
    WARNINGS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTS_NOTIFY_EMAILS_FIELD_NUMBER: _ClassVar[int]
    artifacts: _containers.RepeatedCompositeFieldContainer[_export_pb2.Artifact]
    size_bytes: int
    options: _containers.RepeatedCompositeFieldContainer[ExportOption]
    warnings: _containers.RepeatedCompositeFieldContainer[Warning]
    accepts_notify_emails: bool
    def __init__(self, artifacts: _Optional[_Iterable[_Union[_export_pb2.Artifact, _Mapping]]] = ..., size_bytes: _Optional[int] = ..., options: _Optional[_Iterable[_Union[ExportOption, _Mapping]]] = ..., warnings: _Optional[_Iterable[_Union[Warning, _Mapping]]] = ..., accepts_notify_emails: bool = ...) -> None: ...

class ExportOption(_message.Message):
    __slots__ = ("kind", "recommended", "available", "unavailable_reason", "label", "explanation")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[ExportOption.Kind]
        KIND_S3: _ClassVar[ExportOption.Kind]
        KIND_LOCAL: _ClassVar[ExportOption.Kind]
        KIND_CANCEL: _ClassVar[ExportOption.Kind]
    KIND_UNSPECIFIED: ExportOption.Kind
    KIND_S3: ExportOption.Kind
    KIND_LOCAL: ExportOption.Kind
    KIND_CANCEL: ExportOption.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    RECOMMENDED_FIELD_NUMBER: _ClassVar[int]
    AVAILABLE_FIELD_NUMBER: _ClassVar[int]
    UNAVAILABLE_REASON_FIELD_NUMBER: _ClassVar[int]
    LABEL_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    kind: ExportOption.Kind
    recommended: bool
    available: bool
    unavailable_reason: str
    label: str
    explanation: str
    def __init__(self, kind: _Optional[_Union[ExportOption.Kind, str]] = ..., recommended: bool = ..., available: bool = ..., unavailable_reason: _Optional[str] = ..., label: _Optional[str] = ..., explanation: _Optional[str] = ...) -> None: ...

class Warning(_message.Message):
    __slots__ = ("reason", "message")
    REASON_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    reason: str
    message: str
    def __init__(self, reason: _Optional[str] = ..., message: _Optional[str] = ...) -> None: ...

class StartExportRequest(_message.Message):
    __slots__ = ("request_id", "review", "documents", "destination", "fallback", "notify_emails")
    REQUEST_ID_FIELD_NUMBER: _ClassVar[int]
    REVIEW_FIELD_NUMBER: _ClassVar[int]
    DOCUMENTS_FIELD_NUMBER: _ClassVar[int]
    DESTINATION_FIELD_NUMBER: _ClassVar[int]
    FALLBACK_FIELD_NUMBER: _ClassVar[int]
    NOTIFY_EMAILS_FIELD_NUMBER: _ClassVar[int]
    request_id: str
    review: _review_pb2.Review
    documents: _containers.RepeatedCompositeFieldContainer[_review_pb2.Document]
    destination: _export_pb2.Destination
    fallback: _export_pb2.Fallback
    notify_emails: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, request_id: _Optional[str] = ..., review: _Optional[_Union[_review_pb2.Review, _Mapping]] = ..., documents: _Optional[_Iterable[_Union[_review_pb2.Document, _Mapping]]] = ..., destination: _Optional[_Union[_export_pb2.Destination, str]] = ..., fallback: _Optional[_Union[_export_pb2.Fallback, str]] = ..., notify_emails: _Optional[_Iterable[str]] = ...) -> None: ...

class WatchExportRequest(_message.Message):
    __slots__ = ("name", "run_id", "after_sequence")
    NAME_FIELD_NUMBER: _ClassVar[int]
    RUN_ID_FIELD_NUMBER: _ClassVar[int]
    AFTER_SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    name: str
    run_id: str
    after_sequence: int
    def __init__(self, name: _Optional[str] = ..., run_id: _Optional[str] = ..., after_sequence: _Optional[int] = ...) -> None: ...

class GetExportRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class GetExportResponse(_message.Message):
    __slots__ = ("export",)
    EXPORT_FIELD_NUMBER: _ClassVar[int]
    export: _export_pb2.Export
    def __init__(self, export: _Optional[_Union[_export_pb2.Export, _Mapping]] = ...) -> None: ...

class ListExportsRequest(_message.Message):
    __slots__ = ("page_size", "page_token", "filter")
    PAGE_SIZE_FIELD_NUMBER: _ClassVar[int]
    PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    FILTER_FIELD_NUMBER: _ClassVar[int]
    page_size: int
    page_token: str
    filter: str
    def __init__(self, page_size: _Optional[int] = ..., page_token: _Optional[str] = ..., filter: _Optional[str] = ...) -> None: ...

class ListExportsResponse(_message.Message):
    __slots__ = ("exports", "next_page_token")
    EXPORTS_FIELD_NUMBER: _ClassVar[int]
    NEXT_PAGE_TOKEN_FIELD_NUMBER: _ClassVar[int]
    exports: _containers.RepeatedCompositeFieldContainer[_export_pb2.Export]
    next_page_token: str
    def __init__(self, exports: _Optional[_Iterable[_Union[_export_pb2.Export, _Mapping]]] = ..., next_page_token: _Optional[str] = ...) -> None: ...

class GetReportRequest(_message.Message):
    __slots__ = ("name", "view")
    class View(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        VIEW_UNSPECIFIED: _ClassVar[GetReportRequest.View]
        VIEW_STRUCTURED: _ClassVar[GetReportRequest.View]
        VIEW_JSON: _ClassVar[GetReportRequest.View]
        VIEW_TEXT: _ClassVar[GetReportRequest.View]
    VIEW_UNSPECIFIED: GetReportRequest.View
    VIEW_STRUCTURED: GetReportRequest.View
    VIEW_JSON: GetReportRequest.View
    VIEW_TEXT: GetReportRequest.View
    NAME_FIELD_NUMBER: _ClassVar[int]
    VIEW_FIELD_NUMBER: _ClassVar[int]
    name: str
    view: GetReportRequest.View
    def __init__(self, name: _Optional[str] = ..., view: _Optional[_Union[GetReportRequest.View, str]] = ...) -> None: ...

class GetReportResponse(_message.Message):
    __slots__ = ("sha256", "structured", "json", "text")
    SHA256_FIELD_NUMBER: _ClassVar[int]
    STRUCTURED_FIELD_NUMBER: _ClassVar[int]
    JSON_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    sha256: str
    structured: _report_pb2.Report
    json: bytes
    text: str
    def __init__(self, sha256: _Optional[str] = ..., structured: _Optional[_Union[_report_pb2.Report, _Mapping]] = ..., json: _Optional[bytes] = ..., text: _Optional[str] = ...) -> None: ...

class DownloadArtifactRequest(_message.Message):
    __slots__ = ("name", "path", "offset")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    OFFSET_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    offset: int
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., offset: _Optional[int] = ...) -> None: ...

class DownloadArtifactResponse(_message.Message):
    __slots__ = ("artifact", "data")
    ARTIFACT_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    artifact: _export_pb2.Artifact
    data: bytes
    def __init__(self, artifact: _Optional[_Union[_export_pb2.Artifact, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class DownloadBundleRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DownloadBundleResponse(_message.Message):
    __slots__ = ("archive", "data")
    ARCHIVE_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    archive: BundleArchive
    data: bytes
    def __init__(self, archive: _Optional[_Union[BundleArchive, _Mapping]] = ..., data: _Optional[bytes] = ...) -> None: ...

class BundleArchive(_message.Message):
    __slots__ = ("file_name", "media_type")
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    file_name: str
    media_type: str
    def __init__(self, file_name: _Optional[str] = ..., media_type: _Optional[str] = ...) -> None: ...

class CreateDownloadLinkRequest(_message.Message):
    __slots__ = ("name", "path", "time_to_live")
    NAME_FIELD_NUMBER: _ClassVar[int]
    PATH_FIELD_NUMBER: _ClassVar[int]
    TIME_TO_LIVE_FIELD_NUMBER: _ClassVar[int]
    name: str
    path: str
    time_to_live: _duration_pb2.Duration
    def __init__(self, name: _Optional[str] = ..., path: _Optional[str] = ..., time_to_live: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class CreateDownloadLinkResponse(_message.Message):
    __slots__ = ("uri", "expire_time")
    URI_FIELD_NUMBER: _ClassVar[int]
    EXPIRE_TIME_FIELD_NUMBER: _ClassVar[int]
    uri: str
    expire_time: _timestamp_pb2.Timestamp
    def __init__(self, uri: _Optional[str] = ..., expire_time: _Optional[_Union[_timestamp_pb2.Timestamp, _Mapping]] = ...) -> None: ...

class CheckStorageRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class CheckStorageResponse(_message.Message):
    __slots__ = ("checks",)
    CHECKS_FIELD_NUMBER: _ClassVar[int]
    checks: _containers.RepeatedCompositeFieldContainer[StorageCheck]
    def __init__(self, checks: _Optional[_Iterable[_Union[StorageCheck, _Mapping]]] = ...) -> None: ...

class StorageCheck(_message.Message):
    __slots__ = ("check", "status", "message", "hint", "duration")
    class Status(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        STATUS_UNSPECIFIED: _ClassVar[StorageCheck.Status]
        STATUS_PASSED: _ClassVar[StorageCheck.Status]
        STATUS_WARNING: _ClassVar[StorageCheck.Status]
        STATUS_FAILED: _ClassVar[StorageCheck.Status]
        STATUS_SKIPPED: _ClassVar[StorageCheck.Status]
    STATUS_UNSPECIFIED: StorageCheck.Status
    STATUS_PASSED: StorageCheck.Status
    STATUS_WARNING: StorageCheck.Status
    STATUS_FAILED: StorageCheck.Status
    STATUS_SKIPPED: StorageCheck.Status
    CHECK_FIELD_NUMBER: _ClassVar[int]
    STATUS_FIELD_NUMBER: _ClassVar[int]
    MESSAGE_FIELD_NUMBER: _ClassVar[int]
    HINT_FIELD_NUMBER: _ClassVar[int]
    DURATION_FIELD_NUMBER: _ClassVar[int]
    check: str
    status: StorageCheck.Status
    message: str
    hint: str
    duration: _duration_pb2.Duration
    def __init__(self, check: _Optional[str] = ..., status: _Optional[_Union[StorageCheck.Status, str]] = ..., message: _Optional[str] = ..., hint: _Optional[str] = ..., duration: _Optional[_Union[_duration_pb2.Duration, _Mapping]] = ...) -> None: ...

class BatchStartExportsRequest(_message.Message):
    __slots__ = ("batch_id", "requests")
    BATCH_ID_FIELD_NUMBER: _ClassVar[int]
    REQUESTS_FIELD_NUMBER: _ClassVar[int]
    batch_id: str
    requests: _containers.RepeatedCompositeFieldContainer[StartExportRequest]
    def __init__(self, batch_id: _Optional[str] = ..., requests: _Optional[_Iterable[_Union[StartExportRequest, _Mapping]]] = ...) -> None: ...
