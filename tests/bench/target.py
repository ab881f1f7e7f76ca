"""A scrape target in a process of its own: `python -m tests.bench.target SERIES DATASET`.

Prints its port, then serves `/metrics` to one client after another. A fifth of the rows has a new value in each answer;
the next answer is made as soon as one has been sent, so that nobody waits for it.
"""

from __future__ import annotations

import socket
import sys
from collections.abc import Iterator

from agent.model import Update
from agent.wire.exposition import format_value, header, histogram_samples, series_text
from tests.bench.datasets import DATASETS, Regular, Varied

CHANGED_EVERY = 5


def lines(update: Update) -> str:
    """A row as text."""
    family = update.family
    pairs = list(zip(family.labels, update.labels, strict=True))
    if isinstance(update.value, (int, float)):
        return f"{series_text(family.name, pairs)} {format_value(update.value)}\n"
    *buckets, total, observed = update.value
    samples = histogram_samples(family.name, family.buckets, (*buckets, total, observed))
    return "".join(f"{series_text(name, [*pairs, ('le', bound)])} {format_value(value)}\n" for name, bound, value in samples)


def bodies(data: Regular | Varied) -> Iterator[bytes]:
    """Answers without end."""
    families = [data.update(row, 0, 0.0).family for row in range(data.rows)]
    rows = [lines(data.update(row, 0, 0.0)) for row in range(data.rows)]
    places = [place for place in range(data.rows) if not place or families[place] is not families[place - 1]]
    heads = {place: header(families[place].name, families[place].kind, families[place].help, "", False) for place in places}
    seed = 0
    while True:
        yield "".join([heads.get(place, "") + text for place, text in enumerate(rows)]).encode()
        seed += 1
        for row in range(seed % CHANGED_EVERY, data.rows, CHANGED_EVERY):
            rows[row] = lines(data.update(row, seed, 0.0))


def main(series: int, dataset: str) -> None:
    """Serve until killed."""
    answers = bodies(DATASETS[dataset](series))
    with socket.create_server(("127.0.0.1", 0)) as server:
        body = next(answers)
        print(server.getsockname()[1], flush=True)
        while True:
            connection, _ = server.accept()
            with connection:
                connection.recv(1 << 16)
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {len(body)}\r\n"
                connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + body)
            body = next(answers)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2])
