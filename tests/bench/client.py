"""Asks an agent for `/metrics`, in a process of its own: `python tests/bench/client.py PORT`.

Every line on stdin is an Accept header and an Accept-Encoding, with a tab between them. The answer is read as fast
as it comes and not kept; its length, and the seconds to its first and last byte are printed.
"""

from __future__ import annotations

import sys
import time
from http.client import HTTPConnection

CHUNK = 1 << 16


def ask(port: int, accept: str, encoding: str) -> tuple[int, float, float]:
    """Bytes, seconds to the first and to the last of them."""
    connection = HTTPConnection("127.0.0.1", port, timeout=120)
    begun = time.perf_counter()
    connection.request("GET", "/metrics", headers={"Accept": accept, "Accept-Encoding": encoding})
    response = connection.getresponse()
    taken, first = len(response.read1(CHUNK)), time.perf_counter() - begun
    while chunk := response.read1(CHUNK):
        taken += len(chunk)
    connection.close()
    return taken, first, time.perf_counter() - begun


if __name__ == "__main__":
    for line in sys.stdin:
        print(*ask(int(sys.argv[1]), *line.rstrip("\n").split("\t")), flush=True)
