"""The review application's session, and how it becomes a review: as `tara-export export FOLDER` reads a
session.json."""

from __future__ import annotations

from typing import Any, Optional

from tara.export.v1 import review_pb2

from .values import SessionError, as_double, key_path, plain, set_fields, set_value, wrong_type

_TEXTS = ("session_id", "document_name", "reviewer", "guidelines_name", "guidelines_preference")
_SECTIONS = {
    "feedback_data": "suggestions",
    "accepted_feedback": "accepted",
    "rejected_feedback": "rejected",
    "user_feedback": "user_created",
}
_LOGS = ("activity_log", "chat_history", "audit_logs", "activity_timeline")
#: What the session's audit logger says, and by which method.
_AUDIT = {
    "audit_logs": "get_session_logs",
    "performance_metrics": "get_performance_metrics",
    "activity_timeline": "get_activity_timeline",
}
#: Fields of an item that are texts, and lists by their elements' type.
_ITEM_TEXTS = frozenset(
    (
        "id",
        "type",
        "category",
        "description",
        "suggestion",
        "example",
        "risk_level",
        "timestamp",
        "ai_reference",
        "ai_id",
    )
)
_ITEM_LISTS = {"questions": str, "hawkeye_refs": int}
_INT64 = range(-(2**63), 2**63)


def review_from_session(session: Any) -> review_pb2.Review:
    """The review that the session holds. What is missing, and what is None, is left out.

    Raises SessionError with the place of a value that can't be exported.
    """
    review = review_pb2.Review()
    for key in _TEXTS:
        text = _text(_attribute(session, key), key)
        if text is not None:
            setattr(review, key, text)
    review.section_names.extend(_section_names(_attribute(session, "sections"), "sections"))
    for key, field in _SECTIONS.items():
        _add_sections(getattr(review, field), _attribute(session, key), key)
    for key in _LOGS:
        _add_entries(getattr(review, key), _attribute(session, key), key)
    metrics = plain(_attribute(session, "performance_metrics"), "performance_metrics")
    if metrics is not None:
        if not isinstance(metrics, dict):
            raise wrong_type("performance_metrics", "an object", metrics)
        review.performance_metrics.SetInParent()
        set_fields(review.performance_metrics, metrics, "performance_metrics")
    return review


def _attribute(session: Any, key: str) -> Any:
    logger = getattr(session, "audit_logger", None)
    if key in _AUDIT and logger is not None:
        try:
            return getattr(logger, _AUDIT[key])()
        except Exception as error:
            # A bundle without its audit logs would look as if nothing had happened.
            raise SessionError(f"audit_logger.{_AUDIT[key]}()", f"failed: {error!r}") from error
    return getattr(session, key, None)


def _text(value: Any, path: str) -> Optional[str]:
    value = plain(value, path)
    if value is not None and not isinstance(value, str):
        raise wrong_type(path, "a string", value)
    return value


def _section_names(value: Any, path: str) -> list[str]:
    """The keys of an object whose texts stay behind, or a list of names."""
    value = plain(value, path)
    if value is None or isinstance(value, dict):
        return list(value or ())
    if not isinstance(value, list):
        raise wrong_type(path, "an object or a list of names", value)
    names = [plain(name, f"{path}[{index}]") for index, name in enumerate(value)]
    for index, name in enumerate(names):
        if not isinstance(name, str):
            raise wrong_type(f"{path}[{index}]", "a string", name)
    return names


def _add_sections(target: Any, value: Any, path: str) -> None:
    value = plain(value, path)
    if value is None:
        return
    if not isinstance(value, dict):
        raise wrong_type(path, "an object of sections", value)
    for name, items in value.items():
        section_path = key_path(path, name)
        items = plain(items, section_path)
        if not isinstance(items, list):
            raise wrong_type(section_path, "a list of items", items)
        section = target.add(name=name)
        for index, item in enumerate(items):
            _set_item(section.items.add(), item, f"{section_path}[{index}]")


def _add_entries(target: Any, value: Any, path: str) -> None:
    value = plain(value, path)
    if value is None:
        return
    if not isinstance(value, list):
        raise wrong_type(path, "a list of objects", value)
    for index, entry in enumerate(value):
        entry_path = f"{path}[{index}]"
        entry = plain(entry, entry_path)
        if not isinstance(entry, dict):
            raise wrong_type(entry_path, "an object", entry)
        set_fields(target.add(), entry, entry_path)


def _set_item(target: review_pb2.FeedbackItem, value: Any, path: str) -> None:
    value = plain(value, path)
    if not isinstance(value, dict):
        raise wrong_type(path, "an object", value)
    for key, element in value.items():
        if not _set_known(target, key, element, key_path(path, key)):
            set_value(target.additional_fields.fields[key], element, key_path(path, key))


def _set_known(target: review_pb2.FeedbackItem, key: str, value: Any, path: str) -> bool:
    """Sets the field of a known key; one that is null, an empty list or of another type is a free one."""
    value = plain(value, path)
    if key in _ITEM_TEXTS and isinstance(value, str):
        setattr(target, key, value)
    elif key in _ITEM_LISTS and isinstance(value, list) and value:
        elements = [plain(element, f"{path}[{index}]") for index, element in enumerate(value)]
        if not all(_is_element(element, _ITEM_LISTS[key]) for element in elements):
            return False
        getattr(target, key).extend(elements)
    elif key == "confidence" and isinstance(value, (int, float)) and not isinstance(value, bool):
        target.confidence = as_double(value, path)
    elif key == "user_created" and isinstance(value, bool):
        target.user_created = value
    else:
        return False
    return True


def _is_element(element: Any, wanted: type) -> bool:
    if wanted is int:
        return isinstance(element, int) and not isinstance(element, bool) and element in _INT64
    return isinstance(element, wanted)
