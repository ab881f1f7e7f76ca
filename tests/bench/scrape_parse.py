"""CPU time of reading one exposition: `python -m tests.bench.scrape_parse [--lines N] [--json]`."""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Callable

import anyio
import httpx

from agent.model import Collected
from agent.plugin import Context
from agent.sources.scrape import Options, build

SERIES_PER_FAMILY = 100
CHANGED = 0.2


def exposition(values: list[float], extra: str = "") -> bytes:
    """One line per value, 100 to a family, labels of realistic length."""
    lines = []
    for number, value in enumerate(values):
        family = number // SERIES_PER_FAMILY
        if number % SERIES_PER_FAMILY == 0:
            lines += [f"# HELP bench_family_{family}_total What it counts.", f"# TYPE bench_family_{family}_total counter"]
        labels = f'namespace="team-{number % 7}",pod="worker-{number:06d}",container="main{extra}",path="/api/v1/things"'
        lines.append(f"bench_family_{family}_total{{{labels}}} {value!r}")
    return "\n".join(lines).encode() + b"\n"


async def cost(collect: Callable[[object], object], cursor: object) -> tuple[Collected, float]:
    """What a collect brings and its CPU seconds."""
    begun = time.process_time()
    collected = await collect(cursor)  # type: ignore[misc]
    return collected, time.process_time() - begun


async def measure(lines: int) -> dict[str, float]:
    """CPU milliseconds of each kind of scrape."""
    rng = random.Random(1)
    values = [float(rng.randrange(1 << 30)) for _ in range(lines)]
    bodies = {"first": exposition(values), "unchanged": exposition(values)}
    for place in rng.sample(range(lines), int(lines * CHANGED)):
        values[place] += rng.randrange(1, 1000)
    bodies["changed_20_percent"] = exposition(values)
    bodies["all_changed"] = exposition([value + 1 for value in values])
    bodies["one_line_more"] = bodies["all_changed"] + b"bench_more 1\n"
    bodies["all_labels_new"] = exposition(values, "-2")
    answers = iter(bodies.values())
    transport = httpx.MockTransport(lambda request: httpx.Response(200, stream=httpx.ByteStream(next(answers))))
    options = Options.model_validate({"targets": [{"url": "http://127.0.0.1:9/metrics"}]})
    source = build("bench", options, Context(time.time, "cipush", "bench", "bench"), transport)
    collect = source.pollers()[0].collect
    cursor: object = None
    results = {}
    for name in bodies:
        collected, seconds = await cost(collect, cursor)
        cursor = collected.cursor
        results[name] = round(seconds * 1000, 1)
        results[f"{name}_updates"] = len(collected.updates)
    await source.aclose()
    return results


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--lines", type=int, default=100_000)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    results = anyio.run(measure, arguments.lines)
    if arguments.json:
        print(json.dumps({"lines": arguments.lines, "cpu_ms": results}))
        return
    for name, value in results.items():
        print(f"{name:28} {value:10}")


if __name__ == "__main__":
    main()
