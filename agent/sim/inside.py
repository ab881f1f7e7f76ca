"""A simulated API without a socket, for tests on a virtual clock and for benchmarks."""

from __future__ import annotations

import httpx
from starlette.types import ASGIApp


class Inside(httpx.AsyncBaseTransport):
    """A transport whose every request ends in `app`; an answer that the app cuts short is cut short, as on a socket."""

    def __init__(self, app: ASGIApp) -> None:
        self._transport = httpx.ASGITransport(app)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """One request. Raises RemoteProtocolError where the app hangs up."""
        try:
            return await self._transport.handle_async_request(request)
        except ConnectionAbortedError as error:
            raise httpx.RemoteProtocolError("peer closed connection without sending complete message body") from error
