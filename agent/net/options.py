"""What a configuration may say of an HTTP peer: its address, credentials, certificates and proxy."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal, Self
from urllib.parse import unquote, urlsplit, urlunsplit

import httpx
from pydantic import AfterValidator, Field, field_validator, model_validator

from agent.plugin import SecretText, Section, SinkOptions
from agent.secret import Secret

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


def _sent_in_a_header(secret: Secret) -> Secret:
    text = secret.reveal()
    if not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("must be printable ASCII, without a line break or blanks around it")
    return secret


TokenText = Annotated[SecretText, AfterValidator(_sent_in_a_header)]
"""A token that goes with requests as it is."""

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
    """How the peer's certificate is checked, and which one is shown to it."""

    ca_file: str = Field(
        default="", description="PEM file with the authorities to trust instead of the system's, read again when it changes"
    )
    cert_file: str = Field(default="", description="PEM file with the certificate to show, read again when it changes")
    key_file: str = Field(default="", description="PEM file with its key, unencrypted; empty = it is in cert_file")
    server_name: str = Field(default="", description="name the peer's certificate must have; empty = the host of the url")
    min_version: Literal["1.2", "1.3"] = Field(default="1.2", description="oldest version of TLS that is spoken")
    insecure_skip_verify: bool = Field(default=False, description="accept any certificate; for tests only")

    @model_validator(mode="after")
    def _key_of_something(self) -> Self:
        if self.key_file and not self.cert_file:
            raise ValueError("key_file does nothing without cert_file")
        return self


class OAuth2(Section):
    """Client credentials of OAuth 2.0 (RFC 6749, 4.4)."""

    client_id: str = Field(min_length=1, description="the client's name at the token endpoint")
    client_secret: SecretText = Field(Secret(""), description="its secret")
    client_secret_file: str = Field("", description="file with the secret, read again when it changes")
    token_url: str = Field(description="address that hands out tokens; certificates and proxy are those of the peer")
    scopes: list[str] = Field(default_factory=list, description="scopes to ask for")
    endpoint_params: dict[str, SecretText] = Field(default_factory=dict, description="more form fields of the token request")

    @field_validator("token_url")
    @classmethod
    def _address(cls, url: str) -> str:
        if "@" in _netloc(url):
            raise ValueError("must have no user name; use client_id and client_secret")
        return sendable(url)

    @field_validator("endpoint_params")
    @classmethod
    def _more(cls, params: dict[str, Secret]) -> dict[str, Secret]:
        for name in ("grant_type", "scope", "client_id", "client_secret"):
            if name in params:
                raise ValueError(f"{name} is set by cipush itself; remove it")
        return params

    @model_validator(mode="after")
    def _one_secret(self) -> Self:
        if bool(self.client_secret) == bool(self.client_secret_file):
            raise ValueError("set one of client_secret and client_secret_file")
        return self


class ConnectionOptions(Section):
    """Where an HTTP peer is and how it is reached."""

    url: str = Field(description="address, http or https")
    headers: dict[str, SecretText] = Field(default_factory=dict, description="headers added to every request")
    tls: Tls = Field(default_factory=Tls, description="certificates of https addresses")
    proxy_url: str = Field(
        "", description="http or https proxy; a user name and password in it become proxy_auth; the environment's are ignored"
    )
    proxy_auth: BasicAuth | None = Field(None, description="user name and password for the proxy")
    timeout_seconds: float = Field(30.0, gt=0, le=3600, description="longest time for one request")

    @model_validator(mode="before")
    @classmethod
    def _user_info_is_proxy_auth(cls, data: Any) -> Any:
        return _moved(data, "proxy_url", "proxy_auth") if isinstance(data, dict) else data

    @field_validator("proxy_auth", mode="before")
    @classmethod
    def _no_proxy_auth(cls, section: Any) -> Any:
        return empty_is_none(section)

    @field_validator("url")
    @classmethod
    def _sendable(cls, url: str) -> str:
        return sendable(url)

    @field_validator("proxy_url")
    @classmethod
    def _proxy(cls, url: str) -> str:
        if not url:
            return url
        _netloc(url)
        if urlsplit(url).scheme.startswith("socks"):
            raise ValueError("SOCKS proxies are not supported; use an http:// or https:// proxy")
        if urlsplit(url).path.strip("/") or urlsplit(url).query:
            raise ValueError("a proxy address has no path and no query")
        return sendable(url)

    @field_validator("headers")
    @classmethod
    def _allowed(cls, headers: dict[str, Secret]) -> dict[str, Secret]:
        for name, value in headers.items():
            if not _HEADER_NAME.fullmatch(name):
                raise ValueError(f"{name!r} is not a header name")
            if name.lower() in RESERVED_HEADERS:
                raise ValueError(f"{name} is set by cipush itself; remove it")
            try:
                _sent_in_a_header(value)
            except ValueError as error:
                raise ValueError(f"the value of {name} {error}") from error
        return headers

    @model_validator(mode="after")
    def _proxy_is_used(self) -> Self:
        if self.proxy_auth and not self.proxy_url:
            raise ValueError("proxy_auth does nothing without proxy_url")
        if self.proxy_url and self.tls.server_name:
            raise ValueError("tls.server_name cannot be used through a proxy; put that name into url")
        return self

    @model_validator(mode="after")
    def _tls_is_spoken(self) -> Self:
        """Which https address each key of `tls` needs follows from what agent/net/network.py does with it."""
        peer = [self.url, *self._other_addresses()]
        for key, given, addresses, names in (
            ("server_name", self.tls.server_name, [self.url], "url"),
            ("cert_file", self.tls.cert_file, peer, "url or oauth2.token_url"),
            ("ca_file", self.tls.ca_file, [*peer, self.proxy_url], "url, oauth2.token_url or proxy_url"),
            ("min_version", self.tls.min_version != "1.2", [*peer, self.proxy_url], "url, oauth2.token_url or proxy_url"),
            (
                "insecure_skip_verify",
                self.tls.insecure_skip_verify,
                [*peer, self.proxy_url],
                "url, oauth2.token_url or proxy_url",
            ),
        ):
            if given and not any(urlsplit(address).scheme == "https" for address in addresses):
                raise ValueError(f"tls.{key} does nothing without https:// in {names}")
        return self

    def _other_addresses(self) -> list[str]:
        """Further addresses that `tls` is for."""
        return []


