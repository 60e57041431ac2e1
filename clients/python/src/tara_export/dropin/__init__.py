"""A drop-in replacement for the review application's S3ExportManager that uses a tara-export server.

outgoing.py, sending.py   a request with its documents, and sending it
queue.py, disk.py         queued requests on disk
backlog.py                sends the queued requests
first.py, spool.py        sends a new request while it is written to the queue
kept_connection.py        the connection that a manager keeps
results.py, location.py, connection.py, local_copy.py   build the dictionaries for the application
manager.py                the class that the application calls
"""

from ..review import SessionError
from .manager import S3ExportManager
from .queue import QueueLimits
from .settings import Settings

__all__ = ["QueueLimits", "S3ExportManager", "SessionError", "Settings"]
