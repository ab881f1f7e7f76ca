"""Lists of runs: the newest, and all that were created within a time, however many there are.

GitHub cuts a filtered list off after a thousand (https://docs.github.com/en/rest/actions/workflow-runs, "List workflow
runs for a repository"), so a time with more is halved until each part has fewer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, urlencode

from agent.errors import CollectError
from agent.sources.github.api import PER_PAGE, Answer, Api, Json, items
from agent.sources.github.memory import Known, Memory
from agent.sources.github.payload import seconds

CAP = 1000
"""The most runs that a filtered list shows."""

Span = tuple[int, int]
"""From this second to that one, both included; seconds since the epoch."""


class Walked(NamedTuple):
    """What a walk through spans of time found."""

    runs: list[Json]
    left: Sequence[Span | str]
    """What it did not come to, oldest first: spans, and pages of one."""
    cut: int
    """Seconds with more than a thousand runs, of which not all were seen."""


class Newest(NamedTuple):
    """The first page of all runs."""

    runs: list[Json] | None
    """None = nothing has changed."""
    oldest: float
    """When the oldest of them was created; 0 = there are no others."""
    under_way: frozenset[int]
    """The ids of those on it that have not ended."""


class Lists:
    """The lists of one repository. What they were like goes into `answers`, to be kept if all of it is used."""

    def __init__(self, api: Api, name: str, memory: Memory) -> None:
        self._api = api
        self._name = name
        self.path = f"/repos/{quote(name)}/actions/runs"
        self._memory = memory
        self.answers: dict[str, Known] = {}

    def once(self) -> Lists:
        """The same lists, to be read without remembering anything of them."""
        return Lists(self._api, self._name, Memory())

    async def newest(self) -> Newest:
        """The hundred newest runs, whatever their state: one request, free of charge where nothing has changed."""
        before = self._memory.get(self.path)
        answer = await self._api.get(self.path, {"per_page": PER_PAGE}, etag=before.etag)
        if answer.status == 304:
            return Newest(None, before.oldest, before.runs)
        runs = _runs(answer)
        oldest = min((created_of(run) for run in runs), default=0.0) if answer.next else 0.0
        under_way = frozenset(run["id"] for run in runs if not has_ended(run))
        self.answers[self.path] = Known(answer.etag, "", oldest, under_way)
        return Newest(runs, oldest, under_way)

    async def walk(
        self, todo: Sequence[Span | str], keep: Callable[[Json], bool], *, most: int, requests: float = math.inf
    ) -> Walked:
        """The runs created within spans that `keep` says yes to; those on pages that have not changed are left out.

        Ends early once it has `most` and is through with a span, and after so many requests.
        """
        left, cut = list(reversed(todo)), 0
        found: list[Json] = []
        while left and requests > 0 and (isinstance(left[-1], str) or len(found) < most):
            place = left.pop()
            asked = self._first_page(place) if isinstance(place, tuple) else place
            if self._memory.get(asked).next != _HALVED:
                requests -= 1
                runs, total = await self._page(asked)
                if total < CAP or isinstance(place, str) or place[0] == place[1]:
                    cut += total > CAP and not isinstance(place, str)
                    found += filter(keep, runs)
                    following = self.answers.get(asked, self._memory.get(asked)).next
                    left += [following] if following else []
                    continue
                self.answers[asked] = Known("", _HALVED)
            if isinstance(place, tuple):
                middle = (place[0] + place[1]) // 2
                left += [(middle + 1, place[1]), (place[0], middle)]
        return Walked(found, list(reversed(left)), cut)

    def _first_page(self, span: Span) -> str:
        created = f"{_text(span[0])}..{_text(span[1])}"
        return f"{self.path}?{urlencode({'per_page': PER_PAGE, 'created': created})}"

    async def _page(self, asked: str) -> tuple[list[Json], int]:
        """The runs of a page, none where it has not changed, and how many its whole list has."""
        before = self._memory.get(asked)
        answer = await self._api.get(asked, etag=before.etag, owner=self._name.partition("/")[0])
        if answer.status == 304:
            return [], 0
        runs, total = _runs(answer), answer.data.get("total_count")
        self.answers[asked] = Known(answer.etag, answer.next)
        return runs, total if isinstance(total, int) else len(runs)


_HALVED = "halved"


def spans_between(first: float, last: float, length: int) -> list[Span]:
    """Spans of `length` seconds that together hold that time; they begin at multiples of it, and so stay the same."""
    begin = int(first // length) * length
    return [(start, start + length - 1) for start in range(begin, int(last) + 1, length)]


def created_of(run: Json) -> float:
    """When a run was created, seconds since the epoch; 0 = it does not say."""
    return seconds(run.get("created_at")) or 0.0


def started_of(run: Json) -> float:
    """When the attempt began that the object is about."""
    return seconds(run.get("run_started_at")) or created_of(run)


def attempt_of(run: Json) -> int:
    """Which attempt the object is about."""
    number = run.get("run_attempt")
    return number if isinstance(number, int) and 0 < number <= 1_000_000 else 1


def has_ended(run: Json) -> bool:
    """Whether the attempt that the object is about is over."""
    return run.get("status") == "completed"


def cut_down(run: Json) -> Json:
    """The plain values of a run: what it refers to is most of it, and is never read."""
    return {key: value for key, value in run.items() if not isinstance(value, dict | list)}


def _runs(answer: Answer) -> list[Json]:
    found = [cut_down(run) for run in items(answer.data, "workflow_runs")]
    if not all(isinstance(run.get("id"), int) for run in found):
        raise CollectError("json", "the list of runs holds something that is no run")
    return found


def _text(second: int) -> str:
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
