"""A target whose values tell which scrape they are of, and the proof that a receiver holds every one of them."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from tests.servers import Series

NAME = "counted"


class CountingTarget:
    """Serves `series` gauges; the value of each is the number of the scrape, from 1."""

    def __init__(self, series: int) -> None:
        self.series = series
        self.scrapes = 0
        self._lines = [f'{NAME}{{i="{i:05}"}} %d\n' for i in range(series)]
        self._page = "".join(self._lines)
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True

    @property
    def url(self) -> str:
        """Where the text is."""
        return f"http://127.0.0.1:{self._server.server_port}/metrics"

    def serve(self) -> None:
        """Answer until `close`."""
        self._server.serve_forever(poll_interval=0.05)

    def close(self) -> None:
        """Stop answering and free the port."""
        self._server.shutdown()
        self._server.server_close()

    def _body(self) -> bytes:
        with self._lock:
            self.scrapes += 1
            return self._page.replace("%d", str(self.scrapes)).encode()

    def _handler(target) -> type[BaseHTTPRequestHandler]:  # noqa: N805  the handler has a self of its own
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = target._body()
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:
                pass

        return Handler


@contextmanager
def counting_target(series: int) -> Iterator[CountingTarget]:
    """A target on a free loopback port, closed when the block ends."""
    served = CountingTarget(series)
    thread = threading.Thread(target=served.serve)
    thread.start()
    try:
        yield served
    finally:
        served.close()
        thread.join()


class Held:
    """What a receiver holds of a counting target's series: time in milliseconds -> the number of its scrape.

    The test fails where a time has two numbers, in one series or in two of them.
    """

    def __init__(self, found: Iterable[Series], series: int) -> None:
        self.scrapes: dict[int, int] = {}
        self.repeats = 0
        """Samples that are there more than once, identically."""
        self._series = series
        self._holders: dict[int, set[str]] = {}
        for one in found:
            for value, at in zip(one.values, one.timestamps_ms, strict=True):
                number = self.scrapes.setdefault(at, int(value))
                assert number == value, f"{one.labels} holds {value} at {at}, others hold {number}"
                holders = self._holders.setdefault(at, set())
                self.repeats += one.labels["i"] in holders
                holders.add(one.labels["i"])

    @property
    def samples(self) -> int:
        """Distinct (series, time) pairs."""
        return sum(map(len, self._holders.values()))

    def missing(self, times_ms: Iterable[int]) -> dict[int, int]:
        """Of these times, those that are not there in every series: in how many they are missing."""
        counts = {at: self._series - len(self._holders.get(at, ())) for at in times_ms}
        return {at: count for at, count in counts.items() if count}

    def gaps(self, first: int, last: int) -> set[int]:
        """Scrapes from `first` to `last` of which something is missing."""
        whole = {self.scrapes[at] for at, holders in self._holders.items() if len(holders) == self._series}
        return set(range(first, last + 1)) - whole
