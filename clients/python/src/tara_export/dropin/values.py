"""What the review application holds in memory, as the values that a request can carry.

As with the JSON that the tara-export command reads, what can't be kept is refused with its place, and nothing
is rounded.
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import json
import math
import numbers
import os
import re
import uuid
from collections.abc import Iterator, Mapping, Set
from typing import Any

from google.protobuf import struct_pb2

#: Up to here a double holds every integer.
_LARGEST_EXACT = 2**53
#: Free fields may be nested this deep.
_MAX_DEPTH = 30
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


class SessionError(ValueError):
    """A value of a review that can't be exported."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path


def key_path(path: str, key: str) -> str:
    """Where the value under `key` stands."""
    if _IDENTIFIER.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key, ensure_ascii=False)}]"


def plain(value: Any, path: str) -> Any:
    """The value as JSON would have it, one level deep: None, bool, int, float, str, list or dict."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, enum.Enum):
        return plain(value.value, path)
    if isinstance(value, str):
        return _text(value, path)
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, numbers.Rational):
        return _finite(float(value), path)
    # `datetime` is a `date`.
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, (decimal.Decimal, uuid.UUID, datetime.timedelta)):
        return str(value)
    if isinstance(value, os.PathLike):
        return _text(os.fsdecode(value), path)
    if isinstance(value, Mapping):
        return _object(value, path)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Set):
        # A set has no order of its own; the same review has to be the same request again.
        return sorted(value, key=repr)
    if isinstance(value, (Iterator, bytes, bytearray, memoryview)):
        raise SessionError(path, f"a {type(value).__name__} can't be exported")
    try:
        return list(value)
    except TypeError:
        raise SessionError(path, f"a {type(value).__name__} can't be exported") from None


def _text(value: str, path: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SessionError(path, "half of a surrogate pair, which is no character") from None
    # A subclass could have a text of its own.
    return str.__str__(value)


def _finite(value: float, path: str) -> float:
    if not math.isfinite(value):
        raise SessionError(path, f"{value} is no number that can be exported")
    return value


def _object(value: Mapping[Any, Any], path: str) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for key, element in list(value.items()):
        name = _key(key, path)
        if name in made:
            raise SessionError(key_path(path, name), "stands twice in its object")
        made[name] = element
    return made


def _key(key: Any, path: str) -> str:
    key = plain(key, path)
    if isinstance(key, str):
        return key
    if key is None or isinstance(key, (bool, int, float)):
        # As the json module writes such a key.
        return json.dumps(key)
    raise SessionError(path, f"a {type(key).__name__} can't be a key")


def kind(value: Any) -> str:
    """What a plain value is, for a message."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    if isinstance(value, (int, float)):
        return "a number"
    return "a string" if isinstance(value, str) else "a list" if isinstance(value, list) else "an object"


def wrong_type(path: str, expected: str, found: Any) -> SessionError:
    """The error of a plain value that is of the wrong type."""
    return SessionError(path, f"must be {expected}, but is {kind(found)}")


def as_double(value: float, path: str) -> float:
    """The number, unless a double could round it."""
    if isinstance(value, int) and abs(value) > _LARGEST_EXACT:
        raise SessionError(
            path, f"the integer {value} is beyond ±2^53 and would be rounded; send it as a string"
        )
    return float(value)


def set_fields(target: struct_pb2.Struct, fields: Mapping[str, Any], path: str, level: int = 1) -> None:
    """Sets the fields of a free object."""
    for key, value in fields.items():
        set_value(target.fields[key], value, key_path(path, key), level)


def set_value(target: struct_pb2.Value, value: Any, path: str, level: int = 1) -> None:
    """Sets a value that stands directly in a list or object of this level."""
    value = plain(value, path)
    if level == _MAX_DEPTH and isinstance(value, (list, dict)):
        raise SessionError(path, f"is nested deeper than {_MAX_DEPTH} levels")
    if value is None:
        target.null_value = struct_pb2.NULL_VALUE
    elif isinstance(value, bool):
        target.bool_value = value
    elif isinstance(value, (int, float)):
        target.number_value = as_double(value, path)
    elif isinstance(value, str):
        target.string_value = value
    elif isinstance(value, list):
        # An empty list is a list, too.
        target.list_value.SetInParent()
        for index, element in enumerate(value):
            set_value(target.list_value.values.add(), element, f"{path}[{index}]", level + 1)
    else:
        target.struct_value.SetInParent()
        set_fields(target.struct_value, value, path, level + 1)