class TransportOptions(ConnectionOptions):
    """The keys of everything that speaks HTTP with credentials of any kind: sinks, scrape targets."""

    url: str = Field(description="address, http or https; a user name and password in it become basic_auth")
    basic_auth: BasicAuth | None = Field(None, description="user name and password")
    bearer_token: TokenText = Field(Secret(""), description="token of the Authorization header")
    bearer_token_file: str = Field("", description="file with that token, read again when it changes")
    oauth2: OAuth2 | None = Field(None, description="where to fetch tokens of the Authorization header")

    @classmethod
    def without_credentials(cls, connection: ConnectionOptions, url: str, tls: Tls) -> Self:
        """How a source reaches `url` that signs its requests itself."""
        return cls(
            url=url,
            basic_auth=None,
            bearer_token=Secret(""),
            bearer_token_file="",
            oauth2=None,
            headers=connection.headers,
            tls=tls,
            proxy_url=connection.proxy_url,
            proxy_auth=connection.proxy_auth,
            timeout_seconds=connection.timeout_seconds,
        )

    @model_validator(mode="before")
    @classmethod
    def _user_info_is_basic_auth(cls, data: Any) -> Any:
        return _moved(data, "url", "basic_auth") if isinstance(data, dict) else data

    @field_validator("oauth2", mode="before")
    @classmethod
    def _no_oauth2(cls, section: Any) -> Any:
        return empty_is_none(section)

    @model_validator(mode="after")
    def _one_credential(self) -> Self:
        header = [name for name in self.headers if name.lower() == _CREDENTIAL_HEADER]
        given = ["basic_auth"] if self.basic_auth else []
        given += [key for key in ("bearer_token", "bearer_token_file") if getattr(self, key)]
        given += ["oauth2"] if self.oauth2 else []
        given += [f"headers.{name}" for name in header]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} are both set; keep one")
        return self

    def _other_addresses(self) -> list[str]:
        return [self.oauth2.token_url] if self.oauth2 else []


class HttpSinkOptions(SinkOptions, TransportOptions):
    """The keys every HTTP sink takes."""

    rate_limit_bytes_per_second: float = Field(
        default=0, ge=0, description="most bytes of request bodies sent in a second, on average; 0 = no limit"
    )
    strict_spec: bool = Field(
        False, description="drop a block on every 4xx answer but 429, as the remote-write specification asks"
    )


def empty_is_none(section: Any) -> Any:
    """A section whose every key is empty asks for nothing: the commented example, put in force, is such."""
    return None if isinstance(section, dict) and not any(section.values()) else section


def _moved(data: dict[str, Any], key: str, auth: str) -> dict[str, Any]:
    """`data` with the user-info of the address `key` as the section `auth`."""
    url = data.get(key)
    head, at, host = _netloc(url).rpartition("@") if isinstance(url, str) else ("", "", "")
    if not at:
        return data
    if data.get(auth):
        raise ValueError(f"the {key} holds a user name and {auth} is set too; keep one")
    user, _, password = head.partition(":")
    bare = urlunsplit(urlsplit(str(url))._replace(netloc=host))
    return {**data, key: bare, auth: {"username": unquote(user), "password": unquote(password)}}


def sendable(url: str) -> str:
    """`url` if a request can be sent there. Raises ValueError with what is wrong."""
    _netloc(url)
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"}:
        raise ValueError("must begin with http:// or https://")
    if parts.fragment or url.endswith("#"):
        raise ValueError("must have no fragment (#...)")
    try:
        complete = bool(parts.hostname) and parts.port != 0 and bool(httpx.URL(url).host)
    except (ValueError, httpx.InvalidURL):
        complete = False
    if not complete or not url.isprintable() or " " in url:
        raise ValueError("is not a complete address, such as http://127.0.0.1:8428/api/v1/write")
    return url


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
