"""A durable poller's collect: deployments that ended are counted, and environments shown as they are.

Projects are asked when something has happened in them, and now and then in any case, for what is deployed through the
API makes no pipeline. How far each was read is in the cursor; all else is read anew after a restart.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import anyio

from agent.errors import CollectError
from agent.model import Collected, Observation, Update
from agent.net.words import escaped
from agent.sources.gitlab.asking import AHEAD_SECONDS, ALONE, ALONE_SECONDS, FOR_ALL, Api, changes, items, pages, spread
from agent.sources.gitlab.away import Away
from agent.sources.gitlab.behind import Compared
from agent.sources.gitlab.deployments import STATUSES, Deployment, deployment_of, environment_of, observed
from agent.sources.gitlab.families import Families
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.options import Options, ProjectOptions
from agent.sources.gitlab.parsed import readable

IDLE_SECONDS = 3600.0
"""How often a project is asked in which nothing happens."""
AFTER_SECONDS = 60.0
"""So long after something has happened there may be more to see of it."""
OVERLAP_SECONDS = 180
"""How late a change may become visible."""
SOON_SECONDS = 240.0
"""After how long a project is asked again that could not be read, unless it is one that may not be."""
BELIEVED_SECONDS = 2 * IDLE_SECONDS
"""For how long at the least the environments of a project hold that did not answer again."""
BELIEVED_POLLS = 3
"""And for how many polls beyond the time of an idle one."""
SPARE = 0.3
"""Share of a collect's time that is left for what is under way when nothing new is begun."""
PORTION = 50
"""Projects between two looks at the time."""
MAX_ENVIRONMENTS = 500
"""Of one project that are shown."""
MAX_PROBLEMS = 5
SCOPE = "environments:"
_VERSION = 1


class Watched(NamedTuple):
    """A project that is read."""

    project: Project
    rules: ProjectOptions
    since: int
    """What ended before does not count, seconds since the epoch."""
    active: float
    """When something was last seen to change in it, by the agent's clock; 0 = never."""


@dataclass
class _Place:
    """What is known of one project."""

    compared: Compared
    environments: tuple[str, ...] = ()
    """The names of those that are shown."""
    newest: dict[str, Deployment] = field(default_factory=dict)
    """By environment."""
    good: dict[str, Deployment] = field(default_factory=dict)
    """The newest that succeeded, by environment."""
    read_at: float = 0.0
    """By the agent's clock; 0 = never."""
    retry_at: float = 0.0
    """It is not asked until then; 0 = it may be."""
    problem: str = ""
    """Why it could not be read when it was asked last."""

    def take(self, deployments: Sequence[Deployment]) -> None:
        """Deployments as they are now."""
        for deployment in deployments:
            for kept in (self.newest, self.good) if deployment.status == "success" else (self.newest,):
                before = kept.get(deployment.environment)
                if before is None or before.id <= deployment.id:
                    kept[deployment.environment] = deployment


@dataclass
class _Round:
    """One collect."""

    marks: dict[int, int]
    """By project id: up to when changes are known."""
    todo: list[Watched]
    """Projects that are still to be read, the first one last."""
    observations: list[Observation] = field(default_factory=list)
    errors: list[CollectError] = field(default_factory=list)
    read: int = 0
    """Projects that were."""


