"""What stands between uvicorn and an app: bounds on a request's body, errors that are answered, HTTP/1.0."""

from __future__ import annotations

import logging
from collections.abc import Callable

import anyio
from starlette.types import ASGIApp, Message, Receive, Scope, Send

log = logging.getLogger(__name__)

CLOSE = (b"connection", b"close")
"""The rest of a refused body is not read, so the connection cannot be used again."""


class BodyError(Exception):
    """A body that is too large or too slow; `status` is the answer."""

    def __init__(self, status: int, message: str) -> None:
        self.status = status
        super().__init__(message)


class Bounded:
    """ASGI middleware: bounds the size of a request's body and the time until it is whole, and contains the app's errors.

    Paths that `bounds_itself` says yes to get their bodies as they come: the app has bounds of its own for them.
    """

    def __init__(
        self, app: ASGIApp, max_body_bytes: int, body_seconds: float, bounds_itself: Callable[[str], bool] = lambda _: False
    ) -> None:
        self._app = app
        self._max = max_body_bytes
        self._seconds = body_seconds
        self._bounds_itself = bounds_itself

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 413, 408 or 500 where the app has not answered yet."""
        if scope["type"] != "http":
            return
        is_bounded = not self._bounds_itself(scope["path"])
        if is_bounded:
            declared = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
            # the parser has refused what is not a number
            if int(declared) > self._max:
                await _refuse(send, 413, f"body of {declared.decode()} bytes is over the limit of {self._max}", CLOSE)
                return
        if scope.get("http_version") == "1.0":
            send = _whole(send)
        begun = False

        async def noting_send(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, self._receive(receive) if is_bounded else receive, noting_send)
        except BodyError as error:
            if not begun:
                await _refuse(send, error.status, str(error), CLOSE)
        except Exception:
            # One request's error ends that request. An answer that has begun stays unfinished: uvicorn then breaks the
            # connection, and the client knows that something is missing.
            log.exception("%s %r failed", scope["method"], scope["path"][:200])
            if not begun:
                await _refuse(send, 500, "the agent failed to answer this; its log says why")

    def _receive(self, receive: Receive) -> Receive:
        taken, whole = 0, False
        deadline = anyio.current_time() + self._seconds

        async def bounded_receive() -> Message:
            nonlocal taken, whole
            if whole:  # what comes now is the disconnect, which has no time limit
                return await receive()
            with anyio.CancelScope(deadline=deadline):
                message = await receive()
                taken += len(message.get("body", b""))
                whole = message["type"] != "http.request" or not message.get("more_body", False)
                if taken > self._max:
                    raise BodyError(413, f"body is over the limit of {self._max} bytes")
                return message
            raise BodyError(408, f"body was not complete within {self._seconds:g} s")

        return bounded_receive


def _whole(send: Send) -> Send:
    """HTTP/1.0 knows no chunks, which uvicorn would send: what has no length is collected first."""
    head: Message = {}
    parts: list[bytes] = []

    async def collecting_send(message: Message) -> None:
        if message["type"] == "http.response.start" and not any(name == b"content-length" for name, _ in message["headers"]):
            head.update(message)
        elif head:
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                body = b"".join(parts)
                length = (b"content-length", b"%d" % len(body))
                without = () if head["status"] in (204, 304) else (length,)
                await send({**head, "headers": [*head["headers"], *without]})
                await send({"type": "http.response.body", "body": body})
        else:
            await send(message)

    return collecting_send


async def _refuse(send: Send, status: int, message: str, *more: tuple[bytes, bytes]) -> None:
    body = message.encode() + b"\n"
    headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": [*headers, *more]})
    await send({"type": "http.response.body", "body": body})
