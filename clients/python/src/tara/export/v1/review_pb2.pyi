from google.protobuf import struct_pb2 as _struct_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Review(_message.Message):
    __slots__ = ("document_name", "session_id", "reviewer", "guidelines_name", "guidelines_preference", "section_names", "suggestions", "accepted", "rejected", "user_created", "activity_log", "chat_history", "audit_logs", "activity_timeline", "performance_metrics", "replacements")
    DOCUMENT_NAME_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    REVIEWER_FIELD_NUMBER: _ClassVar[int]
    GUIDELINES_NAME_FIELD_NUMBER: _ClassVar[int]
    GUIDELINES_PREFERENCE_FIELD_NUMBER: _ClassVar[int]
    SECTION_NAMES_FIELD_NUMBER: _ClassVar[int]
    SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    USER_CREATED_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_LOG_FIELD_NUMBER: _ClassVar[int]
    CHAT_HISTORY_FIELD_NUMBER: _ClassVar[int]
    AUDIT_LOGS_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_TIMELINE_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_METRICS_FIELD_NUMBER: _ClassVar[int]
    REPLACEMENTS_FIELD_NUMBER: _ClassVar[int]
    document_name: str
    session_id: str
    reviewer: str
    guidelines_name: str
    guidelines_preference: str
    section_names: _containers.RepeatedScalarFieldContainer[str]
    suggestions: _containers.RepeatedCompositeFieldContainer[FeedbackSection]
    accepted: _containers.RepeatedCompositeFieldContainer[FeedbackSection]
    rejected: _containers.RepeatedCompositeFieldContainer[FeedbackSection]
    user_created: _containers.RepeatedCompositeFieldContainer[FeedbackSection]
    activity_log: _containers.RepeatedCompositeFieldContainer[_struct_pb2.Struct]
    chat_history: _containers.RepeatedCompositeFieldContainer[_struct_pb2.Struct]
    audit_logs: _containers.RepeatedCompositeFieldContainer[_struct_pb2.Struct]
    activity_timeline: _containers.RepeatedCompositeFieldContainer[_struct_pb2.Struct]
    performance_metrics: _struct_pb2.Struct
    replacements: _containers.RepeatedCompositeFieldContainer[Replacement]
    def __init__(self, document_name: _Optional[str] = ..., session_id: _Optional[str] = ..., reviewer: _Optional[str] = ..., guidelines_name: _Optional[str] = ..., guidelines_preference: _Optional[str] = ..., section_names: _Optional[_Iterable[str]] = ..., suggestions: _Optional[_Iterable[_Union[FeedbackSection, _Mapping]]] = ..., accepted: _Optional[_Iterable[_Union[FeedbackSection, _Mapping]]] = ..., rejected: _Optional[_Iterable[_Union[FeedbackSection, _Mapping]]] = ..., user_created: _Optional[_Iterable[_Union[FeedbackSection, _Mapping]]] = ..., activity_log: _Optional[_Iterable[_Union[_struct_pb2.Struct, _Mapping]]] = ..., chat_history: _Optional[_Iterable[_Union[_struct_pb2.Struct, _Mapping]]] = ..., audit_logs: _Optional[_Iterable[_Union[_struct_pb2.Struct, _Mapping]]] = ..., activity_timeline: _Optional[_Iterable[_Union[_struct_pb2.Struct, _Mapping]]] = ..., performance_metrics: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ..., replacements: _Optional[_Iterable[_Union[Replacement, _Mapping]]] = ...) -> None: ...

