"""The limit of a proxy on the size of a request. No IO."""

from __future__ import annotations

from tara.export.v1 import review_pb2, service_pb2

from . import causes

#: The limit that nginx has by default, without the header of the message.
_MAX_REQUEST_BYTES = 1024 * 1024 - 5
#: Three such documents and a review fit into the limit.
_MAX_INLINE_BYTES = 256 * 1024


def is_large(request: service_pb2.StartExportRequest) -> bool:
    """Whether a proxy may refuse the size of the request."""
    return request.ByteSize() > _MAX_INLINE_BYTES


class ProxyLimit:
    """What a connection knows about the limit. Its calls share it, also those of several threads."""

    def __init__(self, is_likely: bool) -> None:
        #: Whether documents are uploaded before a request that would be too large with them.
        self.is_likely = is_likely
        #: Whether a proxy has refused a request (HTTP 413).
        self.is_known = False

    def documents_to_upload(self, request: service_pb2.StartExportRequest) -> list[review_pb2.Document]:
        """The documents to upload before the request, because a proxy may refuse the request with them."""
        if not (self.is_likely or self.is_known):
            return []
        # A request that is too large for every server is reported.
        if not _MAX_REQUEST_BYTES < request.ByteSize() <= causes.MAX_MESSAGE_BYTES:
            return []
        return [document for document in request.documents if len(document.content) > _MAX_INLINE_BYTES]
