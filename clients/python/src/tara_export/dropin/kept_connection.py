"""The connection of a manager, which is kept open for its next call for a short time.

A new connection costs at least one round trip to the server, and with TLS two. gRPC's threads do not survive
a fork of the process, so that kept connections are closed before it.
"""

from __future__ import annotations

import os
import time
import weakref
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ..client import Client
from .settings import Settings

#: A firewall may silently drop a connection that is idle for longer.
_MAX_IDLE_SECONDS = 30.0
#: A later connection reads renewed certificates, and reaches other servers of a load balancer.
_MAX_AGE_SECONDS = 300.0


@dataclass
class _Connection:
    client: Client
    opened: float
    used: float

    @property
    def is_usable(self) -> bool:
        now = time.monotonic()
        return now - self.used < _MAX_IDLE_SECONDS and now - self.opened < _MAX_AGE_SECONDS


class Connections:
    """Connections to one server. At most one is kept while it is not used."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        # Its operations are atomic. A lock could be locked in a forked process.
        self._idle: deque[_Connection] = deque()
        _instances.add(self)
        weakref.finalize(self, _close, self._idle)

    def __reduce__(self) -> Any:
        # In another process there are no connections.
        return Connections, (self._settings,)

    @contextmanager
    def client(self) -> Iterator[Client]:
        """A client that is not used by another thread. After an error it is closed.

        Raises ValueError and OSError, see `Client`.
        """
        connection = self._taken()
        try:
            yield connection.client
        except BaseException:
            connection.client.close()
            raise
        connection.used = time.monotonic()
        if self._idle:
            connection.client.close()
        else:
            self._idle.append(connection)

    def _taken(self) -> _Connection:
        try:
            connection = self._idle.pop()
        except IndexError:
            return self._connected()
        if connection.is_usable:
            return connection
        connection.client.close()
        return self._connected()

    def _connected(self) -> _Connection:
        now = time.monotonic()
        return _Connection(self._settings.connect(), now, now)


_instances: weakref.WeakSet[Connections] = weakref.WeakSet()
#: Connections of a parent process. To close them could wait for threads that do not exist in this one.
_of_parent: list[_Connection] = []


def _close(idle: deque[_Connection]) -> None:
    while idle:
        try:
            connection = idle.pop()
        except IndexError:
            return
        connection.client.close()


def _close_all() -> None:
    for connections in list(_instances):
        _close(connections._idle)


def _forget_all() -> None:
    # Other threads may have kept a connection after `_close_all`.
    for connections in list(_instances):
        _of_parent.extend(connections._idle)
        connections._idle.clear()


os.register_at_fork(before=_close_all, after_in_child=_forget_all)
