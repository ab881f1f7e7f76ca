"""What stands at both ends of an agent: `python -m tests.bench.null_receiver LINES FILE [PORT]`.

Prints its port. `GET /t0` and so on are scrape targets, one of five ready-made answers after the other, a fifth of whose rows
changes each time; `POST` is answered 204 and its body kept in FILE, to be decoded after the fact; `GET /served` tells how often
each target was asked, as a JSON object.
"""

from __future__ import annotations

import json
import struct
import sys
import threading
import time
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import islice
from pathlib import Path

from tests.bench.datasets import Regular
from tests.bench.target import CHANGED_EVERY, bodies

FRAME = struct.Struct("<4sId")
"""Encoding, zero-padded, length, and time of arrival, seconds since the epoch, of a body in the file."""


def handler(answers: list[bytes], file: Path) -> type[BaseHTTPRequestHandler]:
    """The two ends as one request handler; every body appended to `file`."""
    served: Counter[str] = Counter()
    lock = threading.Lock()
    out = file.open("ab", buffering=0)

    class Ends(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            if self.path == "/served":
                return self._answer(json.dumps(served).encode())
            with lock:
                body = answers[served[self.path] % len(answers)]
                served[self.path] += 1
            self._answer(body)
            return None

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            encoding = self.headers.get("Content-Encoding", "").encode()[:4]
            with lock:
                out.write(FRAME.pack(encoding, len(body), time.time()) + body)
            self.send_response(204)
            self.end_headers()

        def _answer(self, body: bytes) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    return Ends


def main(lines: int, file: Path, port: int) -> None:
    """Serve until killed; port 0 takes a free one."""
    answers = list(islice(bodies(Regular(lines)), CHANGED_EVERY))
    with ThreadingHTTPServer(("127.0.0.1", port), handler(answers, file)) as server:
        print(server.server_port, flush=True)
        server.serve_forever()


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else 0)
