"""Converts the review application's objects to a review.

A value that a request cannot have is replaced by a documented one and listed, so that one value never keeps a
review out of its bundle. clients/README.md has the rules, and clients/python/README.md the table of types.
"""

from .errors import SessionError
from .session import review_from_session

__all__ = ["SessionError", "review_from_session"]
