"""Values that a request cannot have, by the table of all clients, and types of Python."""

from __future__ import annotations

import array
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import json
import subprocess
import sys
import uuid
from collections import Counter, OrderedDict, UserDict, UserList, UserString, deque, namedtuple
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, Optional

import attrs
import numpy as np
import pandas as pd
import pydantic
import pytest
from google.protobuf import json_format, struct_pb2
from values_table import TABLE, decode

from tara.export.v1 import review_pb2
from tara_export import SessionError, review_from_session


def values(struct: struct_pb2.Struct) -> dict[str, Any]:
    converted: dict[str, Any] = json_format.MessageToDict(struct)
    return converted


def replaced(review: review_pb2.Review) -> list[tuple[str, str]]:
    return sorted((entry.path, entry.reason) for entry in review.replacements)


@pytest.mark.parametrize("case", TABLE["values"], ids=lambda case: case["name"])
def test_free_form_values_of_the_table(case: dict[str, Any]) -> None:
    value, sent = decode(case["value"]), decode(case["sent"])
    review, warnings = review_from_session(
        SimpleNamespace(
            feedback_data={"Section 1": [{"x": value}]},
            chat_history=[{"x": value}],
            performance_metrics={"x": value},
        )
    )
    free = review.suggestions[0].items[0].additional_fields
    for struct in (free, review.chat_history[0], review.performance_metrics):
        assert values(struct) == {"x": sent}
    places = {
        'suggestions["Section 1"][0].x': 'feedback_data["Section 1"][0].x',
        "chat_history[0].x": "chat_history[0].x",
        "performance_metrics.x": "performance_metrics.x",
    }
    expected = [(path, reason) for path, reason in case["replacements"]]
    assert replaced(review) == sorted((place + path, reason) for place in places for path, reason in expected)
    # People read the paths of the session.
    assert sorted(warning.split(": ")[0] for warning in warnings) == sorted(
        place + path for place in places.values() for path, _ in expected
    )


@pytest.mark.parametrize("case", TABLE["items"], ids=lambda case: case["name"])
def test_items_of_the_table(case: dict[str, Any]) -> None:
    review, _ = review_from_session(SimpleNamespace(accepted_feedback={"S": [decode(case["item"])]}))
    item = json_format.MessageToDict(review.accepted[0].items[0], preserving_proto_field_name=True)
    additional = item.pop("additional_fields", {})
    assert {**item, **additional} == case["sent"]
    assert replaced(review) == [("accepted.S[0]" + path, reason) for path, reason in case["replacements"]]


def test_list_of_replacements_has_a_limit() -> None:
    limits = TABLE["limits"]
    for key in ("k", "ä" * 1000):
        values = {f"{key}{index}": float("nan") for index in range(3000)}
        review, warnings = review_from_session(SimpleNamespace(performance_metrics=values))
        entries = review.replacements
        assert len(entries) <= limits["entries"]
        texts = [text.encode() for entry in entries for text in (entry.path, entry.reason)]
        assert all(1 <= len(text) <= limits["text_bytes"] for text in texts)
        assert limits["bytes"] * 0.9 < sum(map(len, texts)) <= limits["bytes"] or len(entries) == 997
        more = f"{3000 - len(entries) + 1} more values were replaced and are not listed"
        assert (entries[-1].path, entries[-1].reason) == ("review", more)
        assert warnings[-1] == f"review: {more}"


def converted(value: Any) -> tuple[Any, list[str]]:
    """The value in a bundle, and the reasons for replacements."""
    review, _ = review_from_session(SimpleNamespace(chat_history=[{"x": value}]))
    return values(review.chat_history[0])["x"], [entry.reason for entry in review.replacements]


class Level(enum.Enum):
    HIGH = "High"


@dataclasses.dataclass
class Reference:
    page: int
    sections: tuple[str, ...] = ()
    sources: list[Reference] = dataclasses.field(default_factory=list)


@attrs.define
class Finding:
    score: float
    reference: Optional[Reference] = None


