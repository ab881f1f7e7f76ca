"""One HTTP/1.1 connection of uvicorn's, with the bounds on time and size that uvicorn does not set itself.

At any moment of a connection's life some timer runs: for headers, for a body, for a response nobody reads, or
uvicorn's own between two requests. A client can hold a connection for as long as it behaves, no longer.
"""

from __future__ import annotations

from enum import Enum
from typing import Any, NamedTuple

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEADER_BYTES = 64 << 10
"""Request line and headers together; nginx takes 32 KiB, Apache about 800 KiB."""


class Bounds(NamedTuple):
    """How long a connection may take for what, seconds."""

    headers: float
    """From the connection, or a request's first byte, to the end of its headers."""
    body: float
    """From there to the end of the body, whether anybody reads it or not."""
    sending: float
    """How long a response may stand still because the client does not read."""


class _Phase(Enum):
    HEADERS = 1
    BODY = 2
    BETWEEN = 3


class _OversizedError(Exception):
    """Ends the parser's work on a request."""


def bounded_connection(bounds: Bounds) -> type[HttpToolsProtocol]:
    """A protocol class for `uvicorn.Config(http=...)`; uvicorn makes one of it per connection."""

    class Connection(_Connection):
        """With these bounds."""

        limits = bounds

    return Connection


class _Connection(HttpToolsProtocol):
    limits: Bounds

    def connection_made(self, transport: Any) -> None:
        """A client that says nothing has as long as one that begins."""
        super().connection_made(transport)
        self._timer: Any = None
        self._moved = False
        self._standstill: Any = None
        self._oversized = False
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        """Headers are kept in memory until they end: they must end."""
        super().data_received(data)
        moved = self._moved
        if moved:
            self._bound_phase()
        if self.transport.is_closing():
            return
        if self._phase is _Phase.HEADERS and not moved:  # with data that moved it came other things, such as a body
            # Counted here too, for one endless header is known to the parser alone.
            self._unparsed_bytes += len(data)
            if self._unparsed_bytes > MAX_HEADER_BYTES:
                self._oversized = True
                self.send_400_response("")
        elif self._phase is _Phase.BETWEEN and self._idle() and self.timeout_keep_alive_task is None:
            self._expect_headers()  # empty lines between two requests, which stopped uvicorn's own timer

    def on_message_begin(self) -> None:
        """The first byte of a request."""
        super().on_message_begin()
        if self._phase is not _Phase.HEADERS:
            self._move(_Phase.HEADERS)
            self._unparsed_bytes = 0

    def on_headers_complete(self) -> None:
        """The bound on the body takes over."""
        if sum(len(name) + len(value) for name, value in self.headers) + len(self.url) > MAX_HEADER_BYTES:
            self._oversized = True
            raise _OversizedError
        self._move(_Phase.BODY)
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The request is whole."""
        self._move(_Phase.BETWEEN)
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what cannot be read; never into the middle of another answer."""
        if not self._idle():
            self._abort()
        elif self._oversized:
            text = b"request line and headers are over the limit of %d bytes\n" % MAX_HEADER_BYTES
            self.transport.write(
                b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
                b"content-length: %d\r\nconnection: close\r\n\r\n%b" % (len(text), text)
            )
            self.transport.close()
        else:
            super().send_400_response(msg)

    def pause_writing(self) -> None:
        """The client does not read as fast as we write: it has a while."""
        super().pause_writing()
        self._standstill = self.loop.call_later(self.limits.sending, self._abort)

    def resume_writing(self) -> None:
        """It reads."""
        super().resume_writing()
        self._end_standstill()

    def timeout_keep_alive_handler(self) -> None:
        """Idle too long. Not `close`, which waits for unread answers."""
        self._abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """Nothing is waited for any more."""
        self._disarm()
        self._end_standstill()
        super().connection_lost(exc)
        self._unset_keepalive_if_required()  # uvicorn leaves it armed when the connection broke

    def _idle(self) -> bool:
        return self.cycle is None or self.cycle.response_complete

    def _expect_headers(self) -> None:
        self._phase = _Phase.HEADERS
        self._unparsed_bytes = 0
        self._bound_phase()

    def _move(self, phase: _Phase) -> None:
        self._phase = phase
        self._moved = True

    def _bound_phase(self) -> None:
        """Start the timer of the phase that the data ended in: most requests come whole, and need none in between."""
        self._moved = False
        if self._phase is _Phase.BETWEEN:
            self._disarm()
        else:
            self._arm(self.limits.headers if self._phase is _Phase.HEADERS else self.limits.body)

    def _arm(self, seconds: float) -> None:
        self._disarm()
        self._timer = self.loop.call_later(seconds, self._abort)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _end_standstill(self) -> None:
        if self._standstill is not None:
            self._standstill.cancel()
            self._standstill = None

    def _abort(self) -> None:
        self.transport.abort()
