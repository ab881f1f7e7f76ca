"""Delivers as GitHub does, only faster: `python -m tests.bench.deliver PORT PATH COUNT CONNECTIONS FORM`, the secret on stdin.

A process of its own. Everything is signed beforehand; then every connection sends the next delivery as soon as the last was
answered. Prints one JSON object: how many of each status, the seconds of the whole, and of single deliveries by percentile.
"""

from __future__ import annotations

import json
import selectors
import socket
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass, field

from tests.bench.github_payloads import deliveries, request

PATIENCE_SECONDS = 60.0


@dataclass
class Connection:
    """One kept connection and the delivery on it."""

    sock: socket.socket
    unsent: memoryview = field(default_factory=lambda: memoryview(b""))
    answer: bytes = b""
    begun: float = 0.0

    def begin(self, data: bytes) -> None:
        """Send another delivery."""
        self.begun, self.answer, self.unsent = time.perf_counter(), b"", memoryview(data)
        self.send()

    def send(self) -> None:
        """As much as the socket takes."""
        try:
            self.unsent = self.unsent[self.sock.send(self.unsent) :]
        except BlockingIOError:
            return

    def receive(self) -> int:
        """The status of the answer once it is whole, else 0. Raises ConnectionError where the other side hangs up."""
        data = self.sock.recv(65536)
        if not data:
            raise ConnectionError("hung up")
        self.answer += data
        head, separator, body = self.answer.partition(b"\r\n\r\n")
        if not separator:
            return 0
        length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
        return int(head.split(b" ", 2)[1]) if len(body) >= length else 0


def deliver(port: int, waiting: deque[bytes], connections: int) -> tuple[Counter[str], list[float], float]:
    """(how many of each status, seconds of each delivery, seconds of all)."""
    codes: Counter[str] = Counter()
    seconds: list[float] = []
    selector = selectors.DefaultSelector()
    opened = [Connection(socket.create_connection(("127.0.0.1", port))) for _ in range(min(connections, len(waiting)))]
    begun = time.perf_counter()
    for connection in opened:
        connection.sock.setblocking(False)
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.begin(waiting.popleft())
        _register(selector, connection)
    while selector.get_map():
        ready = selector.select(PATIENCE_SECONDS)
        if not ready:
            codes["no answer"] += len(selector.get_map())
            break
        for key, events in ready:
            connection = key.data
            if events & selectors.EVENT_WRITE:
                connection.send()
            if events & selectors.EVENT_READ:
                _hear(selector, connection, waiting, codes, seconds)
            elif not connection.unsent:
                selector.modify(connection.sock, selectors.EVENT_READ, connection)
    return codes, seconds, time.perf_counter() - begun


def _hear(
    selector: selectors.BaseSelector, connection: Connection, waiting: deque[bytes], codes: Counter[str], seconds: list[float]
) -> None:
    try:
        status = connection.receive()
    except OSError as error:
        codes[type(error).__name__] += 1
        selector.unregister(connection.sock)
        return
    if not status:
        return
    codes[str(status)] += 1
    seconds.append(time.perf_counter() - connection.begun)
    selector.unregister(connection.sock)
    if waiting:
        connection.begin(waiting.popleft())
        _register(selector, connection)
    else:
        connection.sock.close()


def _register(selector: selectors.BaseSelector, connection: Connection) -> None:
    events = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.unsent else 0)
    selector.register(connection.sock, events, connection)


def main(port: int, path: str, count: int, connections: int, as_form: bool) -> None:
    """The program."""
    secret = sys.stdin.readline().strip()
    waiting = deque(request(sent, path, secret, as_form) for sent in deliveries(count))
    size = sum(map(len, waiting)) / count
    codes, seconds, whole = deliver(port, waiting, connections)
    seconds.sort()
    percentiles = {f"p{p} ms": seconds[min(len(seconds) - 1, len(seconds) * p // 100)] * 1000 for p in (50, 99, 100) if seconds}
    print(json.dumps({"codes": codes, "seconds": whole, "bytes": size, **percentiles}))


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), int(sys.argv[4]), sys.argv[5] == "form")
