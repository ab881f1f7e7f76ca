"""A receiver on loopback that answers exactly the bytes a test wants, whatever HTTP says about them."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from enum import Enum

import anyio
from anyio.abc import SocketAttribute, SocketStream


class Then(Enum):
    """What happens to the connection after the bytes are sent."""

    KEEP = "keep"
    CLOSE = "close"
    HANG = "hang"


@dataclass(frozen=True)
class Answer:
    """What one request is answered with."""

    data: bytes
    then: Then = Then.KEEP


@dataclass
class Receiver:
    """A scripted receiver: answers in order, then 204 to everything; remembers each request as it came."""

    url: str = ""
    script: deque[Answer] = field(default_factory=deque)
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0

    async def serve(self, stream: SocketStream) -> None:
        """Answer one connection's requests until it ends."""
        self.connections += 1
        async with stream:
            while (request := await read_request(stream)) is not None:
                self.requests.append(request)
                answer = self.script.popleft() if self.script else Answer(status(204))
                await stream.send(answer.data)
                if answer.then is Then.HANG:
                    await anyio.sleep_forever()
                if answer.then is Then.CLOSE:
                    return


def status(code: int, *headers: str, body: bytes = b"") -> bytes:
    """A well-formed answer."""
    lines = [f"HTTP/1.1 {code} X", *headers] + ([] if code == 204 else [f"Content-Length: {len(body)}"])
    return "\r\n".join([*lines, "", ""]).encode() + body


async def read_request(stream: SocketStream) -> bytes | None:
    """One request with its body; None when the connection ended before one was whole."""
    raw = b""
    try:
        while b"\r\n\r\n" not in raw:
            raw += await stream.receive()
        head, _, body = raw.partition(b"\r\n\r\n")
        lengths = [line.split(b":")[1] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
        while len(body) < sum(int(length) for length in lengths):
            body += await stream.receive()
    except (anyio.EndOfStream, anyio.BrokenResourceError):
        return None
    return head + b"\r\n\r\n" + body


@asynccontextmanager
async def receiver(*script: Answer) -> AsyncIterator[Receiver]:
    """A receiver that listens while the block runs; `url` is its address without a path."""
    found = Receiver(script=deque(script))
    async with await anyio.create_tcp_listener(local_host="127.0.0.1") as listener, anyio.create_task_group() as group:
        port = listener.extra(SocketAttribute.local_port)
        found.url = f"http://127.0.0.1:{port}"
        group.start_soon(listener.serve, found.serve)
        yield found
        group.cancel_scope.cancel()
