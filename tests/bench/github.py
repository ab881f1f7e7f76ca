"""Requests to GitHub's API for one poll of an organisation, idle and busy: `python -m tests.bench.github --json`.

The simulated GitHub stands in for the real one, an hour of it is polled once a minute, and nothing is waited for. What is
answered 304 is free of the primary rate limit; what costs is `charged`.
"""

from __future__ import annotations

import argparse
import time
from collections import Counter
from collections.abc import Callable

import anyio

from agent.model import Poller
from agent.plugin import Context
from agent.sim.github.api import TOKEN, Asked, GithubApi
from agent.sim.github.log import Log
from agent.sim.github.world import World, build
from agent.sim.inside import Inside
from agent.sources.github.options import Options
from agent.sources.github.source import GithubSource
from tests.bench.report import Row, show

POLLS = 60
INTERVAL_SECONDS = 60
WARM_POLLS = 3
"""Before the measurement: the first reads everything."""
WEDNESDAY_NOON = 2 * 86_400 + 12 * 3600
"""Into the world's week."""


def collector(world: World, api: GithubApi, clock: Callable[[], float]) -> Poller:
    """What lists the runs of the whole organisation, as the agent calls it."""
    options = Options.model_validate({"url": "http://localhost", "token": TOKEN, "organizations": [world.owner]})
    source = GithubSource("github", options, Context(clock, "cipush", "bench", "bench"), Inside(api))
    return next(poller for poller in source.pollers() if poller.name == "runs")


async def measure(name: str, world: World, begin: float) -> Row:
    """One hour from `begin` on, seconds since the epoch."""
    now = [begin]
    api = GithubApi(world, Log(), lambda: now[0])
    runs = collector(world, api, lambda: now[0])
    cursor: object = None
    for _ in range(WARM_POLLS):
        cursor = (await runs.collect(cursor)).cursor
        now[0] += INTERVAL_SECONDS
    polls: list[list[Asked]] = []
    began, observed = time.process_time(), 0
    for _ in range(POLLS):
        api.requests.clear()
        collected = await runs.collect(cursor)
        if collected.problem:
            raise RuntimeError(collected.problem)
        cursor = collected.cursor
        observed += len(collected.observations)
        polls.append(list(api.requests))
        now[0] += INTERVAL_SECONDS
    return row(name, world, polls) | {"observations": observed, "cpu_ms": (time.process_time() - began) / POLLS * 1000}


def row(name: str, world: World, polls: list[list[Asked]]) -> Row:
    """The figures of some polls, mean of one unless they say otherwise."""
    asked = [request for poll in polls for request in poll]
    idle = _idle(world, polls)
    of_idle = [Counter(path for request in poll if (path := _repository(request)) in idle) for poll in polls]
    return {
        "organisation": name,
        "repositories": len(world.repositories),
        "idle_repositories": len(idle),
        "requests": len(asked) / len(polls),
        "not_modified": sum(request.status == 304 for request in asked) / len(polls),
        "charged": sum(request.status != 304 for request in asked) / len(polls),
        "charged_in_the_hour": sum(request.status != 304 for request in asked),
        "most_in_a_poll": max(map(len, polls)),
        "of_an_idle_repository": sum(found.total() for found in of_idle) / len(polls) / len(idle),
        "polls_with_more_than_one_of_it": sum(max(found.values()) > 1 for found in of_idle),
    }


def _idle(world: World, polls: list[list[Asked]]) -> set[str]:
    """Where nothing happens in the time of these polls, and has not for an hour."""
    begin, end = polls[0][0].at - 3600, polls[-1][-1].at
    return {
        f"/repos/{name}"
        for name, runs in world.of_repository.items()
        if not any(each.started <= end and max(each.completed, each.touched) >= begin for run in runs for each in run.attempts)
    }


def _repository(request: Asked) -> str:
    return "/".join(request.path.split("/")[:4])


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repositories", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=50_000, help="in the busy organisation's week")
    parser.add_argument("--json", action="store_true", help="one JSON object instead of the table")
    args = parser.parse_args()
    busy = build(1, repositories=args.repositories, jobs=args.jobs)
    rows = [
        anyio.run(measure, "idle", busy, float(busy.end + 2 * 86_400)),
        anyio.run(measure, "busy", busy, float(busy.start + WEDNESDAY_NOON)),
    ]
    show(rows, as_json=args.json, bench="github")


if __name__ == "__main__":
    main()
