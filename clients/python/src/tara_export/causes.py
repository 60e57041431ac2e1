"""Errors that are no lost connection: finds their cause, and says what to do next."""

from __future__ import annotations

import re
import socket
import ssl
import time
from collections.abc import Mapping
from contextlib import closing
from typing import Optional

import grpc
import urllib3

from .address import Address
from .errors import CallError, Reason, printable
from .tls import TlsFiles
from .web_pool import pool_of

#: The largest message that is sent or received. Servers have lower limits.
MAX_MESSAGE_BYTES = 64 * 1024 * 1024
_CHECK_ADDRESS = "check the server's address, and the proxy in front of the server"
#: The gRPC code of an HTTP status without a gRPC status, from the gRPC specification.
_CODES: Mapping[int, grpc.StatusCode] = {
    400: grpc.StatusCode.INTERNAL,
    401: grpc.StatusCode.UNAUTHENTICATED,
    403: grpc.StatusCode.PERMISSION_DENIED,
    404: grpc.StatusCode.UNIMPLEMENTED,
    429: grpc.StatusCode.UNAVAILABLE,
    502: grpc.StatusCode.UNAVAILABLE,
    503: grpc.StatusCode.UNAVAILABLE,
    504: grpc.StatusCode.UNAVAILABLE,
}
_REFUSES = "a proxy refuses the call: give it the credentials that it needs"
_IS_RUNNING = "check that the server is running, and the address at which the proxy expects it"
_ADVICE: Mapping[int, str] = {
    401: _REFUSES,
    403: _REFUSES,
    407: _REFUSES,
    413: (
        "a proxy limits the size of requests: raise its limit (nginx: client_max_body_size), "
        "or connect without this proxy"
    ),
    429: "send fewer calls at the same time, or raise the limit of the proxy",
    431: "the request's headers are too large: use a shorter token, or raise the limit of the proxy",
    500: "check the log of the proxy",
    502: _IS_RUNNING,
    503: _IS_RUNNING,
    504: (
        "the server did not respond within the timeout of a proxy: check that the server is running, "
        "and raise this timeout (nginx: proxy_read_timeout)"
    ),
}
_HTTP_STATUS = re.compile(r"Received http2 (?::?status|header with status):? ?(\d{3})")
_TOO_LARGE_HEADERS = re.compile(r"received metadata size exceeds|[Mm]etadata size exceeds|header list size")
_TOO_LARGE_MESSAGE = re.compile(r"Received message larger than max|message larger than max")
_COMPRESSION = re.compile(r"decompress|[Cc]ompression algorithm|Compressed flag|compression", re.ASCII)
_NO_CONNECTION = re.compile(
    r"failed to connect|[Hh]andshake|Socket closed|End of TCP stream|Connection reset|Broken pipe|SSL|TLS|"
    r"http1\.x server|recvmsg|[Ee]ndpoint|FD [Ss]hutdown|[Cc]onnection dropped|closed"
)
_RESOLUTION = re.compile(r"DNS|[Nn]ame resolution|resolv|lookup|getaddrinfo")
_REFUSED = re.compile(r"Connection refused|No such file or directory")
_PROBE_SECONDS = 3.0
#: The shortest time between two connections that only find a cause.
_PROBE_INTERVAL_SECONDS = 10.0
_PROBE_PATH = "/tara.export.v1.ExportService/GetExport"
WEB_HEADERS = {
    "content-type": "application/grpc-web+proto",
    "accept": "application/grpc-web+proto",
    "x-grpc-web": "1",
    "x-user-agent": "tara-export-python",
}


def http_error(status: int) -> CallError:
    """The error for an HTTP response without a gRPC status."""
    code = _CODES.get(status, grpc.StatusCode.UNKNOWN)
    advice = _ADVICE.get(
        status, f"{_CHECK_ADDRESS} (redirects are not followed)" if 300 <= status < 400 else ""
    )
    if not advice:
        advice = "check the log of the proxy" if status >= 500 else _CHECK_ADDRESS
    error = CallError.local(
        code, Reason.HTTP_ERROR, f"HTTP status {status} instead of a gRPC response: {advice}"
    )
    error.metadata = {"http_status": str(status)}
    return error


def invalid_response(problem: str) -> CallError:
    """The error for a response that is not gRPC, or that this client cannot read."""
    return CallError.local(grpc.StatusCode.INTERNAL, Reason.INVALID_RESPONSE, f"{problem}: {_CHECK_ADDRESS}")


