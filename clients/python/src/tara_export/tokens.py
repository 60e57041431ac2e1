"""The bearer token of calls: a text, or a function that returns one."""

from __future__ import annotations

import asyncio
import inspect
import os
import re
from collections.abc import Awaitable, Generator
from contextlib import closing
from pathlib import Path
from typing import Any, Callable, Optional, Union

import grpc

from .address import Address
from .errors import CallError, TaraExportError

#: A token, or a function that is called before every call.
Token = Union[str, Callable[[], str]]
#: The same for asyncio: the function can be a coroutine function.
AsyncToken = Union[str, Callable[[], Union[str, Awaitable[str]]]]
Metadata = tuple[tuple[str, str], ...]

_MAX_TOKEN_BYTES = 16 * 1024
#: The longest time of a function in asyncio.
_TIMEOUT_SECONDS = 30.0
_VALID = re.compile(r"[\x21-\x7e]+")


class TokenFile:
    """A function that reads the token from a file before every call, so that the file can be replaced.

    Raises OSError if the file cannot be read, and ValueError if it has no valid token.
    """

    def __init__(self, path: Union[str, os.PathLike[str]]) -> None:
        self._path = Path(path)

    def __repr__(self) -> str:
        return f"TokenFile({str(self._path)!r})"

    def __call__(self) -> str:
        """Reads the token."""
        with self._path.open("rb") as file:
            data = file.read(_MAX_TOKEN_BYTES + 2)
        try:
            return header_value(data.decode("ascii").strip())
        except ValueError:
            raise ValueError(f"{self._path} has no valid token: {_RULE}") from None


_RULE = f"a token has 1 to {_MAX_TOKEN_BYTES} visible ASCII characters, without whitespace"


def header_value(token: Any) -> str:
    """Returns the token if it is valid in a header. Raises ValueError or TypeError, without the token."""
    if not isinstance(token, str):
        raise TypeError(f"a token must be a str, not {type(token).__name__}")
    if len(token) > _MAX_TOKEN_BYTES or not _VALID.fullmatch(token):
        raise ValueError(_RULE)
    return token


class Authorization:
    """The metadata of calls. Its text does not contain the token."""

    def __init__(self, token: Optional[AsyncToken], address: Address, allow_insecure_token: bool) -> None:
        """Raises ValueError if the token is invalid, or would be sent without TLS to another machine."""
        self._read = token if callable(token) else None
        self._static = header_value(token) if token is not None and self._read is None else None
        if token is None or address.is_tls or address.is_local or allow_insecure_token:
            return
        raise ValueError(
            f"{address.shown} is another machine, and without TLS everyone on the network can read the "
            "token: use an https:// URL, or allow_insecure_token if another layer encrypts the connection"
        )

    def __repr__(self) -> str:
        kind = "function" if self._read is not None else "text" if self._static is not None else "none"
        return f"Authorization({kind})"

    @property
    def _is_static(self) -> bool:
        return self._read is None

    def metadata(self) -> Metadata:
        """The metadata of the next call. Raises the error of the token's function."""
        if self._read is None:
            return self._metadata_of(self._static)
        try:
            token = self._read()
        except CallError as error:
            # Not an error of this client's server: it is not retried.
            error.is_retryable = False
            raise
        if inspect.isawaitable(token):
            _close(token)
            raise TypeError("an asynchronous function as the token needs tara_export.aio.Client")
        return self._function_metadata(token)

    async def metadata_async(self) -> Metadata:
        """As `metadata`. A function that is not a coroutine function runs in another thread."""
        if self._read is None:
            return self._metadata_of(self._static)
        try:
            if inspect.iscoroutinefunction(self._read) or inspect.iscoroutinefunction(
                getattr(self._read, "__call__", None)  # noqa: B004
            ):
                waiting: Any = self._read()
            else:
                # It may wait for a network or a file.
                waiting = _in_thread(self._read)
            reading = asyncio.ensure_future(waiting)
            try:
                # wait_for would report an own TimeoutError of the function as its timeout.
                await asyncio.wait([reading], timeout=_TIMEOUT_SECONDS)
                if not reading.done():
                    raise TaraExportError(
                        f"the token's function did not return within {_TIMEOUT_SECONDS:g} s"
                    )
                return self._function_metadata(reading.result())
            finally:
                reading.cancel()
        except CallError as error:
            error.is_retryable = False
            raise

    def may_refresh(self, error: CallError) -> bool:
        """Whether another token may help after this error of a call without a response."""
        return not self._is_static and error.code == grpc.StatusCode.UNAUTHENTICATED

    def stream(self, attempt: Callable[[Metadata], Generator[Any, None, None]]) -> Generator[Any, None, None]:
        """Yields the messages of a call, which is attempted again if another token may help."""
        metadata = self.metadata()
        has_response = False
        try:
            with closing(attempt(metadata)) as messages:
                for message in messages:
                    has_response = True
                    yield message
            return
        except CallError as error:
            if has_response or not self.may_refresh(error):
                raise
            refreshed = self.metadata()
            if refreshed == metadata:
                raise
        yield from attempt(refreshed)

    @staticmethod
    def _metadata_of(token: Optional[str]) -> Metadata:
        return () if token is None else (("authorization", f"Bearer {token}"),)

    def _function_metadata(self, token: Any) -> Metadata:
        return self._metadata_of(header_value(token))


async def _in_thread(read: Callable[[], Any]) -> Any:
    token = await asyncio.to_thread(read)
    return await token if inspect.isawaitable(token) else token


def _close(awaitable: Any) -> None:
    # Otherwise Python warns that the coroutine was never awaited.
    close = getattr(awaitable, "close", None)
    if close is not None:
        close()
