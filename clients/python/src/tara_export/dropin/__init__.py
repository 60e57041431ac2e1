"""A drop-in for the review application's own S3ExportManager, on top of a tara-export server.

session.py, values.py     the application's session as a review
outgoing.py, sending.py   a request with its documents, and how it is sent
queue.py, disk.py         requests that wait on disk
backlog.py                sends what waits
answers.py, place.py, connection.py, local_copy.py   what the application gets back
manager.py                what it calls
"""

from .manager import S3ExportManager
from .queue import QueueLimits
from .settings import Settings
from .values import SessionError

__all__ = ["QueueLimits", "S3ExportManager", "SessionError", "Settings"]
