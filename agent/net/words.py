"""Foreign text and failures of the network in words that may be printed."""

from __future__ import annotations

import socket
import ssl
from collections.abc import Iterator

import httpx

from agent.secret import redact

MAX_WORDS = 300
"""Characters kept of foreign text."""
_NO_TLS = ("WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE", "HTTP_REQUEST", "PACKET_LENGTH_TOO_LONG")
"""What OpenSSL says of an answer that is none of TLS's (its versions differ)."""
_HUNG_UP = ("disconnected without sending a response", "reset by peer")
"""Of a server that hangs up before it answers, as some do whose port is one of TLS."""


def escaped(text: str) -> str:
    """Foreign text on one line: secrets redacted, what cannot be printed escaped, 300 characters at most."""
    text = " ".join(redact(text).split())
    cut = text[:MAX_WORDS] + ("..." if len(text) > MAX_WORDS else "")
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "replace").decode() for c in cut)


def failure(error: httpx.TransportError) -> tuple[str, str]:
    """(code, reason) of a request that got no answer, with what to do about it."""
    causes = tuple(_causes(error))
    # The innermost text says most: "Connection refused" stands below "All connection attempts failed".
    says = next((str(cause) for cause in reversed(causes) if str(cause)), type(error).__name__)
    reason = escaped(says)
    if isinstance(error, httpx.ConnectTimeout):
        return "timeout", "no connection in time: the host does not answer; check address, port and firewall"
    if isinstance(error, httpx.TimeoutException):
        return "timeout", reason
    if any(isinstance(cause, ssl.SSLError) and getattr(cause, "reason", "") in _NO_TLS for cause in causes):
        return "tls", f"{reason}; what answers there speaks no TLS: should url (or proxy_url) begin with http://?"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "tls", f"{reason}; check the peer's certificate, tls.ca_file and the host in url"
    if any(isinstance(cause, socket.gaierror) for cause in causes):
        return "dns", f"{reason}; check the host in url (or proxy_url) and the resolver"
    if isinstance(error, httpx.ConnectError):
        return "connect", f"{reason}; check host and port in url (or proxy_url), and that something listens there"
    if _is_plain(error) and any(word in says for word in _HUNG_UP):
        reason = f"{reason.rstrip('.')}; if it never answers: should url begin with https://?"
    return "connect" if isinstance(error, httpx.NetworkError) else "protocol", reason


def _is_plain(error: httpx.TransportError) -> bool:
    """Whether no TLS was spoken."""
    try:
        return error.request.url.scheme == "http"
    except RuntimeError:  # it is not known what was asked
        return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The error and what it came from, outermost first; at most 16, a chain may be a ring."""
    current: BaseException | None = error
    for _ in range(16):
        if current is None:
            return
        yield current
        inner = current.exceptions[0] if isinstance(current, BaseExceptionGroup) else None
        current = inner or current.__cause__ or current.__context__
