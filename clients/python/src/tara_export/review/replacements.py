"""The list of the values that were replaced, with the limits of `Review.replacements`."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Iterable

from tara.export.v1 import review_pb2

#: Three entries remain for the names of documents.
_MAX_ENTRIES = 997
#: Limit of all paths and reasons in a request, and of one of them.
_MAX_BYTES = 128 * 1024
_MAX_TEXT_BYTES = 1024
#: Space for the last entry, which counts the values that are not listed, and for the names of documents.
_RESERVED_BYTES = 256


class Reason(enum.Enum):
    """The reason for a replacement, with a description for people."""

    NOT_UNICODE = "contains half of a surrogate pair, which is not a character: exported as U+FFFD"
    NOT_FINITE = "is not a finite number: exported as a text"
    NOT_EXACT = "is a number that would be rounded: exported as a text"
    KEY_NOT_TEXT = "has a key that is not a text: exported as the key's text"
    DUPLICATE_KEY = "has a key that occurs twice in its object: exported under another key"
    TOO_DEEP = "is nested too deep: exported as JSON text, or as null beyond 100 levels"
    CIRCULAR = "contains itself: exported as null"
    BYTES = "is bytes: exported as base64"
    WRONG_TYPE = "is not of the expected type: exported in another form"
    UNKNOWN_TYPE = "is of an unknown type: exported as its attributes or its text"


class Replacements:
    """Collects replacements. Paths are those of the session."""

    def __init__(self) -> None:
        self._entries: list[tuple[str, Reason]] = []
        self._bytes = 0
        self._unlisted = 0

    def add(self, path: str, reason: Reason) -> None:
        """Adds a replacement, or only counts it if the list is full."""
        path = _cut(path)
        # A review's field is at most 9 bytes longer than the session's attribute.
        size = len(path.encode()) + 16 + len(reason.name)
        is_full = len(self._entries) == _MAX_ENTRIES - 1 or self._bytes + size > _MAX_BYTES - _RESERVED_BYTES
        if self._unlisted or is_full:
            self._unlisted += 1
            return
        self._entries.append((path, reason))
        self._bytes += size

    def messages(self, fields: dict[str, str]) -> Iterable[review_pb2.Replacement]:
        """The entries of the review. `fields` has the review's field for each of the session's attributes."""
        for path, reason in self._entries:
            attribute = re.match(r"\w*", path, re.ASCII)
            assert attribute is not None
            field = fields.get(attribute[0], attribute[0])
            yield review_pb2.Replacement(path=_cut(field + path[attribute.end() :]), reason=reason.name)
        if self._unlisted:
            yield review_pb2.Replacement(path="review", reason=self._more())

    def warnings(self) -> list[str]:
        """Human-readable descriptions, with the paths of the session."""
        listed = [f"{path}: {reason.value}" for path, reason in self._entries]
        return [*listed, f"review: {self._more()}"] if self._unlisted else listed

    def _more(self) -> str:
        return f"{self._unlisted} more values were replaced and are not listed"


def key_path(path: str, key: str) -> str:
    """The path of the value under `key`."""
    if key.isascii() and key.isidentifier():
        return f"{path}.{key}" if path else key
    return f"{path}[{json.dumps(key, ensure_ascii=False)}]"


def _cut(text: str) -> str:
    encoded = text.encode()
    if len(encoded) <= _MAX_TEXT_BYTES:
        return text
    return encoded[: _MAX_TEXT_BYTES - 3].decode(errors="ignore") + "…"
