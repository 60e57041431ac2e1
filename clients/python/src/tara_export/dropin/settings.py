"""Where the server is, and where files go on this machine."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from ..patience import Patience
from .queue import QueueLimits

_DEFAULT_SERVER = "127.0.0.1:8080"
#: Somebody waits for the answer, and what can't be sent is queued.
_PATIENCE = Patience(limit_seconds=20, silence_seconds=30, max_delay_seconds=4)


@dataclass(frozen=True)
class Settings:
    """What the drop-in is told from outside."""

    #: `host:port` or a URL.
    server: str
    queue_dir: Path
    #: Where copies go of bundles that are not in S3.
    download_dir: Path
    #: How much there may be of them.
    max_download_bytes: int = 8 * 1024**3
    queue_limits: QueueLimits = QueueLimits()
    patience: Patience = _PATIENCE
    #: After so long without progress an accepted export is left to the server, and asked for later.
    stalled_seconds: float = 120

    @classmethod
    def from_environment(cls) -> Settings:
        """From TARA_EXPORT_SERVER, TARA_EXPORT_QUEUE_DIR and TARA_EXPORT_DOWNLOAD_DIR."""
        return cls(
            server=os.environ.get("TARA_EXPORT_SERVER") or _DEFAULT_SERVER,
            queue_dir=_folder("TARA_EXPORT_QUEUE_DIR", "queue"),
            download_dir=_folder("TARA_EXPORT_DOWNLOAD_DIR", "downloads"),
        )


def _folder(variable: str, name: str) -> Path:
    chosen = os.environ.get(variable)
    # The process may change its folder later.
    return Path(chosen).expanduser().absolute() if chosen else _state_folder() / name


def _state_folder() -> Path:
    """The user's state folder (XDG Base Directory Specification): not for a cache, which may be emptied."""
    base = os.environ.get("XDG_STATE_HOME", "")
    if os.path.isabs(base):
        return Path(base) / "tara-export"
    try:
        return Path.home() / ".local/state/tara-export"
    except RuntimeError:
        # A user without a home, as in some containers.
        return Path("/var/lib/tara-export")
