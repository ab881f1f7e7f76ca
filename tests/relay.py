"""A TCP relay in front of a real receiver, that a test may close, slow down or cut at any moment."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum

LOOK_SECONDS = 0.1
"""How often a connection looks whether the mode has changed."""
SLOW_SECONDS = 0.05
CHUNK = 1 << 16


class Through(Enum):
    """What the relay does with connections, open ones too."""

    OPEN = "open"
    SLOW = "slow"
    """Every answer is held back a little."""
    CUT = "cut"
    """The receiver gets the request, and the connection ends before its answer is passed on."""
    SHUT = "shut"
    """Connections are closed at once."""
    HANG = "hang"
    """Connections are accepted, and nothing more happens."""


class Relay:
    """Listens on a free loopback port and passes on to `port`."""

    def __init__(self, port: int) -> None:
        self.through = Through.OPEN
        self._port = port
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.settimeout(LOOK_SECONDS)

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        """Accept until `close`."""
        connections: list[threading.Thread] = []
        with self._listener:
            while not self._closed.is_set():
                with suppress(TimeoutError):
                    client, _ = self._listener.accept()
                    connections.append(threading.Thread(target=self._pass_on, args=(client,)))
                    connections[-1].start()
                connections = [connection for connection in connections if connection.is_alive()]
        for connection in connections:
            connection.join()

    def close(self) -> None:
        """Stop accepting and end every connection."""
        self._closed.set()

    def _pass_on(self, client: socket.socket) -> None:
        # Either side may go away at any moment.
        with client, suppress(OSError):
            while self.through is Through.HANG and not self._closed.wait(LOOK_SECONDS):
                pass
            if self.through is Through.SHUT:
                return
            with socket.create_connection(("127.0.0.1", self._port)) as server:
                answers = threading.Thread(target=self._answers, args=(server, client))
                answers.start()
                try:
                    self._requests(client, server)
                finally:
                    with suppress(OSError):
                        server.shutdown(socket.SHUT_RDWR)
                    answers.join()

    def _requests(self, client: socket.socket, server: socket.socket) -> None:
        client.settimeout(LOOK_SECONDS)
        while not self._closed.is_set() and self.through is not Through.SHUT:
            if self.through is Through.HANG:
                self._closed.wait(LOOK_SECONDS)
                continue
            with suppress(TimeoutError):
                if not (data := client.recv(CHUNK)):
                    return
                server.sendall(data)

    def _answers(self, server: socket.socket, client: socket.socket) -> None:
        with suppress(OSError):
            while data := server.recv(CHUNK):
                if self.through is Through.SLOW:
                    self._closed.wait(SLOW_SECONDS)
                if self.through in (Through.CUT, Through.SHUT):
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)


@contextmanager
def relay(port: int) -> Iterator[Relay]:
    """A relay to a loopback port, closed when the block ends."""
    found = Relay(port)
    thread = threading.Thread(target=found.serve)
    thread.start()
    try:
        yield found
    finally:
        found.close()
        thread.join()
