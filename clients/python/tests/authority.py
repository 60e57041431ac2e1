"""A certificate authority of the tests, made with openssl."""

from __future__ import annotations

import subprocess
import uuid
from pathlib import Path


class Authority:
    """Certificates in a folder; the key of each is `NAME.key`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.ca_file = self._file("ca.pem")
        key = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        self._openssl(
            "req", "-x509", *key, "-subj", "/CN=test authority", "-days", "2",
            "-addext", "keyUsage=critical,keyCertSign,cRLSign", "-keyout", self._file("ca.key"),
            "-out", self.ca_file,
        )  # fmt: skip
        self._issue("server", "IP:127.0.0.1,DNS:localhost,DNS:export_server.test")
        self._issue("other name", "DNS:other.example")
        self._issue("expired", "IP:127.0.0.1", is_expired=True)
        self._issue("client", "DNS:client.example")

    def _file(self, name: str) -> str:
        return str(self._folder / name)

    def _issue(self, name: str, names: str, is_expired: bool = False) -> None:
        key = ["-nodes", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        request = self._file(f"{name}.csr")
        self._openssl(
            "req", *key, "-subj", f"/CN={name}", "-keyout", self._file(f"{name}.key"), "-out", request
        )
        extensions = self._folder / f"{name}.ext"
        extensions.write_text(
            f"subjectAltName={names}\nbasicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n"
            "extendedKeyUsage=serverAuth,clientAuth\nauthorityKeyIdentifier=keyid\n"
        )
        days = ["-days", "-1" if is_expired else "2"]
        self._openssl(
            "x509", "-req", "-in", request, "-CA", self.ca_file, "-CAkey", self._file("ca.key"),
            "-set_serial", str(uuid.uuid4().int), "-extfile", str(extensions), *days,
            "-out", self._file(f"{name}.pem"),
        )  # fmt: skip

    @staticmethod
    def _openssl(*arguments: str) -> None:
        subprocess.run(["openssl", *arguments], capture_output=True, check=True, timeout=60)

    @property
    def client_cert_file(self) -> str:
        return self._file("client.pem")

    @property
    def client_key_file(self) -> str:
        return self._file("client.key")

    def server_settings(self, certificate: str = "", is_mutual: bool = False) -> dict[str, str]:
        """The environment of a server with this certificate; with `is_mutual`, callers need one too."""
        name = certificate or "server"
        settings = {"TLS_CERT_FILE": self._file(f"{name}.pem"), "TLS_KEY_FILE": self._file(f"{name}.key")}
        return {**settings, "TLS_CLIENT_CA_FILE": self.ca_file} if is_mutual else settings
