"""What a null receiver wrote down, decoded after the fact."""

from __future__ import annotations

from array import array
from pathlib import Path

from agent.model import Encoding
from agent.wire.compress import decompress
from agent.wire.remote_write_pb2 import WriteRequest
from tests.bench.null_receiver import FRAME

OWN = "ci_"
"""How the names of the targets' series begin; agents add series of their own, which are not counted."""


class Arrived:
    """Requests, bytes and the targets' samples in a file of a null receiver.

    `late`: (timestamp in ms, arrival in seconds) of the newest sample of each request.
    """

    def __init__(self, file: Path) -> None:
        self.requests = self.bytes = self.samples = 0
        self.stamps = array("q")
        self.arrivals = array("d")
        seen: set[int] = set()
        data, at = file.read_bytes(), 0
        while at + FRAME.size <= len(data):
            encoding, length, arrival = FRAME.unpack_from(data, at)
            body = data[at + FRAME.size : at + FRAME.size + length]
            at += FRAME.size + length
            self.requests, self.bytes = self.requests + 1, self.bytes + length
            plain = decompress(body, Encoding.ZSTD if encoding == b"zstd" else Encoding.SNAPPY)
            for series in WriteRequest.FromString(plain).timeseries:
                labels = tuple((label.name, label.value) for label in series.labels)
                if any(name == "__name__" and value.startswith(OWN) for name, value in labels):
                    key = hash(labels)
                    for sample in series.samples:
                        seen.add(hash((key, sample.timestamp)))
                        self.samples += 1
                        self.stamps.append(sample.timestamp)
                        self.arrivals.append(arrival)
        self.distinct = len(seen)
        """Samples that are not the same one sent again."""
