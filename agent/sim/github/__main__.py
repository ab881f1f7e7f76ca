"""`python -m agent.sim.github`: a simulated GitHub to point an agent at, on a free port unless told otherwise.

The world's clock runs from `--now` (default: the end of the world, when all is done) at `--speed` times the real one's pace.
With `--deliver-to URL` it also sends the webhooks of what happens from then on, signed with `--secret`.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import anyio
import httpx

from agent.sim.github import faults
from agent.sim.github.api import PER_HOUR, TOKEN, GithubApi
from agent.sim.github.deliveries import announcements
from agent.sim.github.sender import FORM, JSON, Sender, paced
from agent.sim.github.world import MONDAY, WEEK, World, build
from agent.sim.weather import CALM, Showers
from agent.web import server


def arguments(words: list[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m agent.sim.github", description="a simulated GitHub")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0, help="0 = a free one, which is printed")
    parser.add_argument("--prefix", default="", help="before every path, such as /api/v3")
    parser.add_argument("--token", default=TOKEN, help="a personal access token that is good")
    parser.add_argument("--per-hour", type=int, default=PER_HOUR, help="the primary rate limit")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--repositories", type=int, default=200)
    parser.add_argument("--jobs", type=int, default=50_000)
    parser.add_argument("--start", type=int, default=MONDAY, help="when the world begins, seconds since the epoch")
    parser.add_argument("--seconds", type=int, default=WEEK, help="within how many seconds runs begin")
    parser.add_argument("--no-approvals", action="store_true", help="no deployment waits for an approval")
    parser.add_argument("--haste", type=float, default=1.0, help="how many times faster than usual everything goes")
    parser.add_argument("--now", type=float, help="the world's time when this starts; default: its end")
    parser.add_argument("--speed", type=float, default=1.0, help="seconds of the world in one real second")
    parser.add_argument("--deliver-to", default="", metavar="URL", help="where webhooks are sent")
    parser.add_argument("--secret", default="", help="what they are signed with")
    parser.add_argument("--form", action="store_true", help="send them as forms instead of JSON")
    parser.add_argument("--rough", action="store_true", help="lose, repeat, delay and reorder some")
    parser.add_argument("--showers", type=float, default=0.0, help="the share of the API's requests that something befalls")
    return parser.parse_args(words)


def clock(now: float, speed: float) -> Callable[[], float]:
    """A clock that shows `now` and runs on at so many times the real one's pace."""
    began = time.monotonic()
    return lambda: now + (time.monotonic() - began) * speed


async def run(world: World, options: argparse.Namespace) -> None:
    """Serve until cancelled, and deliver if asked to."""
    now = clock(world.end + 60.0 if options.now is None else options.now, options.speed)
    weather = faults.ROUGH if options.rough else CALM
    planned = faults.shipments(announcements(world), weather, options.seed)
    begin = now() if options.deliver_to else float("inf")
    sender = Sender(world, options.secret, form=FORM if options.form else JSON)
    for shipment in planned:
        if shipment.at < begin:
            sender.log.add(shipment)
    api = GithubApi(
        world,
        sender.log,
        now,
        tokens=(options.token,),
        per_hour=options.per_hour,
        prefix=options.prefix,
        showers=Showers(options.showers, faults.TROUBLE, options.seed),
    )
    async with anyio.create_task_group() as tasks, httpx.AsyncClient(timeout=None, trust_env=False) as client:
        address = await tasks.start(server.serve, api, f"{options.host}:{options.port}")
        print(f"http://{address}{options.prefix}", flush=True)
        if options.deliver_to:
            coming = (shipment for shipment in planned if shipment.at >= begin)
            await sender.post(client, options.deliver_to, coming, paced(now, options.speed))


def main() -> None:
    """The program."""
    options = arguments()
    world = build(
        options.seed,
        start=options.start,
        seconds=options.seconds,
        repositories=options.repositories,
        jobs=options.jobs,
        approvals=not options.no_approvals,
        haste=options.haste,
    )
    anyio.run(run, world, options)


if __name__ == "__main__":
    main()
