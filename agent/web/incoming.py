"""One delivery on its way in, and its answer: the HTTP of it, without any decision about it."""

from __future__ import annotations

from typing import NamedTuple

from starlette.types import Receive, Scope, Send

UNREAD_BYTES = 1 << 20
"""The rest of a refused body up to this size is read past, so that the answer arrives and the connection can go on."""

_HEADERS = (
    (b"content-type", b"text/plain; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)
_CLOSE = (b"connection", b"close")


class Answer(NamedTuple):
    """What a request is answered with."""

    status: int
    text: str
    retry_after: int = 0
    """Seconds; 0 = not said."""
    allow: str = ""
    """Which methods there are, in a 405."""


class GoneError(Exception):
    """The client hung up before its body was whole: there is nobody to answer."""


class Incoming:
    """What is known of one request while it is worked on. `begun` is the event loop's time when it began."""

    __slots__ = ("announced", "begun", "client", "headers", "held", "is_whole", "method", "path", "source")

    def __init__(self, scope: Scope, begun: float = 0.0) -> None:
        self.begun = begun
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.headers = _headers(scope)
        self.client: str = scope["client"][0] if scope.get("client") else ""
        """The IP address of who sends it; "" = it cannot be told."""
        self.source = ""
        """The source it is for; "" = none that is known, so that nobody makes series of his own."""
        length = self.headers.get("content-length", "")
        self.announced = int(length) if length.isdecimal() and len(length) < 19 else 0
        """Bytes of its body by its own word; 0 = it does not say."""
        self.held = 0
        """Bytes of its body that came."""
        self.is_whole = False
        """Whether all of its body came."""

    async def part(self, receive: Receive) -> bytes | None:
        """The next part of the body; None = it is whole. Raises GoneError."""
        if self.is_whole:
            return None
        message = await receive()
        if message["type"] != "http.request":
            raise GoneError
        part: bytes = message.get("body", b"")
        self.held += len(part)
        self.is_whole = not message.get("more_body", False)
        return part

    async def answer(self, send: Send, answer: Answer) -> None:
        """Send it, and hang up where the rest of the body is in the way of another request."""
        body = answer.text.encode() + b"\n" if answer.text else b""
        headers = [*_HEADERS, (b"content-length", b"%d" % len(body))]
        if answer.retry_after:
            headers.append((b"retry-after", b"%d" % answer.retry_after))
        if answer.allow:
            headers.append((b"allow", answer.allow.encode()))
        if not self.is_whole and (answer.status == 408 or self._is_long()):
            headers.append(_CLOSE)
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if self.method == "HEAD" else body})

    def _is_long(self) -> bool:
        """Whether the rest of the body may be much; who waits for a 100 (Continue) may keep it to himself, or not."""
        headers = self.headers
        return "expect" in headers or "transfer-encoding" in headers or self.announced - self.held > UNREAD_BYTES


def _headers(scope: Scope) -> dict[str, str]:
    """Names in lower case; one that comes twice has both values, as RFC 9110, 5.3, joins them."""
    found: dict[str, str] = {}
    for raw_name, raw_value in scope["headers"]:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        found[name] = f"{found[name]}, {value}" if name in found else value
    return found
