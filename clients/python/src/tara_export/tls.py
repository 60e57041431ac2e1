"""Certificates of TLS connections."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Optional, Union

import grpc

PathLike = Union[str, "os.PathLike[str]"]


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the trusted authorities instead of the system's, and the client certificate with its key."""

    ca: Optional[PathLike] = None
    client_cert: Optional[PathLike] = None
    client_key: Optional[PathLike] = None

    def __bool__(self) -> bool:
        return any(file is not None for file in (self.ca, self.client_cert, self.client_key))

    def check(self) -> None:
        """Raises OSError if a file cannot be read, and ValueError if it cannot be used."""
        if (self.client_cert is None) != (self.client_key is None):
            raise ValueError("a client certificate needs both tls_client_cert_file and tls_client_key_file")
        if self:
            self.context()

    def context(self) -> ssl.SSLContext:
        """A context of the ssl module. Raises OSError and ValueError, see `check`."""
        if self.ca is None:
            context = ssl.create_default_context()
        else:
            try:
                context = ssl.create_default_context(cadata=_pem(self.ca))
            except (ssl.SSLError, ValueError) as error:
                raise ValueError(f"{self.ca} has no valid certificate in PEM: {error}") from None
        if self.client_cert is not None and self.client_key is not None:
            for file in (self.client_cert, self.client_key):
                _pem(file)
            try:
                context.load_cert_chain(self.client_cert, self.client_key, _no_password)
            except (ssl.SSLError, ValueError) as error:
                raise ValueError(
                    f"{self.client_cert} and {self.client_key} are no certificate and key in PEM: {error}"
                ) from None
        return context

    def grpc_credentials(self) -> Any:
        """The credentials of a gRPC channel."""
        return grpc.ssl_channel_credentials(
            root_certificates=_bytes(self.ca),
            private_key=_bytes(self.client_key),
            certificate_chain=_bytes(self.client_cert),
        )


def _no_password() -> str:
    raise ValueError("the key is encrypted: decrypt it first, such as with openssl pkey")


def _bytes(path: Optional[PathLike]) -> Optional[bytes]:
    return None if path is None else Path(path).read_bytes()


def _pem(path: PathLike) -> str:
    # PEM files can have texts in any encoding between the certificates.
    return Path(path).read_bytes().decode("ascii", "ignore")