class Replacement(_message.Message):
    __slots__ = ("path", "reason")
    PATH_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    path: str
    reason: str
    def __init__(self, path: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class FeedbackSection(_message.Message):
    __slots__ = ("name", "items")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ITEMS_FIELD_NUMBER: _ClassVar[int]
    name: str
    items: _containers.RepeatedCompositeFieldContainer[FeedbackItem]
    def __init__(self, name: _Optional[str] = ..., items: _Optional[_Iterable[_Union[FeedbackItem, _Mapping]]] = ...) -> None: ...

class FeedbackItem(_message.Message):
    __slots__ = ("id", "type", "category", "description", "suggestion", "example", "questions", "hawkeye_refs", "risk_level", "confidence", "user_created", "timestamp", "ai_reference", "ai_id", "additional_fields")
    ID_FIELD_NUMBER: _ClassVar[int]
    TYPE_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_FIELD_NUMBER: _ClassVar[int]
    DESCRIPTION_FIELD_NUMBER: _ClassVar[int]
    SUGGESTION_FIELD_NUMBER: _ClassVar[int]
    EXAMPLE_FIELD_NUMBER: _ClassVar[int]
    QUESTIONS_FIELD_NUMBER: _ClassVar[int]
    HAWKEYE_REFS_FIELD_NUMBER: _ClassVar[int]
    RISK_LEVEL_FIELD_NUMBER: _ClassVar[int]
    CONFIDENCE_FIELD_NUMBER: _ClassVar[int]
    USER_CREATED_FIELD_NUMBER: _ClassVar[int]
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    AI_REFERENCE_FIELD_NUMBER: _ClassVar[int]
    AI_ID_FIELD_NUMBER: _ClassVar[int]
    ADDITIONAL_FIELDS_FIELD_NUMBER: _ClassVar[int]
    id: str
    type: str
    category: str
    description: str
    suggestion: str
    example: str
    questions: _containers.RepeatedScalarFieldContainer[str]
    hawkeye_refs: _containers.RepeatedScalarFieldContainer[int]
    risk_level: str
    confidence: float
    user_created: bool
    timestamp: str
    ai_reference: str
    ai_id: str
    additional_fields: _struct_pb2.Struct
    def __init__(self, id: _Optional[str] = ..., type: _Optional[str] = ..., category: _Optional[str] = ..., description: _Optional[str] = ..., suggestion: _Optional[str] = ..., example: _Optional[str] = ..., questions: _Optional[_Iterable[str]] = ..., hawkeye_refs: _Optional[_Iterable[int]] = ..., risk_level: _Optional[str] = ..., confidence: _Optional[float] = ..., user_created: bool = ..., timestamp: _Optional[str] = ..., ai_reference: _Optional[str] = ..., ai_id: _Optional[str] = ..., additional_fields: _Optional[_Union[_struct_pb2.Struct, _Mapping]] = ...) -> None: ...

class Document(_message.Message):
    __slots__ = ("kind", "file_name", "media_type", "sha256", "content", "upload", "s3")
    class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        KIND_UNSPECIFIED: _ClassVar[Document.Kind]
        KIND_BEFORE: _ClassVar[Document.Kind]
        KIND_AFTER: _ClassVar[Document.Kind]
        KIND_GUIDELINES: _ClassVar[Document.Kind]
    KIND_UNSPECIFIED: Document.Kind
    KIND_BEFORE: Document.Kind
    KIND_AFTER: Document.Kind
    KIND_GUIDELINES: Document.Kind
    KIND_FIELD_NUMBER: _ClassVar[int]
    FILE_NAME_FIELD_NUMBER: _ClassVar[int]
    MEDIA_TYPE_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    CONTENT_FIELD_NUMBER: _ClassVar[int]
    UPLOAD_FIELD_NUMBER: _ClassVar[int]
    S3_FIELD_NUMBER: _ClassVar[int]
    kind: Document.Kind
    file_name: str
    media_type: str
    sha256: str
    content: bytes
    upload: str
    s3: S3Source
    def __init__(self, kind: _Optional[_Union[Document.Kind, str]] = ..., file_name: _Optional[str] = ..., media_type: _Optional[str] = ..., sha256: _Optional[str] = ..., content: _Optional[bytes] = ..., upload: _Optional[str] = ..., s3: _Optional[_Union[S3Source, _Mapping]] = ...) -> None: ...

class S3Source(_message.Message):
    __slots__ = ("uri", "version_id")
    URI_FIELD_NUMBER: _ClassVar[int]
    VERSION_ID_FIELD_NUMBER: _ClassVar[int]
    uri: str
    version_id: str
    def __init__(self, uri: _Optional[str] = ..., version_id: _Optional[str] = ...) -> None: ...
