"""One run, attempt by attempt: its jobs are read, and what they come to is handed on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol
from urllib.parse import quote

from agent.errors import CollectError
from agent.sources.github.api import PER_PAGE, Api, Json, items
from agent.sources.github.gather import Digest
from agent.sources.github.memory import Known, Memory
from agent.sources.github.payload import seconds
from agent.sources.github.places import Open
from agent.sources.github.windows import attempt_of, cut_down, started_of

SETTLE_SECONDS = 300.0
"""So long a run that has ended may show jobs that have not."""
MAX_ATTEMPTS = 60
"""GitHub allows fifty re-runs (https://docs.github.com/en/actions/reference/limits)."""
MAX_JOB_PAGES = 50
NAMES_SECONDS = 3600.0
"""How old the names of workflows may become; a new one is asked for at once."""


class Engine(Protocol):
    """What is asked of the engine here."""

    def listed(
        self, repository: Mapping[str, Any], run: Mapping[str, Any], workflow_name: str, jobs: Sequence[Json], now: float
    ) -> Digest:
        """A run and all jobs of its attempt. Raises DeliveryError for what cannot be read."""
        ...


class Listing(NamedTuple):
    """One attempt as the API shows it."""

    run: Json
    workflow: str
    jobs: list[Json]


class Looked(NamedTuple):
    """What a look at one run brought."""

    listings: list[Listing]
    """To be handed to the engine, the earliest attempt first."""
    open: Open | None
    """What is still to be counted; None = nothing."""
    counted: int
    """The last attempt that is counted whole; 0 = none."""


class Attempts:
    """The runs of one repository. What answers were like goes into `answers`."""

    def __init__(self, api: Api, name: str, memory: Memory, workflows: Workflows) -> None:
        self._api = api
        self._path = f"/repos/{quote(name)}/actions/runs"
        self._owner = name.partition("/")[0]
        self._memory = memory
        self._workflows = workflows
        self.answers: dict[str, Known] = {}

    async def run(self, number: int, *, is_known: bool) -> Json | None:
        """A run as it is now; None where it `is_known` and nothing has changed.

        Raises CollectError, kind `missing` for one that was deleted.
        """
        path = f"{self._path}/{number}"
        etag = self._memory.get(path).etag if is_known else ""
        answer = await self._api.get(path, etag=etag, owner=self._owner)
        if answer.status == 304:
            return None
        run = cut_down(_object(answer.data, path))
        # Of one that has ended this is not the last question, should its jobs not be had.
        self.answers[path] = Known(answer.etag if run.get("status") != "completed" else "")
        return run

    async def look(self, run: Json, entry: Open, now: float) -> Looked:
        """Read what is still to be counted of a run."""
        current = attempt_of(run)
        listings = await self._earlier(run, entry, current)
        first = Open(current, entry.since)
        jobs = await self.jobs(run["id"], current)
        if run.get("status") != "completed":
            listings.append(await self._listing(run, jobs))
            return Looked(listings, first, 0)
        ended = seconds(run.get("updated_at")) or now
        if now - ended < SETTLE_SECONDS and any(job.get("status") != "completed" for job in jobs):
            return Looked(listings, first, 0)
        listings.append(await self._listing(run, jobs))
        return Looked(listings, None, current)

    async def glance(self, number: int, attempt: int, run: Json | None) -> Listing | None:
        """A run that has not ended, with its jobs where they have changed; None = nothing has.

        `run`: as it is now, None = as it was.
        """
        path = f"{self._path}/{number}/attempts/{attempt}/jobs"
        answer = await self._api.get(path, {"per_page": PER_PAGE}, etag=self._memory.get(path).etag, owner=self._owner)
        if answer.status == 304:
            return None if run is None else await self._listing(run, [])
        jobs = items(answer.data, "jobs")
        if answer.next:
            jobs = await self.jobs(number, attempt)
        run = run or await self.run(number, is_known=False)
        if run is None or run.get("status") == "completed" or attempt_of(run) != attempt:
            return None  # it has just changed; the next poll sees all of it
        self.answers[path] = Known("" if answer.next else answer.etag)
        return await self._listing(run, jobs)

    async def jobs(self, run: int, attempt: int) -> list[Json]:
        """The jobs of one attempt, those carried over from earlier ones too."""
        path = f"{self._path}/{run}/attempts/{attempt}/jobs"
        return await self._api.every(path, key="jobs", owner=self._owner, most=MAX_JOB_PAGES)

    async def _earlier(self, run: Json, entry: Open, current: int) -> list[Listing]:
        """The attempts before the current one that are still to be counted."""
        found: list[Listing] = []
        for attempt in range(current - 1, max(entry.first, 1, current - MAX_ATTEMPTS) - 1, -1):
            path = f"{self._path}/{run['id']}/attempts/{attempt}"
            try:
                answer = await self._api.get(path, owner=self._owner)
                before = cut_down(_object(answer.data, path))
                if entry.first == 0 and started_of(before) < entry.since:
                    break
                found.append(await self._listing(before, await self.jobs(run["id"], attempt)))
            except CollectError as error:
                if error.kind != "missing":
                    raise
        return found[::-1]

    async def _listing(self, run: Json, jobs: list[Json]) -> Listing:
        return Listing(run, await self._workflows.name(run), jobs)


class Workflows:
    """The names of one repository's workflows: a run's own may be anything."""

    def __init__(self, api: Api, name: str) -> None:
        self._api = api
        self._path = f"/repos/{quote(name)}/actions/workflows"
        self._names: dict[int, str] = {}
        self._until = 0.0
        self._etag = ""

    async def refresh(self, now: float) -> None:
        """Read them where they are old; there is something to name."""
        if not 0 <= self._until - now <= NAMES_SECONDS:
            await self._read()
            self._until = now + NAMES_SECONDS

    async def name(self, run: Json) -> str:
        """Of a run's workflow; its file where that has no name any more."""
        number = run.get("workflow_id")
        if isinstance(number, int) and number not in self._names:
            await self._read()
            self._names.setdefault(number, "")
        found = self._names.get(number, "") if isinstance(number, int) else ""
        path = run.get("path")
        return found or (path.partition("@")[0] if isinstance(path, str) else "")

    async def _read(self) -> None:
        answer = await self._api.get(self._path, {"per_page": PER_PAGE}, etag=self._etag)
        if answer.status == 304:
            return
        found = items(answer.data, "workflows")
        if answer.next:
            found = await self._api.every(self._path, key="workflows")
        self._etag = "" if answer.next else answer.etag
        named = ((workflow.get("id"), workflow.get("name")) for workflow in found)
        self._names = {number: name for number, name in named if isinstance(number, int) and isinstance(name, str)}


def _object(data: Any, path: str) -> Json:
    if not isinstance(data, dict) or not isinstance(data.get("id"), int):
        raise CollectError("json", f"{path}: the answer is no run")
    return data
