"""One step of a conversion: a Python object becomes a JSON type, whose elements are not converted yet.

numpy and pandas are never imported: if a value is one of theirs, the application has imported them.
"""

from __future__ import annotations

import base64
import collections
import dataclasses
import datetime
import enum
import ipaddress
import json
import math
import numbers
import os
import sys
import types
import uuid
from collections.abc import ItemsView, Iterator, KeysView, Mapping, Set, ValuesView
from typing import Any, Callable

from google.protobuf import json_format, message

from .errors import SessionError
from .replacements import Reason

#: Limit of a list's elements, and of all values of a review. A large review has about ten thousand.
MAX_VALUES = 1_000_000
#: Longest text of an object of an unknown type.
_MAX_UNKNOWN_CHARACTERS = 1_000
#: Called with the reason if the value is replaced.
Note = Callable[[Reason], None]


class Pairs(list[tuple[Any, Any]]):
    """The entries of an object. Keys are not converted yet."""


def plain(value: Any, note: Note) -> Any:
    """Converts to None, bool, int, a finite float, a valid str, a list or Pairs."""
    # Nearly all values of a review have one of these types, for which the other checks are slow.
    kind = type(value)
    if kind is str:
        return text(value, note)
    if kind is dict:
        return Pairs(value.items())
    if value is None or kind is bool or kind is int or (kind is float and math.isfinite(value)):
        return value
    if kind is list and len(value) <= MAX_VALUES:
        return list(value)
    try:
        return _plain(value, note)
    except (SessionError, MemoryError):
        raise
    except Exception:
        # Code of the application's object failed.
        note(Reason.UNKNOWN_TYPE)
        return _description(value)


def _plain(value: Any, note: Note) -> Any:
    if value is None or isinstance(value, (bool, Pairs)):
        return value
    if isinstance(value, type):
        return _unknown(value, note)
    if isinstance(value, enum.Enum):
        return _plain(value.value, note)
    if isinstance(value, (str, collections.UserString)):
        return text(str(value) if isinstance(value, collections.UserString) else value, note)
    for convert in (_numpy, _pandas):
        converted = convert(value, note)
        if converted is not NotImplemented:
            return converted
    if isinstance(value, numbers.Number):
        return _number(value, note)
    # `datetime` is a `date`.
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, _TEXTUAL):
        return str(value)
    if isinstance(value, os.PathLike):
        return text(os.fsdecode(value), note)
    if isinstance(value, (bytes, bytearray, memoryview)):
        note(Reason.BYTES)
        return base64.b64encode(bytes(value)).decode()
    fields = _fields(value)
    if fields is not NotImplemented:
        return fields if not isinstance(fields, dict) else Pairs(fields.items())
    if isinstance(value, Mapping):
        return Pairs(value.items())
    if _has(value, "keys", "__getitem__"):
        return Pairs((key, value[key]) for key in value.keys())  # noqa: SIM118
    return _collection(value, note)


_TEXTUAL = (
    uuid.UUID,
    datetime.timedelta,
    ipaddress.IPv4Address,
    ipaddress.IPv6Address,
    ipaddress.IPv4Network,
    ipaddress.IPv6Network,
    ipaddress.IPv4Interface,
    ipaddress.IPv6Interface,
)


def text(value: str, note: Note) -> str:
    """Replaces each unpaired surrogate by U+FFFD."""
    # A subclass could override the conversion.
    value = str.__str__(value)
    try:
        value.encode()
        return value
    except UnicodeEncodeError:
        valid = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        # Two halves that follow each other are one character.
        if valid.count("\ufffd") > value.count("\ufffd"):
            note(Reason.NOT_UNICODE)
        return valid


def _number(value: Any, note: Note) -> Any:
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Rational) or not isinstance(value, numbers.Real):
        # Fraction, Decimal, complex: a double could round them.
        return str(value)
    double = float(value)
    if math.isnan(value) or value in (math.inf, -math.inf):
        note(Reason.NOT_FINITE)
        return "NaN" if double != double else "Infinity" if double > 0 else "-Infinity"
    if double != value:
        note(Reason.NOT_EXACT)
        return str(value)
    return double


def _fields(value: Any) -> Any:
    """The fields of an object with declared ones: a dict, or another value for a model of one."""
    kind = type(value)
    if _has(value, "model_dump"):
        return value.model_dump()
    if hasattr(kind, "__fields__") and _has(value, "dict"):
        # pydantic 1
        return value.dict()
    if isinstance(value, message.Message):
        return json_format.MessageToDict(value, preserving_proto_field_name=True)
    if dataclasses.is_dataclass(value):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if hasattr(kind, "__attrs_attrs__"):
        return {field.name: getattr(value, field.name) for field in kind.__attrs_attrs__}
    if hasattr(kind, "__struct_fields__"):
        # msgspec
        return {name: getattr(value, name) for name in kind.__struct_fields__}
    if isinstance(value, types.SimpleNamespace):
        return dict(vars(value))
    return NotImplemented


