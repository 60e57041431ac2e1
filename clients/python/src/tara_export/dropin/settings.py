"""The address of the server, and the folders on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Optional

from ..client import Client
from ..retry import Policy
from ..tokens import Token, TokenFile
from .queue import QueueLimits

_DEFAULT_SERVER = "127.0.0.1:8080"
#: Short, because the caller waits for the result and the request is queued.
_POLICY = Policy(progress_timeout_seconds=20, idle_timeout_seconds=30, max_delay_seconds=4)


@dataclass(frozen=True)
class Settings:
    """The settings of the drop-in."""

    #: `host:port` or a URL.
    server: str
    queue_dir: Path
    #: The folder for copies of bundles that are not in S3.
    download_dir: Path
    #: The maximum total size of the copies.
    max_download_bytes: int = 8 * 1024**3
    queue_limits: QueueLimits = QueueLimits()
    policy: Policy = _POLICY
    #: After this time without progress the call returns; the server continues an accepted export.
    stall_timeout_seconds: float = 120
    #: The token, or a function that returns it.
    token: Optional[Token] = field(default=None, repr=False)
    #: Certificates, PEM: the authorities, and the client certificate with its key.
    tls_ca_file: Optional[str] = None
    tls_client_cert_file: Optional[str] = None
    tls_client_key_file: Optional[str] = None
    #: Whether the token is sent without TLS to other machines.
    allow_insecure_token: bool = False

    @classmethod
    def from_environment(cls) -> Settings:
        """From the variables whose names start with TARA_EXPORT_; the README lists them."""
        return cls(
            server=os.environ.get("TARA_EXPORT_SERVER") or _DEFAULT_SERVER,
            queue_dir=_folder("TARA_EXPORT_QUEUE_DIR", "queue"),
            download_dir=_folder("TARA_EXPORT_DOWNLOAD_DIR", "downloads"),
            token=_token(),
            tls_ca_file=os.environ.get("TARA_EXPORT_TLS_CA_FILE") or None,
            tls_client_cert_file=os.environ.get("TARA_EXPORT_TLS_CLIENT_CERT_FILE") or None,
            tls_client_key_file=os.environ.get("TARA_EXPORT_TLS_CLIENT_KEY_FILE") or None,
            allow_insecure_token=_is_true("TARA_EXPORT_ALLOW_INSECURE_TOKEN"),
        )

    def connect(self) -> Client:
        """Creates a client. Raises ValueError and OSError, see `Client`."""
        return Client(
            self.server,
            self.policy,
            token=self.token,
            tls_ca_file=self.tls_ca_file,
            tls_client_cert_file=self.tls_client_cert_file,
            tls_client_key_file=self.tls_client_key_file,
            allow_insecure_token=self.allow_insecure_token,
        )


def _token() -> Optional[Token]:
    file = os.environ.get("TARA_EXPORT_TOKEN_FILE")
    if file:
        # The process may change its working directory later.
        return TokenFile(Path(file).expanduser().absolute())
    return os.environ.get("TARA_EXPORT_TOKEN", "").strip() or None


def _is_true(variable: str) -> bool:
    """Whether the variable is true. Another text than in the server's settings is false, which is safer."""
    return os.environ.get(variable, "").strip().lower() in ("true", "1", "yes")


def _folder(variable: str, name: str) -> Path:
    value = os.environ.get(variable)
    # The process may change its working directory later.
    return Path(value).expanduser().absolute() if value else _state_folder() / name


def _state_folder() -> Path:
    """The user's state folder (XDG Base Directory Specification). A cache folder may be emptied."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "tara-export"
    try:
        return Path.home() / ".local/state/tara-export"
    except RuntimeError:
        # A user without a home, as in some containers.
        return Path("/var/lib/tara-export")
