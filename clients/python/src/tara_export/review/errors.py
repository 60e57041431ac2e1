"""The error of a review that cannot be exported."""

from __future__ import annotations


class SessionError(ValueError):
    """A review cannot be exported, because it is too large or a part of it cannot be read."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
