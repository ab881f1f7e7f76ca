"""The connections to a peer, opened anew with new papers when its certificates or the proxy's password change."""

from __future__ import annotations

import ssl

import httpx

from agent.errors import ConfigError
from agent.net.credentials import Login
from agent.net.options import TransportOptions
from agent.net.tls import Papers, Stamp

KEEPALIVE_SECONDS = 55.0
"""Idle connections live this long: several flushes, and below the minute after which common servers close."""


class Network(httpx.AsyncBaseTransport):
    """What httpx sends through. Raises ConfigError for unusable files when made; later the last good ones stay."""

    def __init__(self, where: str, options: TransportOptions) -> None:
        self._options = options
        self._papers = Papers(where, options.tls)
        self._login = Login(f"{where}.proxy_auth", options.proxy_auth) if options.proxy_auth else None
        self._seen = self._stamp()
        self._inner = self._make()
        self._old: list[httpx.AsyncHTTPTransport] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send it over connections that know the files of now."""
        stamp = self._stamp()
        if stamp != self._seen:
            try:
                fresh = self._make()
            except ConfigError:
                pass  # being replaced right now: the old ones serve until the new ones are whole
            else:
                if self._old:  # what began before the last change has long ended
                    await self._old.pop().aclose()
                self._old.append(self._inner)
                self._inner, self._seen = fresh, stamp
        return await self._inner.handle_async_request(request)

    async def aclose(self) -> None:
        """Close every connection."""
        for inner in (*self._old, self._inner):
            await inner.aclose()

    def _stamp(self) -> tuple[Stamp, str]:
        return self._papers.stamp(), self._login.password() if self._login else ""

    def _make(self) -> httpx.AsyncHTTPTransport:
        options = self._options
        addresses = (options.url, options.proxy_url, options.oauth2.token_url if options.oauth2 else "")
        limits = httpx.Limits(max_connections=100, keepalive_expiry=KEEPALIVE_SECONDS)
        # Loading the system's authorities costs 20 ms and a megabyte that plain http never needs.
        secure = any(address.lower().startswith("https") for address in addresses) or options.tls.cert_file
        proxy = None
        if options.proxy_url:
            auth = (self._login.username, self._login.password()) if self._login else None
            trust = self._papers.trust() if options.proxy_url.lower().startswith("https") else None
            proxy = httpx.Proxy(options.proxy_url, ssl_context=trust, auth=auth)
        verify = self._papers.context() if secure else ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        return httpx.AsyncHTTPTransport(verify=verify, trust_env=False, limits=limits, proxy=proxy)
