"""`python -m tara_export.dropin`: sends or lists the queued requests."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from ..errors import printable
from .backlog import Backlog
from .queue import Queue
from .settings import Settings


def main() -> int:
    """Returns 0 if the queue is empty, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tara_export.dropin", description=__doc__)
    parser.add_argument("command", choices=("send", "list"), nargs="?", default="send")
    command = parser.parse_args().command
    settings = Settings.from_environment()
    queue = Queue(settings.queue_dir, settings.queue_limits)
    if command == "send":
        for outcome in Backlog(queue, settings).send():
            result = outcome.export.location if outcome.export else outcome.error
            print(f"{outcome.request_id}\t{printable(str(result))}", flush=True)
    else:
        for folder in queue.waiting():
            print(_line(folder, "waiting"))
        for folder in queue.refused():
            print(_line(folder, f"refused: {_value(folder / 'error.json', 'message')}"))
    return 1 if queue.waiting() else 0


def _line(folder: Path, state: str) -> str:
    entry = folder / "entry.json"
    return "\t".join(
        (folder.name, _value(entry, "queued_time"), _value(entry, "document_name"), state, str(folder))
    )


def _value(file: Path, key: str) -> str:
    try:
        return str(json.loads(file.read_bytes())[key])
    except (OSError, ValueError, KeyError):
        # List a damaged entry too.
        return "?"


if __name__ == "__main__":
    sys.exit(main())
