"""One HTTP peer: its address and credentials from the configuration, its connections.

Redirects are never followed here, the environment's proxies and netrc are ignored, and there is no timeout:
that is the caller's. Whatever is printed of an address has neither user-info nor query.
"""

from __future__ import annotations

import logging
import re
import ssl
from base64 import b64encode
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
from pydantic import Field, field_validator, model_validator

from agent.errors import ConfigError
from agent.plugin import SecretText, Section, SinkOptions
from agent.secret import Secret

KEEPALIVE_SECONDS = 55.0
"""Idle connections live this long: several flushes, and below the minute after which common servers close."""
MAX_CREDENTIAL_BYTES = 64 * 1024
"""A larger credential file is a wrong path."""

RESERVED_HEADERS = frozenset(
    {
        "content-encoding",
        "content-type",
        "user-agent",
        "x-prometheus-remote-write-version",
        # These say how the body is framed; a second opinion breaks the request.
        "content-length",
        "transfer-encoding",
        "connection",
    }
)
"""Headers a configuration may not set (remote-write 1.0 specification for the first four)."""

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_CREDENTIAL_HEADER = "authorization"


class BasicAuth(Section):
    """A user name and password."""

    username: str = Field(description="user name")
    password: SecretText = Field(Secret(""), description="password")
    password_file: str = Field("", description="file with the password, read again when it changes")

    @model_validator(mode="after")
    def _one_password(self) -> Self:
        if self.password and self.password_file:
            raise ValueError("password and password_file are both set; keep one")
        return self


class Tls(Section):
    """How the peer's certificate is checked."""

    ca_file: str = Field(default="", description="PEM file with the authorities to trust instead of the system's")
    insecure_skip_verify: bool = Field(default=False, description="accept any certificate; for tests only")


class TransportOptions(Section):
    """The keys of everything that speaks HTTP: sinks, scrape targets."""

    url: str = Field(description="address, http or https; a user name and password in it become basic_auth")
    headers: dict[str, SecretText] = Field(default_factory=dict, description="headers added to every request")
    basic_auth: BasicAuth | None = Field(None, description="user name and password")
    bearer_token: SecretText = Field(Secret(""), description="token of the Authorization header")
    bearer_token_file: str = Field("", description="file with that token, read again when it changes")
    tls: Tls = Field(default_factory=Tls, description="certificate checks of https addresses")

    @model_validator(mode="before")
    @classmethod
    def _user_info_is_basic_auth(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("url"), str):
            return data
        head, at, host = _netloc(data["url"]).rpartition("@")
        if not at:
            return data
        if data.get("basic_auth"):
            raise ValueError("the url holds a user name and basic_auth is set too; keep one")
        user, _, password = head.partition(":")
        url = urlunsplit(urlsplit(data["url"])._replace(netloc=host))
        return {**data, "url": url, "basic_auth": {"username": unquote(user), "password": unquote(password)}}

    @field_validator("url")
    @classmethod
    def _sendable(cls, url: str) -> str:
        _netloc(url)
        parts = urlsplit(url)
        if parts.scheme not in {"http", "https"}:
            raise ValueError("must begin with http:// or https://")
        if parts.fragment or url.endswith("#"):
            raise ValueError("must have no fragment (#...)")
        try:
            sendable = bool(parts.hostname) and parts.port != 0 and bool(httpx.URL(url).host)
        except (ValueError, httpx.InvalidURL):
            sendable = False
        if not sendable or not url.isprintable() or " " in url:
            raise ValueError("is not a complete address, such as http://127.0.0.1:8428/api/v1/write")
        return url

    @field_validator("headers")
    @classmethod
    def _allowed(cls, headers: dict[str, Secret]) -> dict[str, Secret]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a header name")
            if name.lower() in RESERVED_HEADERS:
                raise ValueError(f"{name} is set by cipush itself; remove it")
            if not value.reveal().isascii() or not value.reveal().isprintable():
                raise ValueError(f"the value of {name} must be printable ASCII")
        return headers

    @field_validator("bearer_token")
    @classmethod
    def _ascii(cls, token: Secret) -> Secret:
        if not token.reveal().isascii() or not token.reveal().isprintable():
            raise ValueError("must be printable ASCII")
        return token

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        header = [name for name in self.headers if name.lower() == _CREDENTIAL_HEADER]
        given = ["basic_auth"] if self.basic_auth else []
        given += [key for key in ("bearer_token", "bearer_token_file") if getattr(self, key)]
        given += [f"headers.{name}" for name in header]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both set; keep one")
        return self


