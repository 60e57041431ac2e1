"""Converts sessions to reviews, without a server."""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import uuid
from collections import OrderedDict, defaultdict, deque
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format
from sessions import AuditLogger, Session, sample_session

from tara_export import SessionError, review_from_session


def item(value: Any) -> dict[str, Any]:
    """The item as proto3 JSON, merged with its free-form fields."""
    review, _ = review_from_session(Session(feedback_data={"S": [value]}))
    converted: dict[str, Any] = json_format.MessageToDict(
        review.suggestions[0].items[0], preserving_proto_field_name=True
    )
    additional = converted.pop("additional_fields", {})
    return {**converted, **additional}


def test_every_attribute_is_mapped_to_its_field() -> None:
    session = Session(
        session_id="s-1",
        document_name="Bericht ä.docx",
        reviewer="R. Viewer",
        guidelines_name="g.docx",
        guidelines_preference="both",
        sections={"One": "a long text"},
        feedback_data={"One": [{"id": "1"}]},
        accepted_feedback={"Two": [{"id": "2"}]},
        rejected_feedback=defaultdict(list, {"Three": [{"id": "3"}]}),
        user_feedback=OrderedDict([("Four", [{"id": "4"}]), ("Five", [])]),
        activity_log=[{"key": "activity"}],
        chat_history=[{"key": "chat"}],
        audit_logger=AuditLogger([{"key": "audit"}], {"key": 1}, [{"key": "timeline"}]),
        something_else=object(),
    )
    review, warnings = review_from_session(session)
    assert not warnings
    assert json_format.MessageToDict(review, preserving_proto_field_name=True) == {
        "session_id": "s-1",
        "document_name": "Bericht ä.docx",
        "reviewer": "R. Viewer",
        "guidelines_name": "g.docx",
        "guidelines_preference": "both",
        "section_names": ["One"],
        "suggestions": [{"name": "One", "items": [{"id": "1"}]}],
        "accepted": [{"name": "Two", "items": [{"id": "2"}]}],
        "rejected": [{"name": "Three", "items": [{"id": "3"}]}],
        "user_created": [{"name": "Four", "items": [{"id": "4"}]}, {"name": "Five"}],
        "activity_log": [{"key": "activity"}],
        "chat_history": [{"key": "chat"}],
        "audit_logs": [{"key": "audit"}],
        "activity_timeline": [{"key": "timeline"}],
        "performance_metrics": {"key": 1.0},
    }


def test_none_and_missing_attributes_are_omitted() -> None:
    empty = Session(
        **dict.fromkeys(("session_id", "document_name", "guidelines_name", "sections", "feedback_data"))
    )
    empty.audit_logger = None
    assert not review_from_session(empty)[0].ByteSize()
    assert not review_from_session(object())[0].ByteSize()
    assert review_from_session(Session(guidelines_name=""))[0].HasField("guidelines_name")


def test_known_keys_of_another_type_become_free_form_fields() -> None:
    value = {
        "id": 7,
        "type": None,
        "description": {"a": 1},
        "questions": [],
        "hawkeye_refs": [1.5],
        "confidence": "0.9",
        "user_created": "yes",
        "other": [None, {"x": [False]}, {}],
    }
    review, _ = review_from_session(Session(feedback_data={"S": [value]}))
    converted = review.suggestions[0].items[0]
    assert [field.name for field, _ in converted.ListFields()] == ["additional_fields"]
    assert json_format.MessageToDict(converted.additional_fields) == value
    assert item({"hawkeye_refs": [7, 2**63 - 1], "confidence": 1}) == {
        "hawkeye_refs": ["7", str(2**63 - 1)],
        "confidence": 1.0,
    }


class Level(str, enum.Enum):
    HIGH = "High"


@dataclasses.dataclass
class Reference:
    page: int
    sections: tuple[str, ...]


def test_python_types_are_converted_to_json_types() -> None:
    time = datetime.datetime(2026, 11, 1, 9, 0, 18)
    known = {"risk_level": Level.HIGH, "timestamp": time, "questions": ("What?", "Why?")}
    assert item(known) == {
        "risk_level": "High",
        "timestamp": "2026-11-01T09:00:18",
        "questions": ["What?", "Why?"],
    }
    free = {
        "date": time.date(),
        "zoned": time.replace(tzinfo=datetime.timezone.utc),
        "exact": decimal.Decimal("0.10"),
        "uuid": uuid.UUID(int=1),
        "path": Path("a/b"),
        "set": {"b", "a"},
        "deque": deque([1, 2]),
        "reference": Reference(3, ("x",)),
        "text": "日本 \U0001f600 e\u0301\0\u2028",
        1: True,
        None: None,
        "": "",
    }
    assert item(free) == {
        "date": "2026-11-01",
        "zoned": "2026-11-01T09:00:18+00:00",
        "exact": "0.10",
        "uuid": "00000000-0000-0000-0000-000000000001",
        "path": "a/b",
        "set": ["a", "b"],
        "deque": [1.0, 2.0],
        "reference": {"page": 3.0, "sections": ["x"]},
        "text": "日本 \U0001f600 e\u0301\0\u2028",
        "1": True,
        "null": None,
        "": "",
    }


def test_failing_audit_logger_is_an_error() -> None:
    session = sample_session(audit_logger=object())
    with pytest.raises(SessionError, match=r"audit_logger.get_session_logs\(\): failed: AttributeError"):
        review_from_session(session)
