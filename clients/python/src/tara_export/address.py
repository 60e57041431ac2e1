"""The server's address: a URL, host:port, or a name of gRPC. No IO."""

from __future__ import annotations

import ipaddress
import re
import urllib.parse
from dataclasses import dataclass
from typing import Optional

#: The resolvers of gRPC. `unix` and `dns` also work with gRPC-Web.
_RESOLVERS = ("dns", "ipv4", "ipv6", "unix", "unix-abstract", "vsock", "xds", "google-c2p")
_DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Address:
    """A parsed address."""

    #: The target of a gRPC channel.
    target: str
    #: The URL of calls over gRPC-Web, without a slash at its end; empty if that is not possible.
    url: str
    #: Whether calls use TLS.
    is_tls: bool
    #: The host without brackets; empty if it is not known.
    host: str = ""
    port: int = 0
    #: The path of a Unix socket; `\0` and a name in the abstract namespace.
    socket_path: str = ""
    #: False if there are further addresses, which can be other machines.
    is_one: bool = True

    @property
    def is_local(self) -> bool:
        """Whether only this machine can read the calls: a loopback host or a Unix socket."""
        return self.is_one and (bool(self.socket_path) or is_loopback(self.host))

    @property
    def shown(self) -> str:
        """The address for messages."""
        return self.url if self.port else self.target


def parse_address(server: str, *, tls: Optional[bool] = None, has_certificates: bool = False) -> Address:
    """Parses an address.

    `tls` is for addresses without http:// and https://. Names of gRPC use TLS if there are certificates.
    Raises ValueError.
    """
    if not isinstance(server, str) or not server or any(c.isspace() or not c.isprintable() for c in server):
        raise ValueError(f"server must be host:port, a URL or a name of gRPC, not {server!r}")
    resolver, colon, rest = server.partition(":")
    if colon and resolver in _RESOLVERS and not rest.isdigit():
        return _named(server, resolver, rest, has_certificates if tls is None else tls)
    address = _of_url(server, tls)
    if has_certificates and not address.is_tls:
        raise ValueError(f"certificates need TLS: use https:// instead of {server!r}")
    return address


def _of_url(server: str, tls: Optional[bool]) -> Address:
    has_scheme = "://" in server
    text = server if has_scheme else f"{'https' if tls else 'http'}://{server}"
    # Never in a message: it can have a password.
    if "@" in text:
        raise ValueError("server must have no user and password: pass a token instead")
    try:
        url = urllib.parse.urlsplit(text)
        host, port = url.hostname, url.port
    except ValueError as error:
        raise ValueError(f"server {server!r} is not valid: {error}") from None
    if url.scheme not in _DEFAULT_PORTS or not host:
        raise ValueError(f"server must be host:port, an http or https URL, or a name of gRPC, not {server!r}")
    if url.netloc.count(":") > 1 and not url.netloc.startswith("["):
        raise ValueError(f"server {server!r} is not valid: write an IPv6 address in brackets, [::1]:8080")
    if url.query or url.fragment or (url.path not in ("", "/") and not has_scheme):
        raise ValueError(f"server must have no query and no fragment: {server!r}")
    is_tls = url.scheme == "https"
    if has_scheme and tls is not None and tls != is_tls:
        raise ValueError(f"tls={tls} contradicts the scheme of {server!r}")
    port = port or _DEFAULT_PORTS[url.scheme]
    bracketed = f"[{host}]" if ":" in host else host
    # Without a port, grpcio would use 443 for both schemes.
    target = f"{bracketed}:{port}"
    return Address(target, f"{url.scheme}://{target}{url.path.rstrip('/')}", is_tls, host, port)


def _named(server: str, resolver: str, rest: str, is_tls: bool) -> Address:
    scheme = "https" if is_tls else "http"
    if resolver in ("unix", "unix-abstract"):
        path = rest[2:] if rest.startswith("///") else rest
        if not path or path.startswith("//"):
            raise ValueError(f"server must be unix:PATH or unix:///PATH, not {server!r}")
        if resolver == "unix-abstract":
            path = f"\0{path}"
        return Address(server, f"{scheme}://localhost", is_tls, "localhost", 0, path)
    if resolver in ("dns", "ipv4", "ipv6"):
        # dns:[//name server/]host[:port]; several addresses of ipv4 and ipv6 are separated by commas.
        name = re.sub("^//[^/]*/", "", rest).split(",")[0]
        try:
            url = urllib.parse.urlsplit(f"{scheme}://{name}")
            host, port = url.hostname or "", url.port or 443
        except ValueError as error:
            raise ValueError(f"server {server!r} is not valid: {error}") from None
        if not host or url.path or url.query or url.fragment or "@" in name:
            raise ValueError(f"server {server!r} is not valid: expected {resolver}:///host:port")
        bracketed = f"[{host}]" if ":" in host else host
        # Only gRPC can ask another name server.
        has_name_server = rest.startswith("//") and not rest.startswith("///")
        url_text = "" if has_name_server else f"{scheme}://{bracketed}:{port}"
        return Address(server, url_text, is_tls, host, port, is_one="," not in rest)
    return Address(server, "", is_tls)


def is_loopback(host: str) -> bool:
    """Whether the host is this machine: `localhost`, its subdomains, 127.0.0.0/8 or ::1."""
    name = host.lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
