"""Whatever happens in a repository and to the agent, each attempt that ended is reported in the end."""

from __future__ import annotations

import anyio
import httpx
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from trio.testing import MockClock

from agent.errors import CollectError
from tests.github_api import Attempt, GitHub, Poll, Repository, Run, clock, finished, job_list

RUNS = "/repos/acme/shop/actions/runs"

steps = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["begin", "burst", "restart"])),
        st.tuples(st.sampled_from(["end", "rerun", "break"]), st.integers(0, 300)),
        st.tuples(st.just("poll"), st.sampled_from(["commits", "commits", "commit fails"])),
        st.tuples(st.just("sleep"), st.sampled_from([1, 60, 700, 4000, 90_000])),
    ),
    max_size=40,
)


class World:
    """A repository, its poller, and what has to be counted."""

    def __init__(self) -> None:
        self.shop = Repository(1, "acme/shop")
        self.github = GitHub(self.shop)
        self.poll = Poll(self.github)
        self.number = 0

    def begin(self) -> None:
        self.number += 1
        self.shop.runs.append(Run(self.number, clock(), [Attempt(clock(), None, job_list(self.number * 1000, 1, "queued"))]))

    def burst(self) -> None:
        for _ in range(60):
            self.number += 1
            self.shop.runs.append(finished(self.number, clock(), 0))

    def restart(self) -> None:
        self.poll.restart()

    def end(self, which: int) -> None:
        if self.shop.runs:
            run = self.shop.runs[which % len(self.shop.runs)]
            last = run.attempts[-1]
            if last.ended is None:
                run.attempts[-1] = Attempt(last.began, clock(), job_list(run.id * 1000 + len(run.attempts), 1))

    def rerun(self, which: int) -> None:
        if self.shop.runs:
            run = self.shop.runs[which % len(self.shop.runs)]
            if run.attempts[-1].ended is not None:
                run.attempts.append(Attempt(clock(), None, []))

    def break_(self, which: int) -> None:
        paths = [RUNS, f"{RUNS}/{which}/attempts/1/jobs", "/repos/acme/shop/actions/workflows"]
        self.github.script[paths[which % 3]] = [httpx.Response(500) for _ in range(3)]

    async def look(self, *, commits: bool) -> None:
        try:
            await self.poll(commits=commits)
        except CollectError as error:
            assert error.kind == "status"  # noqa: PT017  what was broken on purpose may fail, and nothing else

    def expected(self) -> set[str]:
        ended = {(run.id, number) for run in self.shop.runs for number, at in enumerate(run.attempts, 1) if at.ended is not None}
        return {f"run:{run}:{number}" for run, number in ended}


async def lived(plan: list[tuple[str, object]]) -> World:
    """A world after all that, and two hours of polls."""
    world = World()
    await world.look(commits=True)
    for name, *arguments in plan:
        if name == "sleep":
            await anyio.sleep(arguments[0])  # type: ignore[arg-type]
        elif name == "poll":
            await world.look(commits=arguments[0] == "commits")
        else:
            await anyio.sleep(1)
            getattr(world, "break_" if name == "break" else name)(*arguments)
    world.github.script.clear()
    for _ in range(60):
        await anyio.sleep(120)
        await world.look(commits=True)
    return world


@settings(max_examples=60)
@given(steps)
def test_every_attempt_that_ended_is_reported(plan: list[tuple[str, object]]) -> None:
    world = trio.run(lived, plan, clock=MockClock(autojump_threshold=0))

    assert {key for key in world.poll.keys if key.startswith("run")} == world.expected()
    assert world.poll.problem == ""
