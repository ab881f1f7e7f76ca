"""One GitLab source, what its ledger holds, and the simulated world it observes, all on a virtual clock."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from random import Random
from typing import Any

import anyio

from agent.errors import CollectError, DeliveryError
from agent.model import Collected, Delivery, Observation, Poller, Update
from agent.plugin import Context
from agent.sim.gitlab.api import GitlabApi
from agent.sim.gitlab.faults import TROUBLE
from agent.sim.gitlab.flat import TOKEN
from agent.sim.gitlab.places import World
from agent.sim.gitlab.profile import EE_18, Profile
from agent.sim.inside import Inside
from agent.sim.weather import Showers
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.source import GitlabSource
from tests.github_truth import Tally

HOUR = 3600.0
SECRET = "It is a secret"


class Observer:
    """Polls and hears as the agent does.

    `trouble`: the share of requests, commits and polls that fail; five times as rarely the agent dies. `heard`: (when,
    delivery) of everything that the hook sends, in order. `skew`: by how many seconds the agent's clock is ahead.
    """

    def __init__(
        self,
        world: World,
        options: Mapping[str, Any],
        *,
        trouble: float = 0.0,
        profile: Profile = EE_18,
        heard: Iterable[Delivery] = (),
        step: float = 30.0,
        skew: float = 0.0,
    ) -> None:
        self.world = world
        self.now = world.start - HOUR
        self._zero: float | None = None
        self.tally = Tally()
        self.observed: list[Observation] = []
        """All that was counted, in that order, what came again too."""
        self.deaths = 0
        self.problems: list[str] = []
        self.gauges: dict[str, dict[tuple[str, tuple[str, ...]], float]] = {}
        """By scope: (family, labels) -> value, as the store would have them."""
        self._skew = skew
        self.step_seconds, self._rng, self._trouble = step, Random(trouble), trouble
        base = {"url": "http://localhost", "token": TOKEN, "max_requests_per_second": 1e6, "burst_requests_per_second": 1e6}
        self._options = Options.model_validate(base | dict(options))
        self._coming = iter(heard)
        self._next = next(self._coming, None)
        self._showers = Showers(trouble, TROUBLE)
        self.api = GitlabApi(world, self._clock, profile=profile, showers=self._showers)
        self.notes: dict[str, str] = {}
        self._cursors: dict[str, object] = {}
        self._begin()

    async def step(self) -> None:
        """A moment: what is delivered in it, what is read at its end."""
        self._zero = self.now - anyio.current_time() if self._zero is None else self._zero
        while self._next is not None and self._next.received <= self.now:
            self._hear(self._next)
            self._next = next(self._coming, None)
        for poller in self._pollers:
            if self.now >= self._due.get(poller.name, 0.0) or poller.name in self._woken:
                await self._poll(poller)
        if self._rng.random() < self._trouble / 5:
            self.deaths += 1
            self._begin()
        await anyio.sleep(self.step_seconds)
        self._clock()

    async def watch(self, until: float) -> None:
        """Go on until then."""
        while self.now < until:
            await self.step()

    async def clear_up(self, seconds: float = 2 * HOUR) -> None:
        """No trouble from now on, for so long: who was held up comes to an end."""
        self._trouble = self._showers.share = 0.0
        await self.watch(self.now + seconds)

    def _clock(self) -> float:
        """Seconds since the epoch; they pass while something is waited for."""
        if self._zero is not None:
            self.now = self._zero + anyio.current_time()
        return self.now

    def _begin(self) -> None:
        """Another life: all that is left of the one before is in the ledger."""
        context = Context(lambda: self._clock() + self._skew, "ci", "one", "test", recall=lambda _name: self.notes)
        self.source = GitlabSource("gitlab", self._options, context, Inside(self.api))
        self._pollers = self.source.pollers()
        self._due: dict[str, float] = {}
        self._woken: set[str] = set()
        self._lost: dict[str, object] = {}

    def _hear(self, delivery: Delivery) -> None:
        try:
            collected = self.source.receive(delivery)
        except DeliveryError as error:
            self.problems.append(str(error))
            return
        if self._commit(collected):
            self._woken.update(collected.wake)

    async def _poll(self, poller: Poller) -> None:
        cursors = self._cursors if poller.durable else self._lost
        self._woken.discard(poller.name)
        again = True
        while again:
            collected = None
            try:
                with anyio.move_on_after(poller.timeout_seconds or poller.interval_seconds):
                    collected = await poller.collect(cursors.get(poller.name))
            except CollectError as error:
                self.problems.append(f"{poller.name}: {error}")
                break
            if collected is None:
                self.problems.append(f"{poller.name}: no answer in time")
                break
            if collected.problem:
                self.problems.append(f"{poller.name}: {collected.problem}")
            again = self._commit(collected)
            if again:
                cursors[poller.name] = collected.cursor
                again = collected.again
        if self.now >= self._due.get(poller.name, 0.0):
            self._due[poller.name] = self.now + poller.interval_seconds

    def _commit(self, collected: Collected) -> bool:
        """All of it or nothing."""
        if self._rng.random() < self._trouble:
            return False
        self.tally.take(list(collected.observations))
        self.observed += collected.observations
        for key, value in collected.notes:
            if value is None:
                self.notes.pop(key, None)
            else:
                self.notes[key] = value
        self._show(collected)
        return True

    def _show(self, collected: Collected) -> None:
        for scope in collected.complete:
            self.gauges[scope] = {}
        for family, labels, value, _, scope in map(Update._make, collected.updates):
            if isinstance(value, float | int):
                self.gauges.setdefault(scope, {})[family.name, labels] = float(value)
        if "own" in collected.complete and collected.unchanged:  # the gauges of all projects
            for scope in set(self.gauges) - set(collected.unchanged) - set(collected.complete):
                if scope.isdecimal():
                    del self.gauges[scope]

    def shown(self, family: str) -> dict[tuple[str, ...], float]:
        """The present value of every series of a gauge."""
        found = {}
        for series in self.gauges.values():
            found.update({labels: value for (name, labels), value in series.items() if name == family})
        return found