class Environments:
    """Those of the projects that `watched` tells at each collect. `clock`: seconds since the epoch."""

    def __init__(
        self,
        api: Api,
        host: str,
        options: Options,
        families: Families,
        watched: Callable[[], Sequence[Watched]],
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._host = host
        self._excludes_stopped = options.collectors.environments.exclude_stopped
        self._at_once = options.max_concurrent_requests
        self._per_page = str(options.rest_page_size)
        self._families = families
        self._watched = watched
        self._clock = clock
        self._max_gap = options.max_gap_seconds
        interval = options.collectors.environments.interval_seconds
        self._longest = max(BELIEVED_SECONDS, IDLE_SECONDS + BELIEVED_POLLS * interval)
        self._places: dict[int, _Place] = {}
        self.away = Away(ALONE_SECONDS, "projects whose environments cannot be read")
        """Projects that are left alone."""
        self._told: set[int] = set()
        """Projects whose series there are, or were until they did not answer for long."""
        self._cursor: object = None
        self.malformed: Counter[str] = Counter()
        """Objects that could not be read, by kind."""
        self.errors: Counter[tuple[str, str]] = Counter()
        """Projects that could not be read, by (collector, kind), a project once a poll."""

    async def collect(self, cursor: object) -> Collected:
        """Count what ended since `cursor`. Raises CollectError where nothing at all could be read."""
        marks, said = _marks(cursor)
        watched = {each.project.id: each for each in self._watched()}
        for number in self._places.keys() - watched.keys():
            self.away.forget(number)
        if cursor != self._cursor:  # what was read last is not committed
            self._places = {}
        self._places = {number: self._believed(self._places.get(number)) for number in watched}
        due = [each for each in watched.values() if self._is_due(each, self._places[each.project.id])]
        latest = self._clock() + AHEAD_SECONDS  # a mark beyond is wrong, and that project is read from its beginning
        marks = {number: mark for number, mark in marks.items() if number in watched and mark <= latest}
        turn = _Round(marks, due[::-1])
        await self._read_all(turn)
        told = self._told | {number for number, place in self._places.items() if place.read_at}
        wrong = [error for error in turn.errors if error.kind not in ALONE]
        if wrong and not turn.read and (wrong[-1].kind in FOR_ALL or not told):
            raise wrong[0]
        self.errors.update(("environments", error.kind) for error in turn.errors)
        problems = [said] * bool(said) + [place.problem for place in self._places.values() if place.problem]
        more = f"; and {len(problems) - MAX_PROBLEMS} more" if len(problems) > MAX_PROBLEMS else ""
        self._cursor = _text(turn.marks)
        self._told = told & watched.keys()
        return Collected(
            [update for each in watched.values() for update in self._updates(each)],
            [f"{SCOPE}{number}" for number in sorted(told)],
            observations=turn.observations,
            cursor=self._cursor,
            problem=escaped("; ".join(problems[:MAX_PROBLEMS])) + more,
            again=bool(turn.todo) and not any(error.kind in FOR_ALL for error in turn.errors),
        )

    async def _read_all(self, turn: _Round) -> None:
        """Read projects until the time is used up."""
        begun, deadline = anyio.current_time(), anyio.current_effective_deadline()
        while turn.todo and anyio.current_time() <= begun + (deadline - begun) * (1 - SPARE):
            portion = [turn.todo.pop() for _ in range(min(PORTION, len(turn.todo)))]
            answers = await spread([(each, turn.marks.get(each.project.id, 0)) for each in portion], self._read, self._at_once)
            for each, answer in zip(portion, answers, strict=True):
                if isinstance(answer, CollectError):
                    turn.errors.append(self._failed(each, answer))
                    continue
                turn.read += 1
                turn.observations += self._counted(each, answer)
                known = [one.updated for one in answer if one.updated <= self._clock() + AHEAD_SECONDS]
                if known:  # a time that is far ahead says nothing
                    turn.marks[each.project.id] = max(known) - OVERLAP_SECONDS
            if turn.errors and turn.errors[-1].kind in FOR_ALL:
                break

    def _believed(self, known: _Place | None) -> _Place:
        """What is known of a project, unless it has not answered for so long that it begins anew."""
        if known is not None and (not known.read_at or abs(self._clock() - known.read_at) <= self._longest):
            return known
        compared = Compared(self._api, self.errors)
        return _Place(compared) if known is None else _Place(compared, retry_at=known.retry_at, problem=known.problem)

    def _is_due(self, each: Watched, place: _Place) -> bool:
        """Whether there may be something new."""
        now = self._clock()
        if 0 < place.retry_at - now <= SOON_SECONDS or not self.away.is_due(each.project.id, now):
            return False
        age = now - place.read_at
        return not 0 <= age < IDLE_SECONDS or each.active + AFTER_SECONDS >= place.read_at

    def _failed(self, each: Watched, error: CollectError) -> CollectError:
        """A project could not be read; one that may not be is no problem of the source's."""
        place, now = self._places[each.project.id], self._clock()
        line = f"project {each.project.path}: {error}"
        if error.kind in ALONE:
            self.away.put(each.project.id, error, now)
            place.problem = ""
        else:
            place.retry_at, place.problem = now + SOON_SECONDS, line
        return CollectError(error.kind, line)

    def _counted(self, each: Watched, deployments: Sequence[Deployment]) -> Iterator[Observation]:
        """Those that ended since the project is read."""
        for deployment in deployments:
            if deployment.is_final and deployment.ended >= each.since:
                yield observed(self._host, self._families, each.project, deployment)

    # -- reading ---------------------------------------------------------------------------------------

    async def _read(self, asked: tuple[Watched, int]) -> list[Deployment]:
        """One project's changes since its mark, 0 = since it is read. Raises CollectError."""
        each, mark = asked
        place, now = self._places[each.project.id], self._clock()
        root = f"/projects/{each.project.id}"
        after = max(mark or each.since - OVERLAP_SECONDS, int(now - self._max_gap))
        listed, _ = await changes(self._api, f"{root}/deployments", {"per_page": self._per_page}, after)
        found = list(readable("deployment", listed, deployment_of, self.malformed))
        if not place.read_at:
            path = f"{root}/deployments"
            recent = await self._api.get(path, {"order_by": "id", "sort": "desc", "per_page": self._per_page})
            place.take(list(readable("deployment", items(recent.data, path), deployment_of, self.malformed)))
        place.take(found)
        if found or place.environments or not place.read_at:
            params = {"per_page": self._per_page} | ({"states": "available"} if self._excludes_stopped else {})
            environments, _ = await pages(self._api, f"{root}/environments", params, enough=MAX_ENVIRONMENTS)
            place.environments = tuple(readable("environment", environments, environment_of, self.malformed))
        await place.compared.refresh(each.project, [one for name, one in place.good.items() if name in place.environments])
        place.read_at, place.retry_at, place.problem = now, 0.0, ""
        self.away.back(each.project.id)
        return found

    # -- showing ---------------------------------------------------------------------------------------

    def _updates(self, each: Watched) -> Iterator[Update]:
        """One project's environments."""
        place, families, now = self._places[each.project.id], self._families, self._clock()
        scope = f"{SCOPE}{each.project.id}"
        for name in place.environments:
            labels = (each.project.path, name)
            newest, good = place.newest.get(name), place.good.get(name)
            behind = place.compared.of(good.sha) if good is not None else None
            if newest is not None:
                for status, value in _statuses(newest.status, is_sparse=each.rules.output_sparse_status_metrics):
                    yield Update(families.environment_deployment_status, (*labels, status), value, now, scope)
            if good is not None:
                yield Update(families.environment_last_deployment_timestamp_seconds, labels, good.ended, now, scope)
            if behind is not None:
                yield Update(families.environment_behind_commits, labels, behind.commits, now, scope)
                if behind.seconds is not None:
                    yield Update(families.environment_behind_duration_seconds, labels, behind.seconds, now, scope)


def _statuses(status: str, *, is_sparse: bool) -> list[tuple[str, float]]:
    """The present status, or each with 1 or 0."""
    shown = status if status in STATUSES else "other"
    return [(shown, 1.0)] if is_sparse else [(word, float(word == shown)) for word in dict.fromkeys((*STATUSES, shown))]


def _marks(cursor: object) -> tuple[dict[int, int], str]:
    """How far each project was read, by a cursor, and what is wrong with that."""
    if cursor is None:
        return {}, ""
    try:
        found = json.loads(str(cursor))
        if found["v"] == _VERSION:
            return {int(number): _second(mark) for number, mark in found["marks"].items()}, ""
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        pass
    return {}, "where the last reading of deployments ended cannot be made out; they are read again from the beginning"


def _second(mark: object) -> int:
    if type(mark) is not int or not 0 < mark < 1 << 40:
        raise ValueError(mark)
    return mark


def _text(marks: Mapping[int, int]) -> str:
    return json.dumps({"v": _VERSION, "marks": dict(sorted(marks.items()))}, separators=(",", ":"))