def message_too_large() -> CallError:
    """The error for a message beyond the limit of this client."""
    return CallError.local(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.RESPONSE_TOO_LARGE,
        f"the server sent a message of more than {MAX_MESSAGE_BYTES // 1024**2} MiB: "
        "request fewer exports per page, or download the file",
    )


def headers_too_large(details: str) -> CallError:
    """The error for response headers beyond the limit of the library."""
    return CallError.local(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.RESPONSE_TOO_LARGE,
        f"the headers of the response exceed the limit of this client ({details}): "
        "check which headers a proxy adds, and request less",
    )


def request_too_large(size_bytes: int) -> CallError:
    """The error for a request beyond the limit of this client."""
    return CallError.local(
        grpc.StatusCode.RESOURCE_EXHAUSTED,
        Reason.REQUEST_TOO_LARGE,
        f"the request has {size_bytes} bytes, and at most {MAX_MESSAGE_BYTES} can be sent: "
        "upload large documents first (upload_file)",
    )


def host_not_found(address: Address) -> CallError:
    """The error for a name that does not exist."""
    return CallError.local(
        grpc.StatusCode.FAILED_PRECONDITION,
        Reason.HOST_NOT_FOUND,
        f"the host {address.host or address.target} does not exist: check the name in the server's address",
    )


def unclear(error: CallError) -> CallError:
    """The error for repeated responses that end without a status."""
    if error.reason or not error.is_ambiguous:
        return error
    return invalid_response(
        f"{error.message} ({error.code.name}): the response is not gRPC, its status is invalid, or it has a "
        "compression that this client does not know"
    )


def tls_failed(address: Address, problem: str) -> CallError:
    """The error for a TLS connection that is not possible."""
    return CallError.local(
        grpc.StatusCode.FAILED_PRECONDITION, Reason.TLS_FAILED, f"{address.shown}: {problem}"
    )


class TlsProbe:
    """Connects to the server to find out why a connection failed, but not for each failure."""

    def __init__(self, address: Address, tls: TlsFiles) -> None:
        self._address, self._tls = address, tls
        self._last_connection = -_PROBE_INTERVAL_SECONDS

    def problem(self) -> Optional[CallError]:
        """Why TLS, or a connection without TLS, is not possible. None if it is, or was checked recently."""
        if time.monotonic() - self._last_connection < _PROBE_INTERVAL_SECONDS:
            return None
        found = tls_problem(self._address, self._tls)
        if found is None:
            self._last_connection = time.monotonic()
        return found


class Explainer:
    """Finds the cause of errors of grpcio. Threads may use it concurrently."""

    def __init__(self, address: Address, tls: TlsFiles) -> None:
        self._address, self._tls = address, tls
        self._tls_probe = TlsProbe(address, tls)
        self._last_request = -_PROBE_INTERVAL_SECONDS
        self._last_problem: Optional[CallError] = None

    def explained(self, error: CallError) -> CallError:
        """Returns the error with its cause if it is local or one of the protocol.

        Connects to the server to check TLS if the connection failed, and makes a request over HTTP/1.1 if the
        response had no status.
        """
        if error.reason:
            return error
        details = error.message
        if found := _HTTP_STATUS.search(details):
            return http_error(int(found[1]))
        if error.code == grpc.StatusCode.RESOURCE_EXHAUSTED:
            if _TOO_LARGE_HEADERS.search(details):
                return headers_too_large(details)
            if _TOO_LARGE_MESSAGE.search(details):
                return message_too_large()
        is_library = error.code in (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNIMPLEMENTED)
        if is_library and _COMPRESSION.search(details):
            return invalid_response(f"the compression of the response is unknown or invalid: {details}")
        if error.code == grpc.StatusCode.UNAVAILABLE:
            return self._connection_error(details) or error
        return (self._http_problem() if error.is_ambiguous else None) or error

    def _connection_error(self, details: str) -> Optional[CallError]:
        if _REFUSED.search(details):
            return None
        if _RESOLUTION.search(details) and not _is_known_host(self._address):
            return host_not_found(self._address)
        return self._tls_probe.problem() if _NO_CONNECTION.search(details) else None

    def _http_problem(self) -> Optional[CallError]:
        """The problem of the last request over HTTP/1.1, or of a new one if the last one is too old."""
        if time.monotonic() - self._last_request >= _PROBE_INTERVAL_SECONDS:
            self._last_request = time.monotonic()
            self._last_problem = _http_problem(self._address, self._tls)
        return self._last_problem


