"""Connections over HTTP/1.1 to an address, which can be a Unix socket."""

from __future__ import annotations

import socket
from typing import Any

import urllib3

from .address import Address
from .tls import TlsFiles

READ_BYTES = 64 * 1024


def pool_of(address: Address, tls: TlsFiles) -> urllib3.HTTPConnectionPool:
    """Creates a pool of connections to the server."""
    # The caller makes the retries, because not all calls are safe to repeat.
    options: dict[str, Any] = {"retries": False, "blocksize": READ_BYTES, "maxsize": 10}
    if address.is_tls:
        options["ssl_context"] = tls.context()
    if not address.socket_path:
        kind: Any = urllib3.HTTPSConnectionPool if address.is_tls else urllib3.HTTPConnectionPool
    else:
        kind = _UnixTlsPool if address.is_tls else _UnixPool
        options["socket_path"] = address.socket_path
    pool: urllib3.HTTPConnectionPool = kind(address.host, address.port or None, **options)
    return pool


class _UnixConnection(urllib3.connection.HTTPConnection):
    """A connection to a Unix socket."""

    def __init__(self, *arguments: Any, socket_path: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._socket_path = socket_path

    def _new_conn(self) -> socket.socket:
        return _unix_socket(self._socket_path, self.timeout, self)


class _UnixTlsConnection(urllib3.connection.HTTPSConnection):
    """A connection to a Unix socket, with TLS."""

    def __init__(self, *arguments: Any, socket_path: str, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._socket_path = socket_path

    def _new_conn(self) -> socket.socket:
        return _unix_socket(self._socket_path, self.timeout, self)


def _unix_socket(path: str, timeout_seconds: Any, connection: Any) -> socket.socket:
    opened = socket.socket(socket.AF_UNIX)
    try:
        opened.settimeout(timeout_seconds)
        opened.connect(path)
    except OSError as error:
        opened.close()
        raise urllib3.exceptions.NewConnectionError(
            connection, f"cannot connect to {path.replace(chr(0), '@')}: {error}"
        ) from error
    return opened


class _UnixPool(urllib3.HTTPConnectionPool):
    ConnectionCls = _UnixConnection


class _UnixTlsPool(urllib3.HTTPSConnectionPool):
    ConnectionCls = _UnixTlsConnection
