"""Which runners there are, self-hosted and larger ones of GitHub's, whether they are online and whether they have a job."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol
from urllib.parse import quote

from agent.errors import CollectError
from agent.model import Collected, Family, Update
from agent.net.words import escaped
from agent.sources.github.api import PER_PAGE, Api, Json, items

MAX_RUNNERS = 10_000
"""Of one owner."""
MAX_TEXT = 250
NAMES_SECONDS = 3600.0
"""How old the names of the groups may become."""
_NOT_FOR_ALL = ("missing", "auth")
"""Some lists are for some plans and rights only."""

Labels = tuple[str, str, str, str]


class Families(Protocol):
    """What is set here; labels: the owner, the runner's name, its group, its operating system."""

    @property
    def runner_online(self) -> Family:
        """1 or 0."""
        ...

    @property
    def runner_busy(self) -> Family:
        """1 or 0."""
        ...


class Runners:
    """A poller's collect: the runners of organisations, and of repositories, owner/name. One scope an owner."""

    def __init__(
        self,
        api: Api,
        organizations: Sequence[str],
        repositories: Sequence[str],
        families: Families,
        clock: Callable[[], float],
    ) -> None:
        self._api = api
        self._organizations = tuple(organizations)
        self._repositories = tuple(repositories)
        self._families = families
        self._clock = clock
        self._groups: dict[str, dict[int, str]] = {}
        self._groups_until = 0.0

    async def collect(self, cursor: object) -> Collected:
        """All runners as they are now. Raises CollectError where no owner's can be read."""
        etags: dict[str, str] = {}
        updates: list[Update] = []
        complete: list[str] = []
        unchanged: list[str] = []
        problems: list[CollectError] = []
        owners = [(name, f"/orgs/{quote(name)}") for name in self._organizations or await self._api.owners()]
        owners += [(name, f"/repos/{quote(name)}") for name in self._repositories]
        is_new = await self._name_groups([name for name, path in owners if path.startswith("/orgs/")])
        before: dict[str, str] = cursor if isinstance(cursor, dict) and not is_new else {}
        for owner, path in owners:
            try:
                found, etag = await self._of(owner, path, before.get(owner, ""))
            except CollectError as error:
                if error.kind == "rate_limit" and not complete and not unchanged:
                    raise
                problems.append(CollectError(error.kind, f"{owner}: {error}"))
                continue
            etags[owner] = etag
            if found is None:
                unchanged.append(f"runners:{owner}")
            else:
                complete.append(f"runners:{owner}")
                updates += found
        if problems and not complete and not unchanged:
            raise problems[0]
        problem = escaped("; ".join(map(str, problems)))
        return Collected(updates, complete=complete, unchanged=unchanged, cursor=etags, problem=problem)

    async def _of(self, owner: str, path: str, etag: str) -> tuple[list[Update] | None, str]:
        """One owner's runners, None where they are as they were; and what to ask with next time."""
        answer = await self._api.get(f"{path}/actions/runners", {"per_page": PER_PAGE}, etag=etag)
        if answer.status == 304:
            return None, etag
        runners = items(answer.data, "runners")
        if answer.next:
            runners = await self._api.every(f"{path}/actions/runners", key="runners")
        hosted = await self._hosted(path)
        # Two lists, or a list of several pages, have no ETag that stands for all of it.
        etag = "" if answer.next or hosted else answer.etag
        groups = self._groups.get(owner, {})
        now, scope = self._clock(), f"runners:{owner}"
        online: dict[Labels, bool] = {}
        busy: dict[Labels, bool] = {}
        for runner in runners[:MAX_RUNNERS]:
            labels = (owner, _text(runner, "name"), _group(runner, groups), _text(runner, "os"))
            online[labels] = online.get(labels, False) or runner.get("status") == "online"
            busy[labels] = busy.get(labels, False) or runner.get("busy") is True
        for runner in hosted[:MAX_RUNNERS]:
            labels = (owner, _text(runner, "name"), _group(runner, groups), _text(runner, "platform"))
            online[labels] = runner.get("status") == "Ready"
        updates = [Update(self._families.runner_online, labels, float(value), now, scope) for labels, value in online.items()]
        updates += [Update(self._families.runner_busy, labels, float(value), now, scope) for labels, value in busy.items()]
        return updates, etag

    async def _hosted(self, path: str) -> Sequence[Json]:
        """GitHub's larger runners of an organisation, which do not say whether they are busy.

        https://docs.github.com/en/rest/actions/hosted-runners
        """
        if not path.startswith("/orgs/"):
            return ()
        try:
            return await self._api.every(f"{path}/actions/hosted-runners", key="runners")
        except CollectError as error:
            if error.kind not in _NOT_FOR_ALL:
                raise
            return ()

    async def _name_groups(self, organizations: Sequence[str]) -> bool:
        """Read how the groups are called, once an hour; a runner has the number of its group only. Whether they were read."""
        now = self._clock()
        if 0 < self._groups_until - now <= NAMES_SECONDS:
            return False
        for name in organizations:
            try:
                groups = await self._api.every(f"/orgs/{quote(name)}/actions/runner-groups", key="runner_groups")
            except CollectError:
                continue  # the number has to do
            self._groups[name] = {group["id"]: _text(group, "name") for group in groups if isinstance(group.get("id"), int)}
        self._groups_until = now + NAMES_SECONDS
        return True


def _group(runner: Json, groups: Mapping[int, str]) -> str:
    number = runner.get("runner_group_id")
    return groups.get(number, str(number)) if isinstance(number, int) else ""


def _text(found: Json, key: str) -> str:
    text = found.get(key)
    return text[:MAX_TEXT].encode("utf-8", "replace").decode() if isinstance(text, str) else ""
