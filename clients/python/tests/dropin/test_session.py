"""Sessions as reviews, without a server."""

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

from tara_export.dropin.session import review_from_session
from tara_export.dropin.values import SessionError


def item(value: Any) -> dict[str, Any]:
    """The item as proto3 JSON, its free fields among the others."""
    review = review_from_session(Session(feedback_data={"S": [value]}))
    made: dict[str, Any] = json_format.MessageToDict(
        review.suggestions[0].items[0], preserving_proto_field_name=True
    )
    free = made.pop("additional_fields", {})
    return {**made, **free}


def test_every_attribute_has_its_place() -> None:
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
    assert json_format.MessageToDict(review_from_session(session), preserving_proto_field_name=True) == {
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


def test_none_and_what_is_missing_are_left_out() -> None:
    nothing = Session(
        **dict.fromkeys(("session_id", "document_name", "guidelines_name", "sections", "feedback_data"))
    )
    nothing.audit_logger = None
    assert not review_from_session(nothing).ByteSize()
    assert not review_from_session(object()).ByteSize()
    assert review_from_session(Session(guidelines_name="")).HasField("guidelines_name")


def test_known_keys_of_another_type_become_free_ones() -> None:
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
    review = review_from_session(Session(feedback_data={"S": [value]}))
    made = review.suggestions[0].items[0]
    assert [field.name for field, _ in made.ListFields()] == ["additional_fields"]
    assert json_format.MessageToDict(made.additional_fields) == value
    assert item({"hawkeye_refs": [7, 2**63 - 1], "confidence": 1}) == {
        "hawkeye_refs": ["7", str(2**63 - 1)],
        "confidence": 1.0,
    }


class Level(str, enum.Enum):
    HIGH = "High"


@dataclasses.dataclass
class Reference:
    page: int
    places: tuple[str, ...]


def test_what_python_holds_and_json_does_not() -> None:
    time = datetime.datetime(2026, 11, 1, 9, 0, 18)
    known = {"risk_level": Level.HIGH, "timestamp": time, "questions": ("What?", "Wherefore?")}
    assert item(known) == {
        "risk_level": "High",
        "timestamp": "2026-11-01T09:00:18",
        "questions": ["What?", "Wherefore?"],
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
        "reference": {"page": 3.0, "places": ["x"]},
        "text": "日本 \U0001f600 e\u0301\0\u2028",
        "1": True,
        "null": None,
        "": "",
    }


def endless() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


@pytest.mark.parametrize(
    ("attributes", "message"),
    [
        ({"session_id": 1}, "session_id: must be a string, but is a number"),
        ({"sections": ["a", 1]}, "sections[1]: must be a string, but is a number"),
        ({"feedback_data": []}, "feedback_data: must be an object of sections, but is a list"),
        (
            {"accepted_feedback": {"Section 1": {}}},
            'accepted_feedback["Section 1"]: must be a list of items, but is an object',
        ),
        (
            {"rejected_feedback": {"S": [{}, None]}},
            "rejected_feedback.S[1]: must be an object, but is null",
        ),
        ({"chat_history": [{}, "x"]}, "chat_history[1]: must be an object, but is a string"),
        (
            {"feedback_data": {"S": [{"w": [2**53 + 1]}]}},
            "feedback_data.S[0].w[0]: the integer 9007199254740993 is beyond ±2^53 and would be rounded; "
            "send it as a string",
        ),
        (
            {"feedback_data": {"S": [{"confidence": float("nan")}]}},
            "feedback_data.S[0].confidence: nan is no number that can be exported",
        ),
        ({"activity_log": [{"a": b"x"}]}, "activity_log[0].a: a bytes can't be exported"),
        ({"activity_log": [{"a": object()}]}, "activity_log[0].a: a object can't be exported"),
        ({"activity_log": [{"a": iter("x")}]}, "activity_log[0].a: a str_ascii_iterator can't be exported"),
        ({"document_name": "\ud800"}, "document_name: half of a surrogate pair, which is no character"),
        ({"activity_log": [{1: "a", "1": "b"}]}, 'activity_log[0]["1"]: stands twice in its object'),
        (
            {"activity_log": [{"a": endless()}]},
            f"activity_log[0].a{'[0]' * 29}: is nested deeper than 30 levels",
        ),
    ],
)
def test_what_can_not_be_kept_is_refused_with_its_place(attributes: dict[str, Any], message: str) -> None:
    with pytest.raises(SessionError) as raised:
        review_from_session(Session(**attributes))
    # The name of the iterator's type is not the same everywhere.
    assert str(raised.value) == message.replace("str_ascii_iterator", type(iter("x")).__name__)


def test_an_audit_logger_that_fails_is_told() -> None:
    session = sample_session(audit_logger=object())
    with pytest.raises(SessionError, match=r"audit_logger.get_session_logs\(\): failed: AttributeError"):
        review_from_session(session)
