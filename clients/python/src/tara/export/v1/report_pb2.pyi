from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from typing import ClassVar as _ClassVar, Iterable as _Iterable, Mapping as _Mapping, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Report(_message.Message):
    __slots__ = ("export_metadata", "summary_statistics", "risk_analysis", "category_analysis", "section_analysis", "activity_summary", "performance_metrics")
    EXPORT_METADATA_FIELD_NUMBER: _ClassVar[int]
    SUMMARY_STATISTICS_FIELD_NUMBER: _ClassVar[int]
    RISK_ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    CATEGORY_ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    SECTION_ANALYSIS_FIELD_NUMBER: _ClassVar[int]
    ACTIVITY_SUMMARY_FIELD_NUMBER: _ClassVar[int]
    PERFORMANCE_METRICS_FIELD_NUMBER: _ClassVar[int]
    export_metadata: ExportMetadata
    summary_statistics: SummaryStatistics
    risk_analysis: _containers.RepeatedCompositeFieldContainer[NamedCount]
    category_analysis: _containers.RepeatedCompositeFieldContainer[NamedCount]
    section_analysis: _containers.RepeatedCompositeFieldContainer[SectionAnalysis]
    activity_summary: ActivitySummary
    performance_metrics: PerformanceMetrics
    def __init__(self, export_metadata: _Optional[_Union[ExportMetadata, _Mapping]] = ..., summary_statistics: _Optional[_Union[SummaryStatistics, _Mapping]] = ..., risk_analysis: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., category_analysis: _Optional[_Iterable[_Union[NamedCount, _Mapping]]] = ..., section_analysis: _Optional[_Iterable[_Union[SectionAnalysis, _Mapping]]] = ..., activity_summary: _Optional[_Union[ActivitySummary, _Mapping]] = ..., performance_metrics: _Optional[_Union[PerformanceMetrics, _Mapping]] = ...) -> None: ...

class ExportMetadata(_message.Message):
    __slots__ = ("timestamp", "session_id", "document_name", "guidelines_used", "guidelines_preference")
    TIMESTAMP_FIELD_NUMBER: _ClassVar[int]
    SESSION_ID_FIELD_NUMBER: _ClassVar[int]
    DOCUMENT_NAME_FIELD_NUMBER: _ClassVar[int]
    GUIDELINES_USED_FIELD_NUMBER: _ClassVar[int]
    GUIDELINES_PREFERENCE_FIELD_NUMBER: _ClassVar[int]
    timestamp: str
    session_id: str
    document_name: str
    guidelines_used: str
    guidelines_preference: str
    def __init__(self, timestamp: _Optional[str] = ..., session_id: _Optional[str] = ..., document_name: _Optional[str] = ..., guidelines_used: _Optional[str] = ..., guidelines_preference: _Optional[str] = ...) -> None: ...

class SummaryStatistics(_message.Message):
    __slots__ = ("total_ai_suggestions", "total_accepted", "total_rejected", "total_user_feedback", "acceptance_rate", "user_engagement_rate")
    TOTAL_AI_SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    TOTAL_ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_REJECTED_FIELD_NUMBER: _ClassVar[int]
    TOTAL_USER_FEEDBACK_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_RATE_FIELD_NUMBER: _ClassVar[int]
    USER_ENGAGEMENT_RATE_FIELD_NUMBER: _ClassVar[int]
    total_ai_suggestions: int
    total_accepted: int
    total_rejected: int
    total_user_feedback: int
    acceptance_rate: float
    user_engagement_rate: float
    def __init__(self, total_ai_suggestions: _Optional[int] = ..., total_accepted: _Optional[int] = ..., total_rejected: _Optional[int] = ..., total_user_feedback: _Optional[int] = ..., acceptance_rate: _Optional[float] = ..., user_engagement_rate: _Optional[float] = ...) -> None: ...

class NamedCount(_message.Message):
    __slots__ = ("name", "count")
    NAME_FIELD_NUMBER: _ClassVar[int]
    COUNT_FIELD_NUMBER: _ClassVar[int]
    name: str
    count: int
    def __init__(self, name: _Optional[str] = ..., count: _Optional[int] = ...) -> None: ...

class SectionAnalysis(_message.Message):
    __slots__ = ("section", "total_suggestions", "accepted", "rejected", "user_added", "acceptance_rate")
    SECTION_FIELD_NUMBER: _ClassVar[int]
    TOTAL_SUGGESTIONS_FIELD_NUMBER: _ClassVar[int]
    ACCEPTED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    USER_ADDED_FIELD_NUMBER: _ClassVar[int]
    ACCEPTANCE_RATE_FIELD_NUMBER: _ClassVar[int]
    section: str
    total_suggestions: int
    accepted: int
    rejected: int
    user_added: int
    acceptance_rate: float
    def __init__(self, section: _Optional[str] = ..., total_suggestions: _Optional[int] = ..., accepted: _Optional[int] = ..., rejected: _Optional[int] = ..., user_added: _Optional[int] = ..., acceptance_rate: _Optional[float] = ...) -> None: ...

class ActivitySummary(_message.Message):
    __slots__ = ("total_activities", "chat_interactions", "sections_analyzed")
    TOTAL_ACTIVITIES_FIELD_NUMBER: _ClassVar[int]
    CHAT_INTERACTIONS_FIELD_NUMBER: _ClassVar[int]
    SECTIONS_ANALYZED_FIELD_NUMBER: _ClassVar[int]
    total_activities: int
    chat_interactions: int
    sections_analyzed: int
    def __init__(self, total_activities: _Optional[int] = ..., chat_interactions: _Optional[int] = ..., sections_analyzed: _Optional[int] = ...) -> None: ...

class PerformanceMetrics(_message.Message):
    __slots__ = ("review_duration", "avg_time_per_section")
    REVIEW_DURATION_FIELD_NUMBER: _ClassVar[int]
    AVG_TIME_PER_SECTION_FIELD_NUMBER: _ClassVar[int]
    review_duration: float
    avg_time_per_section: float
    def __init__(self, review_duration: _Optional[float] = ..., avg_time_per_section: _Optional[float] = ...) -> None: ...
