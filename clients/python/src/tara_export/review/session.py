"""Converts the application's session to a review, as `tara-export export FOLDER` reads session.json."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Optional

from tara.export.v1 import review_pb2

from .errors import SessionError
from .plain import Pairs, plain
from .replacements import Reason, key_path
from .values import Converter, json_text

_TEXTS = ("session_id", "document_name", "reviewer", "guidelines_name", "guidelines_preference")
_SECTIONS = {
    "feedback_data": "suggestions",
    "accepted_feedback": "accepted",
    "rejected_feedback": "rejected",
    "user_feedback": "user_created",
}
#: The review's field for each of the session's attributes with another name.
_FIELDS = {**_SECTIONS, "sections": "section_names"}
_LOGS = ("activity_log", "chat_history", "audit_logs", "activity_timeline")
#: The methods of the session's audit logger.
_AUDIT = {
    "audit_logs": "get_session_logs",
    "performance_metrics": "get_performance_metrics",
    "activity_timeline": "get_activity_timeline",
}
#: Text fields of an item. Below: list fields with the type of their elements.
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
#: The key of a value that is not an object where an object is expected.
_VALUE = "value"


def review_from_session(session: Any) -> tuple[review_pb2.Review, list[str]]:
    """Converts the session to a review, and returns it with a human-readable warning for each replaced value.

    Missing attributes and None are omitted. Raises SessionError if the session's audit logger fails, or the
    session has more than a million values.
    """
    conversion = _Conversion()
    conversion.convert(session)
    return conversion.review, conversion.values.replacements.warnings()


class _Conversion:
    def __init__(self) -> None:
        self.values = Converter()
        self.review = review_pb2.Review()

    def convert(self, session: Any) -> None:
        for key in _TEXTS:
            text = self._text(_attribute(session, key), key)
            if text is not None:
                setattr(self.review, key, text)
        self.review.section_names.extend(self._section_names(_attribute(session, "sections"), "sections"))
        for key, field in _SECTIONS.items():
            self._add_sections(getattr(self.review, field), _attribute(session, key), key)
        for key in _LOGS:
            for entry, path in self._objects(_attribute(session, key), key):
                self.values.set_fields(getattr(self.review, key).add(), entry, path)
        metrics = self.values.json(_attribute(session, "performance_metrics"), "performance_metrics")
        if metrics is not None:
            self.review.performance_metrics.SetInParent()
            fields = self._object(metrics, "performance_metrics")
            self.values.set_fields(self.review.performance_metrics, fields, "performance_metrics")
        self.review.replacements.extend(self.values.replacements.messages(_FIELDS))

    def _wrong_type(self, path: str) -> None:
        self.values.replacements.add(path, Reason.WRONG_TYPE)

    def _text(self, value: Any, path: str) -> Optional[str]:
        """A text as it is, and the JSON text of another value."""
        converted = self.values.json(value, path)
        if converted is None or isinstance(converted, str):
            return converted
        self._wrong_type(path)
        return json_text(converted)

    def _object(self, value: Any, path: str) -> dict[str, Any]:
        """An object as it is, and an object with another value under the key `value`."""
        if isinstance(value, dict):
            return value
        self._wrong_type(path)
        return {_VALUE: value}

    def _list(self, value: Any, path: str) -> list[Any]:
        """The elements of a list, none for None, and another value as the only element."""
        converted = self._plain(value, path)
        if converted is None:
            return []
        if isinstance(converted, list) and not isinstance(converted, Pairs):
            return converted
        self._wrong_type(path)
        return [value]

    def _plain(self, value: Any, path: str) -> Any:
        return plain(value, lambda reason: self.values.replacements.add(path, reason))

    def _objects(self, value: Any, path: str) -> Iterator[tuple[dict[str, Any], str]]:
        """The objects of a list, with their paths."""
        for index, element in enumerate(self._list(value, path)):
            # An element that replaces the list has the list's path.
            element_path = f"{path}[{index}]"
            yield self._object(self.values.json(element, element_path), element_path), element_path

    def _section_names(self, value: Any, path: str) -> list[str]:
        """The keys of an object, whose texts are ignored, or a list of names."""
        converted = self._plain(value, path)
        if isinstance(converted, Pairs):
            return self.values.names(converted, path)
        names = (self._text(name, f"{path}[{index}]") for index, name in enumerate(self._list(value, path)))
        return ["null" if name is None else name for name in names]

    def _add_sections(self, target: Any, value: Any, path: str) -> None:
        sections = self._plain(value, path)
        if sections is None:
            return
        if not isinstance(sections, Pairs):
            # Items without a section.
            self._wrong_type(path)
            sections = Pairs([("", value)])
        for name, (_, items) in zip(self.values.names(sections, path), sections):
            section_path = key_path(path, name)
            section = target.add(name=name)
            for item, item_path in self._objects(items, section_path):
                self._set_item(section.items.add(), item, item_path)

    def _set_item(self, target: review_pb2.FeedbackItem, item: dict[str, Any], path: str) -> None:
        for key, value in item.items():
            if not self._set_known(target, key, value, key_path(path, key)):
                self.values.set_value(target.additional_fields.fields[key], value, key_path(path, key))

    def _set_known(self, target: review_pb2.FeedbackItem, key: str, value: Any, path: str) -> bool:
        """Sets the field of a known key. Returns False if the value must become a free-form field."""
        if key in _ITEM_TEXTS and isinstance(value, str):
            setattr(target, key, value)
        elif key in _ITEM_LISTS and isinstance(value, list) and value:
            if not all(_is_element(element, _ITEM_LISTS[key]) for element in value):
                return False
            getattr(target, key).extend(value)
        elif key == "confidence" and _is_exact_number(value):
            target.confidence = value
        elif key == "user_created" and isinstance(value, bool):
            target.user_created = value
        else:
            return False
        return True


def _attribute(session: Any, key: str) -> Any:
    logger = getattr(session, "audit_logger", None)
    if key in _AUDIT and logger is not None:
        try:
            return getattr(logger, _AUDIT[key])()
        except Exception as error:
            # Without this error, the bundle would have no audit logs, as if nothing had happened.
            raise SessionError(f"audit_logger.{_AUDIT[key]}()", f"failed: {error!r}") from error
    return getattr(session, key, None)


def _is_element(element: Any, expected_type: type) -> bool:
    if expected_type is int:
        return isinstance(element, int) and not isinstance(element, bool) and element in _INT64
    return isinstance(element, expected_type)


def _is_exact_number(value: Any) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return isinstance(value, float) or abs(value) <= 2**53
