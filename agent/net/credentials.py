"""What a request proves itself with, kept in the configuration or in files that are read again when they change."""

from __future__ import annotations

import logging
from base64 import b64encode
from pathlib import Path

import httpx

from agent.errors import ConfigError
from agent.log import Transition
from agent.net.options import BasicAuth, TransportOptions
from agent.secret import Changing, Secret

log = logging.getLogger(__name__)

MAX_CREDENTIAL_BYTES = 64 * 1024
"""A larger credential file is a wrong path."""


class CredentialError(httpx.TransportError):
    """A request could not be sent because its credentials could not be had, or a proxy refused them.

    `retry`: it may pass by itself; otherwise somebody has to act. `reason`: printable, without secrets.
    """

    def __init__(self, reason: str, *, retry: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry = retry


class FileSecret:
    """The text of a file, read again when the file changes; while it cannot be read the last text stays."""

    def __init__(self, where: str, path: str) -> None:
        self._where = where
        self._path = Path(path)
        self._transition = Transition(log)
        self._stamp: tuple[int, int, int] | None = None
        self._values = Changing()
        self._text = Secret("")
        try:
            self._refresh()
        except (OSError, ValueError) as error:
            raise ConfigError([f"{where}: cannot read {path}: {getattr(error, 'strerror', None) or error}"]) from error

    def current(self) -> Secret:
        """The text, without white space around it."""
        try:
            self._refresh()
        except (OSError, ValueError) as error:  # being replaced right now, or gone
            why = getattr(error, "strerror", None) or error
            self._transition.failed(
                self._path, f"{self._where}: cannot read {self._path}: {why}; what it held before is still used"
            )
        else:
            self._transition.recovered(self._path, f"{self._where}: {self._path} can be read again")
        return self._text

    def _refresh(self) -> None:
        status = self._path.stat()
        stamp = (status.st_mtime_ns, status.st_size, status.st_ino)
        if stamp == self._stamp:
            return
        with self._path.open("rb") as file:
            raw = file.read(MAX_CREDENTIAL_BYTES + 1)
        text = raw.decode("ascii", "replace").strip()
        if len(raw) > MAX_CREDENTIAL_BYTES or not text or not text.isprintable() or not text.isascii():
            raise ValueError("it must hold one line of ASCII text")
        self._text, self._stamp = self._values.renew(text), stamp


class Fixed:
    """The Authorization header of basic_auth or a bearer token, if any; the same until a file changes."""

    def __init__(self, where: str, options: TransportOptions) -> None:
        self._basic: Login | None = None
        if options.basic_auth:
            self._basic = Login(f"{where}.basic_auth", options.basic_auth)
        self._token = options.bearer_token
        path = options.bearer_token_file
        self._file = FileSecret(f"{where}.bearer_token_file", path) if path else None

    async def header(self) -> str:
        """Its value as of now, "" for none."""
        if self._basic:
            return self._basic.header()
        token = self._file.current() if self._file else self._token
        return f"Bearer {token.reveal()}" if token else ""

    def refused(self, header: str) -> None:
        """The peer did not take it; nothing else can be offered."""

    async def aclose(self) -> None:
        """Nothing is open."""


class Login:
    """A user name and the password of now."""

    def __init__(self, where: str, options: BasicAuth) -> None:
        self.username = options.username
        self._password = options.password
        self._encoded = Changing()
        self._file = FileSecret(f"{where}.password_file", options.password_file) if options.password_file else None

    def password(self) -> str:
        """The password as of now."""
        return (self._file.current() if self._file else self._password).reveal()

    def header(self) -> str:
        """What HTTP sends of it."""
        encoded = b64encode(f"{self.username}:{self.password()}".encode()).decode()
        return f"Basic {self._encoded.renew(encoded).reveal()}"  # known to the redaction
