"""One HTTP peer: its connections, and the credentials that go with every request.

Redirects are never followed here, the environment's proxies and netrc are ignored, and of timeouts there is only the
one for connecting, so that a host that does not answer is told from one that is slow: all others are the caller's.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import urlsplit

import httpx

from agent.net.credentials import CredentialError, Fixed
from agent.net.network import Network
from agent.net.oauth2 import Tokens
from agent.net.options import RESERVED_HEADERS, HttpSinkOptions, TransportOptions, shown
from agent.net.words import escaped

__all__ = ["RESERVED_HEADERS", "Client", "HttpSinkOptions", "TransportOptions", "shown"]

CONNECT_SECONDS = 10.0
"""Longest time for opening a connection, and for agreeing on TLS; less where the peer's timeout is short."""


class Client:
    """Connections to one peer, kept alive between requests.

    `where` is the configuration path for errors (`sinks.vm`), `transport` replaces the network in tests.
    Raises ConfigError when a file that the options name cannot be used.
    """

    def __init__(
        self, where: str, options: TransportOptions, user_agent: str, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self.url = options.url
        parts = urlsplit(options.url)
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self.direct_address = None if options.proxy_url else (parts.hostname or "", port)
        """Host and port that connections are opened to; None where a proxy opens them."""
        self._proxy = escaped(shown(options.proxy_url))
        # Its INFO line holds the whole URL, and comes with every request.
        logging.getLogger("httpx").setLevel(logging.WARNING)
        logging.getLogger("httpcore").setLevel(logging.WARNING)
        timeout = httpx.Timeout(None, connect=min(CONNECT_SECONDS, options.timeout_seconds * 0.8))
        network = transport or Network(where, options)
        self._extensions = {"sni_hostname": options.tls.server_name} if options.tls.server_name else {}
        self._http = httpx.AsyncClient(
            trust_env=False,
            follow_redirects=False,
            timeout=timeout,
            headers={name: value.reveal() for name, value in options.headers.items()} | {"User-Agent": user_agent},
            transport=network,
        )
        self._credential: Fixed | Tokens = Fixed(where, options)
        if options.oauth2:
            agent = {"User-Agent": user_agent}
            # Of its own: the peer's headers are none of the token endpoint's business, its server_name neither.
            asking = httpx.AsyncClient(
                trust_env=False, timeout=timeout, headers=agent, transport=transport or Network(where, options)
            )
            self._credential = Tokens(where, options.oauth2, asking)

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
        header = await self._credential.header()
        given = {**headers, "Authorization": header} if header else dict(headers)
        more = {**self._extensions, **(extensions or {})}
        request = self._http.build_request(method, url, headers=given, content=content, extensions=more)
        try:
            response = await self._http.send(request, stream=True)
        except httpx.ProxyError as error:
            raise self._refused(str(error)) from error
        try:
            if response.status_code == httpx.codes.UNAUTHORIZED:
                self._credential.refused(header)
            if self._proxy and response.status_code == httpx.codes.PROXY_AUTHENTICATION_REQUIRED:
                raise self._refused("407")
            yield response
        finally:
            await response.aclose()

    def _refused(self, words: str) -> CredentialError:
        hint = "check proxy_auth" if words.startswith("407") else "is it a proxy, and may it reach that host?"
        return CredentialError(f"the proxy {self._proxy} refuses: {escaped(words)}; {hint}", retry=not words.startswith("407"))

    async def aclose(self) -> None:
        """Close every connection."""
        await self._credential.aclose()
        await self._http.aclose()
