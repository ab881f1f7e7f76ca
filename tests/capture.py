"""Both ends of a sender under test, on loopback: pages to scrape, and a receiver that keeps every request as it came."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Pairs = tuple[tuple[str, str], ...]

OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"
TEXT = "text/plain; version=0.0.4; charset=utf-8"
POLL_SECONDS = 0.02
"""How soon a server notices that it is to close."""


@dataclass(frozen=True)
class Request:
    """One request as it was read from the connection."""

    method: str
    path: str
    headers: Pairs
    body: bytes
    at: float
    """When its last byte was read, by the monotonic clock, in seconds."""

    def values(self, name: str) -> list[str]:
        """Every header of that name, in order."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def value(self, name: str) -> str:
        """The one header of that name; the test fails where there is none, or more."""
        [value] = self.values(name)
        return value


@dataclass(frozen=True)
class Answer:
    """What a request is answered with."""

    code: int = 204
    headers: Pairs = ()
    body: bytes = b""
    raw: bytes | None = None
    """Sent instead of all that; then the connection is closed."""
    seconds: float = 0.0
    """Before the answer, or until the receiver closes."""
    open_seconds: float = 0.0
    """The same between `raw` and the end of the connection."""

    def encoded(self) -> bytes:
        """The answer as it is sent."""
        if self.raw is not None:
            return self.raw
        length = () if self.code == 204 else (("Content-Length", str(len(self.body))),)
        lines = [f"HTTP/1.1 {self.code} Scripted", *[f"{name}: {value}" for name, value in (*self.headers, *length)]]
        return "\r\n".join([*lines, "", ""]).encode() + self.body


Script = Callable[[Request, int], Answer]
"""The answer to a request, and how many came before it."""


class Receiver:
    """Answers by its script, one request at a time; `requests` holds what came, in the order of arrival."""

    def __init__(self, script: Script) -> None:
        self.requests: list[Request] = []
        self.unread: list[Request] = []
        """Those whose answer could not be sent to its end."""
        self.script = script
        self.closing = threading.Event()
        self._lock = threading.Lock()
        self._server = _server(self._handler())

    @property
    def url(self) -> str:
        """Where to post."""
        return f"http://127.0.0.1:{self._server.server_port}/api/v1/write"

    def take(self, request: Request) -> Answer:
        """Keep a request and decide what to say."""
        with self._lock:
            self.requests.append(request)
            return self.script(request, len(self.requests) - 1)

    def _handler(receiver) -> type[BaseHTTPRequestHandler]:  # noqa: N805  the handler has a self of its own
        class Handler(_Quiet):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
                request = Request(self.command, self.path, tuple(self.headers.items()), body, time.monotonic())
                answer = receiver.take(request)
                receiver.closing.wait(answer.seconds)
                self.close_connection = answer.raw is not None
                try:
                    self.wfile.write(answer.encoded())
                    receiver.closing.wait(answer.open_seconds)
                except OSError:  # the sender would not wait, or not read so much
                    receiver.unread.append(request)
                    self.close_connection = True

            def do_GET(self) -> None:  # a sender that asks instead of posting is to be seen too
                self.do_POST()

            def do_PUT(self) -> None:
                self.do_POST()

        return Handler

    @contextmanager
    def serving(self) -> Iterator[Receiver]:
        """Listen while the block runs."""
        with _serving(self._server):
            yield self
            self.closing.set()


Page = Callable[[int], str]
"""The exposition, from the number of scrapes before it; OpenMetrics where it ends in `# EOF`, "" = an error."""


class Pages:
    """Serves expositions by path, and counts how often each was read."""

    def __init__(self, pages: Mapping[str, Page]) -> None:
        self._pages = pages
        self.scrapes = dict.fromkeys(pages, 0)
        self._server = _server(self._handler())

    @property
    def address(self) -> str:
        """host:port, the `instance` label of what is scraped here."""
        return f"127.0.0.1:{self._server.server_port}"

    def _handler(pages) -> type[BaseHTTPRequestHandler]:  # noqa: N805  the handler has a self of its own
        class Handler(_Quiet):
            def do_GET(self) -> None:
                name = self.path.removeprefix("/")
                text = pages._pages[name](pages.scrapes[name])
                kind = OPENMETRICS if text.endswith("# EOF\n") else TEXT
                self.wfile.write(Answer(200 if text else 500, (("Content-Type", kind),), text.encode()).encoded())
                pages.scrapes[name] += 1

        return Handler

    @contextmanager
    def serving(self) -> Iterator[Pages]:
        """Listen while the block runs."""
        with _serving(self._server):
            yield self


@contextmanager
def receivers(scripts: Mapping[str, Script]) -> Iterator[dict[str, Receiver]]:
    """One receiver for each script, each on a port of its own."""
    with ExitStack() as stack:
        yield {name: stack.enter_context(Receiver(script).serving()) for name, script in scripts.items()}


class _Quiet(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # the default of 5 drops connections when many targets are scraped at once


def _server(handler: type[BaseHTTPRequestHandler]) -> _Server:
    return _Server(("127.0.0.1", 0), handler)


@contextmanager
def _serving(server: _Server) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, args=(POLL_SECONDS,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
