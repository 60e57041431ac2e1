"""The address of the server, and the folders on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..retry import Policy
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

    @classmethod
    def from_environment(cls) -> Settings:
        """From TARA_EXPORT_SERVER, TARA_EXPORT_QUEUE_DIR and TARA_EXPORT_DOWNLOAD_DIR."""
        return cls(
            server=os.environ.get("TARA_EXPORT_SERVER") or _DEFAULT_SERVER,
            queue_dir=_folder("TARA_EXPORT_QUEUE_DIR", "queue"),
            download_dir=_folder("TARA_EXPORT_DOWNLOAD_DIR", "downloads"),
        )


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