class Comment(pydantic.BaseModel):
    text: str
    level: Level = Level.HIGH
    created: datetime.datetime = datetime.datetime(2026, 11, 1)
    replies: list[Comment] = []


class Names(pydantic.RootModel[list[str]]):
    pass


class Iterating:
    """Iterates over pairs of names and values, as models do."""

    def __init__(self, **fields: Any) -> None:
        self.__dict__.update(fields)

    def __iter__(self) -> Any:
        yield from self.__dict__.items()


class Model1(Iterating):
    """As a model of pydantic 1."""

    __fields__: dict[str, Any] = {}

    def dict(self) -> Any:
        return dict(self.__dict__)


class MappingLike:
    """Has the methods that `dict()` uses."""

    def keys(self) -> list[str]:
        return ["a"]

    def __getitem__(self, key: str) -> str:
        return key * 2

    def __iter__(self) -> Any:
        return iter(self.keys())

    def __len__(self) -> int:
        return 1


class Failing:
    def model_dump(self) -> None:
        raise RuntimeError

    def __str__(self) -> str:
        raise RuntimeError


Point = namedtuple("Point", "x y")
TIME = datetime.datetime(2026, 11, 1, 9, 0, 18)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (Level.HIGH, "High"),
        (decimal.Decimal("1.10"), "1.10"),
        (fractions.Fraction(1, 3), "1/3"),
        (1 + 2j, "(1+2j)"),
        (TIME, "2026-11-01T09:00:18"),
        (TIME.replace(tzinfo=datetime.timezone.utc), "2026-11-01T09:00:18+00:00"),
        (TIME.date(), "2026-11-01"),
        (TIME.time(), "09:00:18"),
        (datetime.timedelta(days=1, seconds=5), "1 day, 0:00:05"),
        (Path("a/b"), "a/b"),
        (uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001"),
        (ipaddress.ip_network("10.0.0.0/30"), "10.0.0.0/30"),
        ({"b", "a"}, ["a", "b"]),
        (frozenset({2, 1}), [1, 2]),
        (Point(1, 2), [1, 2]),
        (deque([1]), [1]),
        (range(3), [0, 1, 2]),
        (array.array("i", [1, 2]), [1, 2]),
        ({"b": 1, "a": 2}.keys(), ["b", "a"]),
        (Counter("aab"), {"a": 2, "b": 1}),
        (OrderedDict(b=1), {"b": 1}),
        (UserDict(a=1), {"a": 1}),
        (MappingProxyType({"a": 1}), {"a": 1}),
        (MappingLike(), {"a": "aa"}),
        (UserList([1]), [1]),
        (UserString("text"), "text"),
        (SimpleNamespace(a=1, _b=2), {"a": 1, "_b": 2}),
        (Reference(3, ("x",), [Reference(4)]), {
            "page": 3, "sections": ["x"], "sources": [{"page": 4, "sections": [], "sources": []}],
        }),
        (Finding(0.5, Reference(1)), {"score": 0.5, "reference": {"page": 1, "sections": [], "sources": []}}),
        (Comment(text="a", replies=[Comment(text="b")]), {
            "text": "a", "level": "High", "created": "2026-11-01T00:00:00",
            "replies": [{"text": "b", "level": "High", "created": "2026-11-01T00:00:00", "replies": []}],
        }),
        (Names(["a"]), ["a"]),
        (Model1(a=1), {"a": 1}),
        (review_pb2.Review(document_name="a"), {"document_name": "a"}),
        (np.True_, True),
        (np.int64(7), 7),
        (np.uint8(7), 7),
        (np.float16(0.25), 0.25),
        (np.float32(0.5), 0.5),
        (np.float64(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.complex128(1j), "1j"),
        (np.str_("x"), "x"),
        (np.datetime64("2026-11-22T18:37:00"), "2026-11-22T18:37:00"),
        (np.datetime64("NaT"), None),
        (np.timedelta64(5, "s"), "5 seconds"),
        (np.array(5), 5),
        (np.array([[1, 2], [3, 4]]), [[1, 2], [3, 4]]),
        (np.array([True, False]), [True, False]),
        (np.array(["2026-11-22"], dtype="datetime64[D]"), ["2026-11-22"]),
        (np.array([1, 2], dtype="timedelta64[ns]"), ["1 nanoseconds", "2 nanoseconds"]),
        (np.array([(1, "x")], dtype=[("a", int), ("b", "U1")]), [{"a": 1, "b": "x"}]),
        (np.ma.array([1, 2], mask=[False, True]), [1, None]),
        (np.array([[1, 2]]).view(np.matrix), [[1, 2]]),
        (np.array([None, {"a": TIME}], dtype=object), [None, {"a": "2026-11-01T09:00:18"}]),
        (pd.Timestamp("2026-11-01 09:00:18"), "2026-11-01T09:00:18"),
        (pd.NaT, None),
        (pd.NA, None),
        (pd.Timedelta(seconds=5), "0 days 00:00:05"),
        (pd.Period("2026-11"), "2026-11"),
        (pd.Interval(0, 1), "(0, 1]"),
        (pd.Series([1, 2]), [1, 2]),
        (pd.Series(["x", None], index=["a", "b"]), {"a": "x", "b": None}),
        (pd.DataFrame({"a": [1, 2], "b": ["x", None]}), [{"a": 1, "b": "x"}, {"a": 2, "b": None}]),
        (pd.DataFrame({"a": [1]}, index=["row"]), {"row": {"a": 1}}),
        (pd.Categorical(["a", "b"]), ["a", "b"]),
        (pd.Index([1, 2]), [1, 2]),
        (pd.array([1, None], dtype="Int64"), [1, None]),
    ],
    ids=lambda value: type(value).__name__,
)  # fmt: skip
def test_python_types_are_converted_without_a_replacement(value: Any, expected: Any) -> None:
    assert converted(value) == (expected, [])
    # The result has exactly these types, so true is not 1.
    assert json.dumps(converted(value)[0], default=float) == json.dumps(
        json_format.MessageToDict(json_format.ParseDict({"x": expected}, struct_pb2.Struct()))["x"]
    )


