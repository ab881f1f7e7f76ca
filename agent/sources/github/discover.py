"""Which repositories there are to read: those of organisations, users and Apps, and those named one by one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple
from urllib.parse import quote

from agent.errors import CollectError
from agent.sources.github.api import Api
from agent.sources.github.options import Options

REFRESH_SECONDS = 3600.0
"""How old a list may become."""
RETRY_SECONDS = 300.0
"""How soon one that could not be read is tried again."""
MAX_REPOSITORIES = 10_000
MAX_NAME = 250
"""Characters of owner/name; GitHub allows 39 and 100."""

Json = Mapping[str, Any]
Place = tuple[str, str]


class Found(NamedTuple):
    """The repositories, each object cut down to what is read of it, by number."""

    repositories: Mapping[int, Json]
    problems: Sequence[str]
    """What could not be read, one line each; what was there before is still in `repositories`."""


class _List(NamedTuple):
    """One place's repositories, and when to look again."""

    repositories: tuple[Json, ...]
    until: float
    problem: str


class Discovery:
    """Lists repositories, each place once an hour. `wants`: whether one of that name is counted."""

    def __init__(self, api: Api, options: Options, wants: Callable[[str], bool], clock: Callable[[], float]) -> None:
        self._api = api
        self._wants = wants
        self._clock = clock
        self._places: list[Place] = [("organization", name) for name in options.organizations]
        self._places += [("user", name) for name in options.users]
        self._places += [("repository", name) for name in options.repositories]
        self._lists: dict[Place, _List] = {}
        self._login: str | None = None

    async def repositories(self) -> Found:
        """All that are counted now; archived and disabled ones are not. Raises CollectError where nothing can be read."""
        places = await self._all_places()
        problems, found, kind = [], {}, ""
        for place in places:
            known = self._lists.get(place)
            if known is None or not 0 <= known.until - self._clock() <= REFRESH_SECONDS:
                known, kind = await self._read(place, known)
                self._lists[place] = known
            if known.problem:
                problems.append(known.problem)
            found.update({repository["id"]: repository for repository in known.repositories})
        if not found and problems:
            raise CollectError(kind or "status", "; ".join(problems[:5]))
        if len(found) > MAX_REPOSITORIES:
            problems.append(f"{len(found)} repositories; only {MAX_REPOSITORIES} are read, set include or exclude")
            found = dict(list(found.items())[:MAX_REPOSITORIES])
        return Found(found, problems)

    async def _all_places(self) -> list[Place]:
        """Those configured; with none, all that the App is installed in."""
        if self._places or not self._api.is_app:
            return self._places
        return [("organization", owner) for owner in await self._api.owners()]

    async def _read(self, place: Place, known: _List | None) -> tuple[_List, str]:
        """A place's repositories and ""; those of before and the kind of the error where it cannot be read."""
        try:
            listed = await self._ask(*place)
        except CollectError as error:
            before = () if known is None else known.repositories
            return _List(before, self._clock() + RETRY_SECONDS, f"{place[0]} {place[1]}: {error}"), error.kind
        wanted = (trimmed for trimmed in map(_trimmed, listed) if trimmed and self._wants(trimmed["full_name"]))
        return _List(tuple(wanted), self._clock() + REFRESH_SECONDS, ""), ""

    async def _ask(self, kind: str, name: str) -> Sequence[Json]:
        if kind == "repository":
            answer = await self._api.get(f"/repos/{quote(name)}")
            return [answer.data] if isinstance(answer.data, dict) else []
        if self._api.is_app:
            return await self._api.every("/installation/repositories", key="repositories", owner=name)
        if kind == "organization":
            return await self._api.every(f"/orgs/{quote(name)}/repos", {"type": "all"})
        if name.lower() == await self._own_login():
            return await self._api.every("/user/repos", {"affiliation": "owner"})  # the private ones too
        return await self._api.every(f"/users/{quote(name)}/repos", {"type": "owner"})

    async def _own_login(self) -> str:
        """Whose token it is, in lower case; "" where it does not say."""
        if self._login is None:
            try:
                data = (await self._api.get("/user")).data
            except CollectError as error:
                if error.kind not in ("auth", "missing"):
                    raise
                data = None
            login = data.get("login") if isinstance(data, dict) else None
            self._login = login.lower() if isinstance(login, str) else ""
        return self._login


def _trimmed(repository: Json) -> Json | None:
    """What is read of a repository; None for one in which nothing runs, and for what is none."""
    number, name = repository.get("id"), repository.get("full_name")
    if not isinstance(number, int) or not isinstance(name, str) or "/" not in name or len(name) > MAX_NAME:
        return None
    if repository.get("archived") or repository.get("disabled"):
        return None
    return {key: repository.get(key) for key in ("id", "full_name", "default_branch", "private", "created_at")}
