"""TLS towards peers: contexts from PEM files, made anew when the files change."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import httpx

from agent.errors import ConfigError
from agent.net.options import Tls

Stamp = tuple[tuple[int, int, int] | None, ...]
_T = TypeVar("_T")
_VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}


class Papers:
    """The certificates of one peer. `where`: configuration path for errors. Raises ConfigError for unusable files."""

    def __init__(self, where: str, tls: Tls) -> None:
        self._where = where
        self._tls = tls
        self._files = [Path(name) for name in (tls.ca_file, tls.cert_file, tls.key_file) if name]

    def stamp(self) -> Stamp:
        """Changes when a file does; None stands for one that is not there."""
        return tuple(_stamp(file) for file in self._files)

    def trust(self) -> ssl.SSLContext:
        """Checks certificates, shows none."""
        context = self._used("ca_file", self._tls.ca_file, self._authorities)
        context.minimum_version = _VERSIONS[self._tls.min_version]
        if self._tls.insecure_skip_verify:
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return context

    def context(self) -> ssl.SSLContext:
        """Checks the peer's certificate and shows the one configured."""
        context, tls = self.trust(), self._tls
        if tls.cert_file:
            # The empty passphrase keeps OpenSSL from asking for one on the terminal.
            files = f"{tls.cert_file}, {tls.key_file or tls.cert_file}"
            self._used("cert_file", files, lambda: context.load_cert_chain(tls.cert_file, tls.key_file or None, password=""))
        return context

    def _authorities(self) -> ssl.SSLContext:
        paths = ssl.get_default_verify_paths()
        if self._tls.ca_file:
            return ssl.create_default_context(cafile=self._tls.ca_file)
        if paths.cafile or paths.capath:
            return ssl.create_default_context()
        return httpx.create_ssl_context(trust_env=False)

    def _used(self, key: str, files: str, make: Callable[[], _T]) -> _T:
        try:
            return make()
        except (OSError, ValueError) as error:  # ssl.SSLError is an OSError; a NUL in a name is a ValueError
            says = getattr(error, "strerror", None) or error
            hint = "give readable PEM files that belong together, the key unencrypted"
            raise ConfigError([f"{self._where}.tls.{key}: cannot use {files}: {says}; {hint}"]) from error


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        status = file.stat()
    except (OSError, ValueError):
        return None
    return status.st_mtime_ns, status.st_size, status.st_ino
