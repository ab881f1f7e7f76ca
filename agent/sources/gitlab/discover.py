"""Which projects there are to read: those named one by one, and those of groups, of users, and of the token itself.

https://docs.gitlab.com/api/projects/ and https://docs.gitlab.com/api/groups/ (lists of projects).
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple
from urllib.parse import quote

import anyio

from agent.errors import CollectError
from agent.net.words import escaped
from agent.secret import Secret
from agent.sources.gitlab import away
from agent.sources.gitlab.asking import ALONE, ALONE_SECONDS, FOR_ALL, Api, items, spread
from agent.sources.gitlab.objects import Project
from agent.sources.gitlab.options import NamedProject, Options, ProjectOptions, Wildcard
from agent.sources.gitlab.parsed import MalformedError, project_of, readable

log = logging.getLogger(__name__)

REFRESH_SECONDS = 1800.0
"""How old a list may become."""
FIRST_SECONDS = 10.0
"""How soon one that could not be read is tried again, and then after twice as long each time,"""
RETRY_SECONDS = 300.0
"""but so often at least; one that is not there, or may not be read, as projects are that do not answer (`away`)."""
MAX_PROJECTS = 10_000
MAX_RAISED = 5
"""Problems in the text of an error,"""
MAX_LOGGED = 20
"""and in the log."""

WHOLE = "projects cannot be listed"
"""How a problem begins that is not about one entry."""
ADDRESS = "address"
"""The kind of the error that says that no GitLab answers."""

NONE = Secret("")
"""No token."""

Entry = NamedProject | Wildcard


class Listed(NamedTuple):
    """The projects and the rules for each, by id."""

    projects: Mapping[int, tuple[Project, ProjectOptions]]
    problems: Sequence[str]
    """What could not be read, one line each; what was there before is still in `projects`."""


class _List(NamedTuple):
    """What one entry of the configuration stands for, and when to look again."""

    projects: tuple[Project, ...]
    until: float
    seconds: float
    """For how long it was good when it was made."""
    problem: str = ""
    kind: str = ""
    """Of the error; "" = it was read."""
    token: Secret = NONE
    """That it failed with."""


class Discovery:
    """Lists projects, each entry of the configuration every half an hour. `clock`: seconds since the epoch.

    `name`: the source's; `token` gives the one of now: what failed with another is tried again at once.
    """

    def __init__(
        self,
        api: Api,
        options: Options,
        clock: Callable[[], float],
        *,
        name: str = "gitlab",
        token: Callable[[], Secret] = lambda: NONE,
        most: int = MAX_PROJECTS,
    ) -> None:
        self._name = name
        self._api = api
        self._token = token
        self._logged: set[str] = set()
        """What has a problem that is in the log, and not yet its end."""
        self._most = most
        self._clock = clock
        self._at_once = options.max_concurrent_requests
        self._per_page = str(options.rest_page_size)
        # A project that is found twice has the rules of the entry that comes first.
        self._entries: tuple[Entry, ...] = (*options.projects, *options.wildcards)
        self._turn = anyio.Lock()
        self._lists: dict[int, _List] = {}
        """By the entry's place."""
        self.malformed: Counter[str] = Counter()
        """Objects that could not be read, by kind."""
        self.errors: Counter[tuple[str, str]] = Counter()
        """Entries that could not be read, by (collector, kind)."""

    @property
    def barren(self) -> list[str]:
        """Entries of the configuration that were read and stand for no project, as people know them."""
        empty = (place for place, known in self._lists.items() if not known.projects and not known.problem)
        return [_title(self._entries[place]) for place in sorted(empty)]

    async def projects(self) -> Listed:
        """All that are read now; who asks meanwhile waits for it. Raises CollectError where there are none, and why is known."""
        async with self._turn:
            return await self._all()

    async def _all(self) -> Listed:
        now, token = self._clock(), self._token()
        due = [place for place in range(len(self._entries)) if not self._is_fresh(place, now, token)]
        answers = await spread(due, self._ask, self._at_once)
        reason = await self._reason(answers)
        for place, answer in zip(due, answers, strict=True):
            self._lists[place] = self._failed(place, answer, token, reason) if isinstance(answer, CollectError) else answer
        found: dict[int, tuple[Project, ProjectOptions]] = {}
        for entry, known in self._of_entries():
            for project in known.projects:
                found.setdefault(project.id, (project, entry))
        problems = list(dict.fromkeys(known.problem for known in self._lists.values() if known.problem))
        if problems and not found:
            kind = next((known.kind for known in self._lists.values() if known.kind), "status")
            soonest = min(known.until for known in self._lists.values()) - self._clock()
            raise CollectError(kind, "; ".join(problems[:MAX_RAISED]), retry_seconds=max(soonest, 1.0))
        if len(found) > self._most:
            problems.append(f"{len(found)} projects; only {self._most} are read: narrow the wildcards by owner or search")
            found = dict(list(found.items())[: self._most])
        self._log()
        return Listed(found, problems)

    def _log(self) -> None:
        """Problems of single entries, as they appear and once they are gone; of a list that fails whole the poll tells."""
        wrong: dict[str, str] = {}
        for entry, known in self._of_entries():
            if known.problem:
                wrong["the list of projects" if known.problem.startswith(WHOLE) else _title(entry)] = known.problem
        for what in sorted(self._logged - wrong.keys()):
            log.info("source %s: %s can be read again", self._name, what)
        self._logged &= wrong.keys()
        for what, problem in wrong.items():
            if what not in self._logged and len(self._logged) < MAX_LOGGED:
                log.warning("source %s: %s", self._name, problem)
                self._logged.add(what)

    def _of_entries(self) -> Iterator[tuple[Entry, _List]]:
        return ((entry, self._lists[place]) for place, entry in enumerate(self._entries))

    async def _reason(self, answers: Sequence[_List | CollectError]) -> CollectError | None:
        """What is wrong with the whole instance, though the errors do not say so; None = each speaks for itself."""
        kinds = {answer.kind for answer in answers}
        if kinds not in ({"missing"}, {"status"}):
            return None
        try:
            await self._api.get("/version", {})
        except CollectError as error:
            if kinds == {"missing"} and error.kind in ("missing", "json"):  # whatever something else is asked for is missing
                return CollectError(ADDRESS, "there is no GitLab at the address in `url`; check its path")
            if kinds == {"status"} == {error.kind}:
                hint = "; see whether the GitLab at `url` works" if str(error).startswith("HTTP 5") else ""
                return CollectError("status", f"{error}{hint}")
        return None

    def _is_fresh(self, place: int, now: float, token: Secret) -> bool:
        known = self._lists.get(place)
        if known is None or (known.kind and known.token != token):
            return False
        return 0 < known.until - now <= known.seconds

    def _failed(self, place: int, error: CollectError, token: Secret, reason: CollectError | None) -> _List:
        """What an entry stood for before, and what is wrong now: with it, or with the instance as a whole, `reason`."""
        error = reason or error
        is_whole = reason is not None or error.kind in FOR_ALL
        words = f"{WHOLE}: {error}" if is_whole else self._words(place, error)
        self.errors["projects", error.kind] += 1
        before = self._lists.get(place)
        seconds, longest = (away.FIRST_SECONDS, ALONE_SECONDS) if error.kind in ALONE else (FIRST_SECONDS, RETRY_SECONDS)
        if before is not None and before.kind and before.token == token:
            seconds = min(2 * before.seconds, longest)
        projects = before.projects if before else ()
        return _List(projects, self._clock() + seconds, seconds, words, error.kind, token)

    def _words(self, place: int, error: CollectError) -> str:
        """What is wrong with it, and what to do."""
        entry = self._entries[place]
        what = _title(entry)
        if error.kind == "missing":
            kind = "project" if isinstance(entry, NamedProject) else entry.owner.kind
            return f"{what}: there is no such {kind}, or the token may not see it; check the full path, and who the token is for"
        return f"{what}: {error}"

    async def _ask(self, place: int) -> _List:
        """What an entry stands for. Raises CollectError."""
        entry = self._entries[place]
        if isinstance(entry, NamedProject):
            before = self._lists.get(place)
            project = await self._named(entry.name, before.projects if before else ())
            return _List((project,), self._clock() + REFRESH_SECONDS, REFRESH_SECONDS)
        found, problem = await self._found(entry)
        problem = f"{_title(entry)}: {problem}" if problem else ""
        return _List(found, self._clock() + REFRESH_SECONDS, REFRESH_SECONDS, problem)

    async def _named(self, name: str, before: Sequence[Project]) -> Project:
        """One project: by its id once that is known, for its name may change. Raises CollectError."""
        if before:
            try:
                return await self._single(str(before[0].id))
            except CollectError as error:
                if error.kind != "missing":
                    raise
        return await self._single(quote(name, safe=""))

    async def _single(self, key: str) -> Project:
        data = (await self._api.get(f"/projects/{key}", {})).data
        try:
            return project_of(data)
        except (MalformedError, TypeError, AttributeError) as error:
            self.malformed["project"] += 1
            raise CollectError("json", f"the answer is no project: {error}") from error

    async def _found(self, wildcard: Wildcard) -> tuple[tuple[Project, ...], str]:
        """A wildcard's projects, and what is wrong with the list. Raises CollectError."""
        path, params = _question(wildcard)
        answer = await self._api.get(path, {"simple": "true", "per_page": self._per_page, **params})
        found: dict[int, Project] = {}
        while True:
            before, page = len(found), readable("project", items(answer.data, path), project_of, self.malformed)
            found.update({project.id: project for project in page})
            projects = tuple(found.values())[: self._most]
            if len(found) > self._most or (answer.next and len(found) == self._most):
                return projects, f"more than {self._most} projects; the others are not read"
            if not answer.next:
                return projects, ""
            if len(found) == before:  # else something that always names a next page would be asked for ever
                return projects, "GitLab's list goes on and has nothing new; what comes after that is not read"
            answer = await self._api.get(answer.next, {})


def _question(wildcard: Wildcard) -> tuple[str, dict[str, str]]:
    """Which list tells a wildcard's projects."""
    owner = wildcard.owner
    params = {} if wildcard.archived else {"archived": "false"}
    if wildcard.search:
        params["search"] = wildcard.search
    if not owner.name:
        # Beyond 50,000 projects GitLab lists by their ids only (https://docs.gitlab.com/api/rest/, "Keyset-based pagination").
        return "/projects", {**params, "membership": "true", "pagination": "keyset", "order_by": "id", "sort": "asc"}
    if owner.kind == "user":
        return f"/users/{quote(owner.name, safe='')}/projects", params
    subgroups = "true" if owner.include_subgroups else "false"
    return f"/groups/{quote(owner.name, safe='')}/projects", {**params, "include_subgroups": subgroups, "with_shared": "false"}


def _title(entry: Entry) -> str:
    if isinstance(entry, NamedProject):
        return f"project {escaped(entry.name)}"
    owner = f"{entry.owner.kind} {escaped(entry.owner.name)}" if entry.owner.name else "wildcard of every project of the token"
    return f"{owner} (search {escaped(entry.search)})" if entry.search else owner
