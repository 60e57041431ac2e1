"""Converts Python objects to values of a request, and lists what it replaces."""

from __future__ import annotations

import json
from typing import Any, Union

from google.protobuf import struct_pb2

from .errors import SessionError
from .plain import MAX_VALUES, Pairs, key_text, plain
from .replacements import Reason, Replacements, key_path

#: A double represents every integer up to this one.
_LARGEST_EXACT = 2**53
#: Maximum nesting depth of free-form fields. Deeper lists and objects become JSON text.
_MAX_DEPTH = 30
#: Maximum nesting depth that is converted. Deeper lists and objects become null.
_MAX_TEXT_DEPTH = 100

#: A JSON value of valid texts and finite numbers.
Json = Union[None, bool, int, float, str, list[Any], dict[str, Any]]


class Converter:
    """Converts the values of one review."""

    def __init__(self) -> None:
        self.replacements = Replacements()
        self._count = 0
        #: The lists and objects above the current value, by identity.
        self._open: set[int] = set()

    def json(self, value: Any, path: str, level: int = 1) -> Json:
        """Converts the value with all its elements. `level` is the nesting depth of a list or object."""
        self._count += 1
        if self._count > MAX_VALUES:
            raise SessionError(path, f"the review has more than {MAX_VALUES} values")
        converted = plain(value, lambda reason: self.replacements.add(path, reason))
        if not isinstance(converted, list):
            return converted  # type: ignore[no-any-return]
        if id(value) in self._open:
            self.replacements.add(path, Reason.CIRCULAR)
            return None
        if level > _MAX_TEXT_DEPTH:
            self.replacements.add(path, Reason.TOO_DEEP)
            return None
        self._open.add(id(value))
        try:
            if isinstance(converted, Pairs):
                return self._object(converted, path, level)
            return [
                self.json(element, f"{path}[{index}]", level + 1) for index, element in enumerate(converted)
            ]
        finally:
            self._open.remove(id(value))

    def _object(self, entries: Pairs, path: str, level: int) -> dict[str, Any]:
        named = self.names(entries, path)
        return {
            name: self.json(element, key_path(path, name), level + 1)
            for name, (_, element) in zip(named, entries)
        }

    def names(self, entries: Pairs, path: str) -> list[str]:
        """The unique names of the entries, in their order."""
        # The number of the last key with this text.
        names: dict[str, int] = {}
        for key, _ in entries:
            if type(key) is str and key.isascii() and key not in names:
                # Nearly every key.
                names[key] = 1
                continue
            reasons: list[Reason] = []
            text = name = key_text(key, reasons.append)
            if name in names:
                reasons = [Reason.DUPLICATE_KEY]
            while name in names:
                names[text] += 1
                name = f"{text} ({names[text]})"
            names[name] = 1
            for reason in reasons[:1]:
                self.replacements.add(key_path(path, name), reason)
        return list(names)

    def double(self, value: float, path: str) -> Union[float, str]:
        """Returns the number as a double, or as a text if a double could round it."""
        if isinstance(value, int) and abs(value) > _LARGEST_EXACT:
            self.replacements.add(path, Reason.NOT_EXACT)
            return digits(value)
        return float(value)

    def set_fields(
        self, target: struct_pb2.Struct, fields: dict[str, Any], path: str, level: int = 1
    ) -> None:
        """Sets the fields of a free-form object from JSON."""
        for key, value in fields.items():
            self.set_value(target.fields[key], value, key_path(path, key), level + 1)

    def set_value(self, target: struct_pb2.Value, value: Json, path: str, level: int = 2) -> None:
        """Sets a free-form value from JSON. `level` is the nesting depth if it is a list or object."""
        if level > _MAX_DEPTH and isinstance(value, (list, dict)):
            self.replacements.add(path, Reason.TOO_DEEP)
            value = json_text(value)
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            value = self.double(value, path)
        if value is None:
            target.null_value = struct_pb2.NULL_VALUE
        elif isinstance(value, bool):
            target.bool_value = value
        elif isinstance(value, float):
            target.number_value = value
        elif isinstance(value, str):
            target.string_value = value
        elif isinstance(value, list):
            # Sets the kind even if the list is empty.
            target.list_value.SetInParent()
            for index, element in enumerate(value):
                self.set_value(target.list_value.values.add(), element, f"{path}[{index}]", level + 1)
        elif isinstance(value, dict):
            target.struct_value.SetInParent()
            self.set_fields(target.struct_value, value, path, level)


def digits(value: int) -> str:
    """The decimal digits of an integer of any size. `str` has a limit of 4300 digits."""
    if value < 0:
        return "-" + digits(-value)
    chunks = []
    base = 10**1000
    while value >= base:
        value, rest = divmod(value, base)
        chunks.append(f"{rest:01000}")
    return "".join([str(value), *reversed(chunks)])


def json_text(value: Json) -> str:
    """Writes JSON without spaces. Integral numbers have no fraction, as in a bundle."""
    return json.dumps(_integral(value), ensure_ascii=False, separators=(",", ":"))


def _integral(value: Any) -> Any:
    if isinstance(value, list):
        return [_integral(element) for element in value]
    if isinstance(value, dict):
        return {key: _integral(element) for key, element in value.items()}
    if isinstance(value, float) and value.is_integer() and abs(value) <= _LARGEST_EXACT:
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) > 10**4000:
        return digits(value)
    return value