class HttpSinkOptions(SinkOptions, TransportOptions):
    """The keys every HTTP sink takes."""

    timeout_seconds: float = Field(30.0, gt=0, le=3600, description="longest time for one request")
    strict_spec: bool = Field(
        False, description="drop a block on every 4xx answer but 429, as the remote-write specification asks"
    )


def _netloc(url: str) -> str:
    """Host, port and user-info. Raises ValueError with a text that quotes nothing of them."""
    try:
        return urlsplit(url).netloc
    except ValueError:
        raise ValueError("is not a complete address, such as http://127.0.0.1:8428/api/v1/write") from None


def shown(url: str) -> str:
    """`url` as it may be printed: without user-info, query and fragment."""
    parts = urlsplit(url)
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


class _FileCredential:
    """The text of a file, read again when the file changes; while it cannot be read the last text stays."""

    def __init__(self, where: str, path: str) -> None:
        self._path = Path(path)
        self._stamp: tuple[int, int, int] | None = None
        self._text = Secret("")
        try:
            self._refresh()
        except (OSError, ValueError) as error:
            raise ConfigError([f"{where}: cannot read {path}: {getattr(error, 'strerror', None) or error}"]) from error

    def current(self) -> Secret:
        """The text, without white space around it."""
        # Being replaced right now, or gone: if the old text is no longer good the peer will say so.
        with suppress(OSError, ValueError):
            self._refresh()
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
        self._text, self._stamp = Secret(text), stamp


class _Credential:
    """The Authorization header, if any."""

    def __init__(self, where: str, options: TransportOptions) -> None:
        self._scheme, self._user = "Bearer", ""
        self._secret, path, key = options.bearer_token, options.bearer_token_file, "bearer_token_file"
        if options.basic_auth:
            self._scheme, self._user = "Basic", options.basic_auth.username
            self._secret, path, key = options.basic_auth.password, options.basic_auth.password_file, "basic_auth.password_file"
        self._file = _FileCredential(f"{where}.{key}", path) if path else None

    def headers(self) -> dict[str, str]:
        """The header as of now."""
        secret = (self._file.current() if self._file else self._secret).reveal()
        if self._scheme == "Basic":
            return {"Authorization": f"Basic {b64encode(f'{self._user}:{secret}'.encode()).decode()}"}
        return {"Authorization": f"Bearer {secret}"} if secret else {}


def _verify(where: str, options: TransportOptions) -> ssl.SSLContext:
    """The certificate checks; raises ConfigError for a CA file that cannot be used."""
    if not options.url.startswith("https"):
        # Loading the system's authorities costs 20 ms and a megabyte that plain http never needs.
        return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    paths = ssl.get_default_verify_paths()
    try:
        if options.tls.ca_file:
            context = ssl.create_default_context(cafile=options.tls.ca_file)
        elif paths.cafile or paths.capath:
            context = ssl.create_default_context()
        else:
            context = httpx.create_ssl_context(trust_env=False)
    except OSError as error:  # ssl.SSLError is one
        raise ConfigError([f"{where}.tls.ca_file: cannot use {options.tls.ca_file}: {error.strerror or error}"]) from error
    if options.tls.insecure_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


class Client:
    """Connections to one peer, kept alive between requests.

    `where` is the configuration path for errors (`sinks.vm`), `transport` replaces the network in tests.
    Raises ConfigError when a file that the options name cannot be used.
    """

    def __init__(
        self, where: str, options: TransportOptions, user_agent: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = options.url
        self._credential = _Credential(where, options)
        # Its INFO line holds the whole URL, and comes with every request.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("httpcore").setLevel(logging.WARNING)
        self._http = httpx.AsyncClient(
            verify=_verify(where, options),
            trust_env=False,
            follow_redirects=False,
            timeout=None,
            limits=httpx.Limits(keepalive_expiry=KEEPALIVE_SECONDS),
            headers={name: value.reveal() for name, value in options.headers.items()} | {"User-Agent": user_agent},
            transport=transport,
        )

    @property
    def direct_address(self) -> tuple[str, int] | None:
        """Host and port that connections go to."""
        url = httpx.URL(self.url)
        return url.host, url.port or (443 if url.scheme == "https" else 80)

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        content: bytes | None = None,
        extensions: Mapping[str, Any] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """One request; the answer's body is still to be read, and its connection closed if it is not.

        `url` is this peer's own or one of the same origin: the credentials go with it.
        Raises httpx.TransportError for what the network does.
        """
        request = self._http.build_request(
            method, url, headers={**headers, **self._credential.headers()}, content=content, extensions=dict(extensions or {})
        )
        response = await self._http.send(request, stream=True)
        try:
            yield response
        finally:
            await response.aclose()

    async def aclose(self) -> None:
        """Close every connection."""
        await self._http.aclose()