def check_response(status: int, headers: Mapping[str, str]) -> None:
    """Raises CallError if a response over HTTP/1.1 is not gRPC-Web."""
    content_type = headers.get("content-type", "")
    if status == 200 and re.match(r"application/grpc-web(\+proto)?\s*(;|$)", content_type, re.IGNORECASE):
        return
    if status != 200:
        raise http_error(status)
    raise invalid_response(
        f"the response has the content type {printable(content_type) or 'none'} instead of gRPC-Web"
    )


def _http_problem(address: Address, tls: TlsFiles) -> Optional[CallError]:
    """Makes a request without a token over HTTP/1.1. Returns the error for its response if it is not gRPC.

    grpcio often reports a proxy's page of an error only as "Stream removed".
    """
    if not address.url:
        return None
    try:
        with closing(pool_of(address, tls)) as pool:
            response = pool.urlopen(
                "POST",
                _PROBE_PATH,
                body=bytes(5),
                headers=WEB_HEADERS,
                timeout=_PROBE_SECONDS,
                preload_content=False,
                redirect=False,
            )
            with closing(response):
                is_grpc = response.headers.get("content-type", "").startswith("application/grpc")
                if not is_grpc or response.status != 200:
                    check_response(response.status, response.headers)
    except CallError as error:
        return error
    except (urllib3.exceptions.HTTPError, OSError, ValueError):
        # The server has no HTTP/1.1, or is not reachable.
        return None
    return None


def _is_known_host(address: Address) -> bool:
    if not address.host or address.socket_path:
        return True
    try:
        socket.getaddrinfo(address.host, address.port)
    except socket.gaierror as error:
        # Another error can be temporary: the name server did not respond.
        return not is_unknown_host(error)
    except OSError:
        return True
    return True


def is_unknown_host(error: BaseException) -> bool:
    """Whether the name server responded that the name does not exist."""
    unknown = {socket.EAI_NONAME, getattr(socket, "EAI_NODATA", socket.EAI_NONAME)}
    return isinstance(error, socket.gaierror) and error.errno in unknown


def tls_problem(address: Address, tls: TlsFiles) -> Optional[CallError]:
    """Connects to the server. Returns why TLS, or a connection without TLS, is not possible.

    None if it is possible, and if there is no connection.
    """
    try:
        connection = _connected(address)
    except OSError:
        return None
    with connection:
        if not address.is_tls:
            return _problem_without_tls(connection, address)
        try:
            with tls.context().wrap_socket(connection, server_hostname=address.host) as secured:
                # A server that refuses the client's certificate says so after the handshake of TLS 1.3.
                secured.settimeout(_PROBE_SECONDS)
                secured.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0")
                secured.recv(1)
        except (ssl.SSLError, ssl.CertificateError) as error:
            return tls_error(error, address)
        except (OSError, ValueError):
            return None
    return None


def _connected(address: Address) -> socket.socket:
    if address.socket_path:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(_PROBE_SECONDS)
        connection.connect(address.socket_path)
        return connection
    if not address.host or not address.port:
        raise OSError("the address has no host")
    return socket.create_connection((address.host, address.port), _PROBE_SECONDS)


def _problem_without_tls(connection: socket.socket, address: Address) -> Optional[CallError]:
    # It only detects TLS, so the certificate does not matter.
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.wrap_socket(connection, server_hostname=address.host or None).close()
    except ssl.SSLError as error:
        if "ALERT" not in (error.reason or ""):
            return None
    except (OSError, ValueError):
        return None
    return tls_failed(address, "the server uses TLS on this port: use https:// instead of http://")


def tls_error(error: Exception, address: Address) -> Optional[CallError]:
    """The error for an error of the ssl module. None if the connection was lost."""
    reason = getattr(error, "reason", None) or ""
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError)) or "EOF" in reason:
        return None
    if isinstance(error, ssl.SSLCertVerificationError):
        return tls_failed(
            address,
            f"the server's certificate is not accepted: {error.verify_message}; set the certificate of its "
            "authority (tls_ca_file), or use the name that the certificate is for",
        )
    if "WRONG_VERSION_NUMBER" in reason or "RECORD_LAYER" in reason or "HTTP_REQUEST" in reason:
        return tls_failed(
            address,
            "the server does not use TLS on this port: use http:// instead of https://, or another port",
        )
    if "CERTIFICATE_REQUIRED" in reason or "HANDSHAKE_FAILURE" in reason or "BAD_CERTIFICATE" in reason:
        return tls_failed(
            address,
            f"the server does not accept the connection ({reason}): it may require a client certificate "
            "(tls_client_cert_file, tls_client_key_file)",
        )
    return tls_failed(
        address, f"TLS is not possible ({reason or error}): check the certificates of both sides"
    )
