"""`python -m agent.sim.gitlab`: a simulated GitLab to point an agent at, on a free port unless told otherwise.

The world's clock runs from `--now` (default: the end of the world, when all is done) at `--speed` times the real one's pace.
With `--deliver-to URL` it also sends the webhooks of what happens from then on, with the secret token `--secret`.
"""

from __future__ import annotations

import argparse
import gc
import time

import anyio
import httpx

from agent.sim.github.sender import paced
from agent.sim.gitlab import faults, flat, world
from agent.sim.gitlab.announcements import announcements
from agent.sim.gitlab.api import GitlabApi
from agent.sim.gitlab.limits import Limits, none
from agent.sim.gitlab.places import World
from agent.sim.gitlab.profile import PROFILES
from agent.sim.gitlab.sender import Sender
from agent.sim.weather import CALM, Showers
from agent.web import server


class Clock:
    """The world's time: it runs on from some moment at so many times the real one's pace, and can be set."""

    def __init__(self, now: float, speed: float) -> None:
        self._speed = speed
        self.set(now)

    def set(self, now: float) -> None:
        """It shows that from here on."""
        self._now, self._began = now, time.monotonic()

    def __call__(self) -> float:
        """Seconds since the epoch."""
        return self._now + (time.monotonic() - self._began) * self._speed


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m agent.sim.gitlab", description="a simulated GitLab")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = a free one, which is printed")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--projects", type=int, default=100)
    parser.add_argument("--pipelines", type=int, default=2_000, help="in all; with --jobs: in each project")
    parser.add_argument("--jobs", type=int, default=0, help="not 0: a world for load, every pipeline with so many jobs")
    parser.add_argument("--steady", type=float, default=0.0, help="of such a world: the share of projects with one pipeline more")
    parser.add_argument("--rounds", type=int, default=0, help="of such a world: how often, every 600 s")
    parser.add_argument("--start", type=int, default=flat.MONDAY, help="when the world begins, seconds since the epoch")
    parser.add_argument("--seconds", type=int, default=world.WEEK, help="within how many seconds pipelines begin")
    parser.add_argument("--haste", type=float, default=1.0, help="how many times faster than usual everything goes")
    parser.add_argument("--now", type=float, help="the world's time when this starts; default: its end")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of the world in one real second")
    parser.add_argument("--latency", type=float, default=0.0, help="seconds that every answer takes")
    parser.add_argument("--profile", choices=tuple(PROFILES), default="18-ee", help="version and edition")
    parser.add_argument("--limits", action="store_true", help="limit requests as gitlab.com does")
    parser.add_argument("--no-graphql", action="store_true", help="have no GraphQL")
    parser.add_argument("--deliver-to", default="", metavar="URL", help="where webhooks are sent")
    parser.add_argument("--secret", default="", help="their secret token")
    parser.add_argument("--rough", action="store_true", help="lose, repeat, delay and reorder some")
    parser.add_argument("--showers", type=float, default=0.0, help="the share of requests that something befalls")
    return parser.parse_args(words)


def made(options: argparse.Namespace) -> World:
    """The world that the command line asks for."""
    if options.jobs:
        return flat.flat(
            options.projects,
            options.pipelines,
            options.jobs,
            start=options.start,
            steady=options.steady,
            rounds=options.rounds,
        )
    return world.build(
        options.seed,
        start=options.start,
        seconds=options.seconds,
        projects=options.projects,
        pipelines=options.pipelines,
        haste=options.haste,
    )


async def run(shown: World, options: argparse.Namespace) -> None:
    """Serve until cancelled, and deliver if asked to."""
    now = Clock(shown.end + 60.0 if options.now is None else options.now, options.speed)
    api = GitlabApi(
        shown,
        now,
        profile=PROFILES[options.profile],
        limits=Limits() if options.limits else none(),
        latency=options.latency,
        showers=Showers(options.showers, faults.TROUBLE, options.seed),
        set_clock=now.set,
    )
    api.has_graphql = not options.no_graphql
    async with anyio.create_task_group() as tasks, httpx.AsyncClient(timeout=None, trust_env=False) as client:
        address = await tasks.start(lambda **told: server.serve(api, f"{options.host}:{options.port}", dates=False, **told))
        print(f"http://{address}", flush=True)
        if options.deliver_to:
            begin = now()
            planned = faults.shipments(announcements(shown), faults.ROUGH if options.rough else CALM, options.seed)
            coming = (shipment for shipment in planned if shipment.at >= begin)
            await Sender(shown, options.secret).post(client, options.deliver_to, coming, paced(now, options.speed))


def main() -> None:
    """The program."""
    options = arguments()
    shown = made(options)
    gc.collect()
    gc.freeze()  # what never changes need not be looked through again and again
    anyio.run(run, shown, options)


if __name__ == "__main__":
    main()