def recursive() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["self"] = [value]
    return value


@pytest.mark.parametrize(
    ("value", "expected", "reasons"),
    [
        (b"\xff", "/w==", ["BYTES"]),
        (memoryview(b"\xff"), "/w==", ["BYTES"]),
        (np.bytes_(b"\xff"), "/w==", ["BYTES"]),
        (np.float32("nan"), "NaN", ["NOT_FINITE"]),
        (np.array([1, np.inf]), [1, "Infinity"], ["NOT_FINITE"]),
        (np.longdouble("0.1"), str(np.longdouble("0.1")), ["NOT_EXACT"]),
        (np.uint64(2**64 - 1), str(2**64 - 1), ["NOT_EXACT"]),
        (10**5000, "1" + "0" * 5000, ["NOT_EXACT"]),
        (pd.Series([0.5, None]), [0.5, "NaN"], ["NOT_FINITE"]),
        (recursive(), {"self": [None]}, ["CIRCULAR"]),
        (Iterating(a=1, _b=2), {"a": 1}, ["UNKNOWN_TYPE"]),
        (int, "<class 'int'>", ["UNKNOWN_TYPE"]),
        (Level, "<enum 'Level'>", ["UNKNOWN_TYPE"]),
        (pydantic.SecretStr("hidden"), "**********", ["UNKNOWN_TYPE"]),
        (Failing(), "<Failing>", ["UNKNOWN_TYPE"]),
        (range(10**30), f"range(0, {10**30})", ["UNKNOWN_TYPE"]),
        ({1: "a", "1": "b"}, {"1": "a", "1 (2)": "b"}, ["KEY_NOT_TEXT", "DUPLICATE_KEY"]),
        ({None: 1, 1.5: 2}, {"null": 1, "1.5": 2}, ["KEY_NOT_TEXT"] * 2),
        ({(1, "a"): 1}, {"(1, 'a')": 1}, ["KEY_NOT_TEXT"]),
        ({frozenset("ba"): 1}, {"['a', 'b']": 1}, ["KEY_NOT_TEXT"]),
        ({np.int64(3): 1, np.True_: 2}, {"3": 1, "true": 2}, ["KEY_NOT_TEXT"] * 2),
        ({(np.int64(3), np.str_("a")): 1}, {"(3, 'a')": 1}, ["KEY_NOT_TEXT"]),
        ({float("nan"): 1}, {"NaN": 1}, ["KEY_NOT_TEXT"]),
        ({TIME.date(): 1, Level.HIGH: 2}, {"2026-11-01": 1, "High": 2}, ["KEY_NOT_TEXT"] * 2),
        (Path("a\udcff"), "a\ufffd", ["NOT_UNICODE"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_python_values_are_replaced(value: Any, expected: Any, reasons: list[str]) -> None:
    assert converted(value) == (expected, reasons)


def test_iterators_are_not_consumed() -> None:
    iterator = iter([1, 2])
    value, reasons = converted(iterator)
    assert "iterator" in value and reasons == ["UNKNOWN_TYPE"]
    assert list(iterator) == [1, 2]


@pytest.mark.parametrize("value", [range(10**9), np.broadcast_to(1, (10**4, 10**4))], ids=str)
def test_too_many_values_are_an_error(value: Any) -> None:
    with pytest.raises(SessionError, match="more than 1000000"):
        converted(value)


class Endless:
    """Has two elements, each with two elements, and so on."""

    def __len__(self) -> int:
        return 2

    def __iter__(self) -> Any:
        return iter((Endless(), Endless()))


def test_endless_tree_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tara_export.review.values.MAX_VALUES", 10_000)
    with pytest.raises(SessionError, match="more than 10000 values"):
        converted(Endless())


@pytest.mark.parametrize(
    ("attributes", "field", "expected", "path"),
    [
        ({"session_id": np.int64(7)}, "session_id", "7", "session_id"),
        ({"document_name": ["a"]}, "document_name", '["a"]', "document_name"),
        ({"sections": ["a", 1]}, "section_names", ["a", "1"], "section_names[1]"),
        ({"chat_history": [{}, "x"]}, "chat_history", [{}, {"value": "x"}], "chat_history[1]"),
        ({"chat_history": {"a": 1}}, "chat_history", [{"a": 1}], "chat_history"),
        ({"performance_metrics": [1]}, "performance_metrics", {"value": [1]}, "performance_metrics"),
        (
            {"accepted_feedback": [{"id": "1"}]},
            "accepted",
            [{"items": [{"id": "1"}]}],
            "accepted",
        ),
        (
            {"rejected_feedback": {"S": ["x"]}},
            "rejected",
            [{"name": "S", "items": [{"additional_fields": {"value": "x"}}]}],
            "rejected.S[0]",
        ),
        (
            {"rejected_feedback": {"S": {"id": "1"}}},
            "rejected",
            [{"name": "S", "items": [{"id": "1"}]}],
            "rejected.S",
        ),
    ],
)
def test_values_of_another_type_are_replaced(
    attributes: dict[str, Any], field: str, expected: Any, path: str
) -> None:
    review, warnings = review_from_session(SimpleNamespace(**attributes))
    assert json_format.MessageToDict(review, preserving_proto_field_name=True)[field] == expected
    assert replaced(review) == [(path, "WRONG_TYPE")]
    assert len(warnings) == 1


def test_numpy_is_not_imported() -> None:
    program = (
        "import sys; from types import SimpleNamespace; from tara_export.review import review_from_session; "
        "review_from_session(SimpleNamespace(chat_history=[{'x': object()}])); "
        "assert not {'numpy', 'pandas', 'pydantic', 'attr', 'attrs'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, env={"PYTHONPATH": ":".join(sys.path)})