def _collection(value: Any, note: Note) -> Any:
    if isinstance(value, Iterator) or not _has(value, "__iter__"):
        return _unknown(value, note)
    if not _has(value, "__len__"):
        # Its end is unknown, and it may give pairs of names and values.
        return _unknown(value, note)
    if len(value) > MAX_VALUES:
        raise SessionError("the review", f"a {type(value).__name__} has more than {MAX_VALUES} elements")
    if isinstance(value, (KeysView, ItemsView, ValuesView)):
        return list(value)
    if isinstance(value, Set):
        # Sets are unordered, but the same review must create the same request.
        return sorted(value, key=repr)
    if _has(value, "tolist", "dtype"):
        # An array or tensor.
        return value.tolist()
    return list(value)


def _unknown(value: Any, note: Note) -> Any:
    note(Reason.UNKNOWN_TYPE)
    attributes = {} if isinstance(value, type) else getattr(value, "__dict__", {})
    public = {name: element for name, element in attributes.items() if not name.startswith("_")}
    return Pairs(public.items()) if public else _description(value)


def _description(value: Any) -> str:
    try:
        description = str(value)
    except Exception:
        description = f"<{type(value).__qualname__}>"
    return text(description[:_MAX_UNKNOWN_CHARACTERS], lambda _: None)


def _has(value: Any, *methods: str) -> bool:
    return all(callable(getattr(type(value), method, None)) or method == "dtype" for method in methods) and (
        "dtype" not in methods or hasattr(value, "dtype")
    )


def _numpy(value: Any, note: Note) -> Any:
    numpy = sys.modules.get("numpy")
    if numpy is None or not isinstance(value, (numpy.generic, numpy.ndarray)):
        return NotImplemented
    if value is numpy.ma.masked:
        return None
    if isinstance(value, numpy.ndarray):
        # A matrix gives matrices; a masked array is not converted, to keep its mask.
        if isinstance(value, numpy.matrix):
            value = numpy.asarray(value)
        if value.ndim == 0:
            return _plain(value[()], note)
        if value.size > MAX_VALUES:
            raise SessionError("the review", f"an array has more than {MAX_VALUES} elements")
        # `tolist` would convert times to integers.
        return list(value)
    if isinstance(value, numpy.bool_):
        return bool(value)
    if isinstance(value, (numpy.datetime64, numpy.timedelta64)):
        return None if numpy.isnat(value) else str(value)
    if isinstance(value, numpy.void) and value.dtype.names:
        return Pairs((name, value[name]) for name in value.dtype.names)
    if isinstance(value, numpy.void):
        return _plain(value.tobytes(), note)
    if isinstance(value, numpy.object_):
        return _plain(value.item(), note)
    return NotImplemented


def _pandas(value: Any, note: Note) -> Any:
    pandas = sys.modules.get("pandas")
    if pandas is None:
        return NotImplemented
    if value is pandas.NaT or value is pandas.NA:
        return None
    if isinstance(value, (pandas.Series, pandas.DataFrame)):
        if value.size > MAX_VALUES:
            raise SessionError("the review", f"a {type(value).__name__} has more than {MAX_VALUES} elements")
        rows = _elements(value) if isinstance(value, pandas.Series) else _records(value)
        index = value.index
        is_default = isinstance(index, pandas.RangeIndex) and (index.start, index.step) == (0, 1)
        return rows if is_default else Pairs(zip(list(index), rows))
    if isinstance(value, (pandas.Period, pandas.Interval)):
        return str(value)
    if isinstance(value, (pandas.Index, pandas.api.extensions.ExtensionArray)):
        return list(value)
    return NotImplemented


def _records(frame: Any) -> list[Pairs]:
    # Column by column, because rows would have one common type.
    columns = [_elements(frame.iloc[:, position]) for position in range(frame.shape[1])]
    return [Pairs(zip(frame.columns, row)) for row in zip(*columns)]


def _elements(series: Any) -> list[Any]:
    if series.dtype.kind in "fc":
        return list(series)
    # Other types represent a missing value by NaN too.
    return [None if is_missing else element for element, is_missing in zip(list(series), series.isna())]


def key_text(key: Any, note: Note) -> str:
    """Converts a key."""
    if isinstance(key, str) and not isinstance(key, enum.Enum):
        return text(key, note)
    quiet: Note = lambda _: None  # noqa: E731
    converted = plain(key, quiet)
    if not isinstance(converted, str) or not isinstance(key, str):
        note(Reason.KEY_NOT_TEXT)
    if isinstance(converted, str):
        return converted
    if converted is None or isinstance(converted, (bool, int, float)):
        # The json module writes such keys in the same way.
        return json.dumps(converted)
    if isinstance(key, (tuple, Set)):
        # Without numpy's own notation of its numbers, and with the elements of a set in order.
        elements = [plain(element, quiet) for element in converted]
        return _description(tuple(elements) if isinstance(key, tuple) else elements)
    return _description(key)
