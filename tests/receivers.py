"""What tests of the embedded receiver share: requests to send to it and its answers."""

from __future__ import annotations

import httpx
import snappy

from agent.wire import remote_write_pb2

NOW = 1_700_000_000.0
"""The receiver's clock, seconds since the epoch."""
NOW_MS = 1_700_000_000_000
UP = (("__name__", "up"), ("job", "ci"))


def message(*series: tuple[tuple[tuple[str, str], ...], list[tuple[int, float]]]) -> bytes:
    request = remote_write_pb2.WriteRequest()
    for labels, points in series:
        entry = request.timeseries.add()
        for name, value in labels:
            entry.labels.add(name=name, value=value)
        for time, number in points:
            entry.samples.add(timestamp=time, value=number)
    return request.SerializeToString()


def written(*series: tuple[tuple[tuple[str, str], ...], list[tuple[int, float]]]) -> bytes:
    return bytes(snappy.compress(message(*series)))


async def values(client: httpx.AsyncClient, query: str) -> dict[str, str]:
    answer = await client.get("/api/v1/query", params={"query": query})
    return {found["metric"]["__name__"]: found["value"][1] for found in answer.json()["data"]["result"]}
