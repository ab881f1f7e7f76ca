"""What those who collect ask of the client: lists to their end, and many questions at one time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import anyio

from agent.errors import CollectError
from agent.sources.gitlab.parsed import seconds

MAX_PAGES = 100
"""Pages of one list."""
MAX_CHANGES = 1000
"""Pages of a list of changes: a hundred thousand after the longest absence."""
MAX_IDLE = 3
"""Of those in a row that have nothing new: one may where many change in the same second."""
AHEAD_SECONDS = 3600.0
"""How far ahead of its clock, or of the agent's, GitLab's times may be; those beyond say nothing, in webhooks either."""
FOR_ALL = frozenset({"auth", "connect", "rate_limit"})
"""Kinds of errors that the next question would run into as well."""
ALONE = frozenset({"missing", "forbidden"})
"""Kinds that are about one project, group or user, and for people to mend."""
ALONE_SECONDS = 6 * 3600.0
"""After how long it is asked again."""

T = TypeVar("T")
R = TypeVar("R")


class Answer(Protocol):
    """What the API answered."""

    @property
    def data(self) -> Any:
        """The JSON."""
        ...

    @property
    def next(self) -> str:
        """What to ask for the next page; "" = this is the last."""
        ...

    @property
    def date(self) -> float:
        """The server's clock, seconds since the epoch."""
        ...


class Api(Protocol):
    """GETs of the REST API."""

    async def get(self, path: str, params: Mapping[str, str], /) -> Answer:
        """What is at a path under /api/v4, or at an `Answer.next`. Raises CollectError."""
        ...


async def pages(api: Api, path: str, params: Mapping[str, str], *, enough: int = 0) -> tuple[list[Any], float]:
    """The items of a list, and the server's clock when it told the first; `enough`: no more are wanted, 0 = all.

    Raises CollectError as the client does, and kind `size` for a list that does not end, within `MAX_PAGES` or at all.
    """
    answer = await api.get(path, params)
    found, date = items(answer.data, path), answer.date
    for _ in range(MAX_PAGES - 1):
        if not answer.next or 0 < enough <= len(found):
            return found[:enough] if enough else found, date
        before, answer = answer, await api.get(answer.next, {})
        if answer.next and (not answer.data or answer.data == before.data):
            raise CollectError("size", f"{path}: the list goes on and has nothing new")
        found += items(answer.data, path)
    if answer.next:
        raise CollectError("size", f"{path}: the list has more than {MAX_PAGES} pages")
    return found, date


async def changes(api: Api, path: str, params: Mapping[str, str], after: int) -> tuple[list[Any], float]:
    """The items of a list that were updated at or after a second, the oldest change first; and the server's clock.

    The next page is asked for by time: what changes in the meantime moves to the list's end, and whatever comes after
    it moves up, so that a page asked for by its number would begin too late. Raises CollectError as `pages` does.
    """
    begin, page, date, idle = after - 1, 1, 0.0, 0
    found: dict[object, Any] = {}
    for _ in range(MAX_CHANGES):
        asked = {"order_by": "updated_at", "sort": "asc", "updated_after": moment_of(begin), "page": str(page), **params}
        answer = await api.get(path, asked)
        date = date or answer.date
        rows = items(answer.data, path)
        latest, before = begin, len(found)
        for row in rows:
            told = row if isinstance(row, dict) else {}
            found[told.get("id") if isinstance(told.get("id"), int) else len(found) + 0.5] = row
            second = (seconds(told.get("updated_at")) or 0) - 1
            latest = max(latest, second if second <= answer.date + AHEAD_SECONDS else 0)
        if not answer.next:
            return list(found.values()), date
        idle = 0 if len(found) > before else idle + 1
        if idle >= MAX_IDLE:
            raise CollectError("size", f"{path}: the list goes on and has nothing new")
        begin, page = (latest, 1) if latest > begin else (begin, page + 1)
    raise CollectError("size", f"{path}: the list has more than {MAX_CHANGES} pages")


def moment_of(second: int) -> str:
    """As GitLab reads times."""
    return datetime.fromtimestamp(second, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def items(data: object, path: str) -> list[Any]:
    """A page of a list. Raises CollectError, kind `json`, for what is none."""
    if not isinstance(data, list):
        raise CollectError("json", f"{path}: the answer is no list")
    return data


async def spread(asked: Sequence[T], ask: Callable[[T], Awaitable[R]], at_once: int) -> list[R | CollectError]:
    """What came of each question, in their order; an error of the kinds `FOR_ALL` is the answer to those not yet asked."""
    answers: dict[int, R | CollectError] = {}
    todo = list(enumerate(asked))[::-1]
    stop: list[CollectError] = []

    async def work() -> None:
        while todo:
            place, question = todo.pop()
            if stop:
                answers[place] = stop[0]
                continue
            try:
                answers[place] = await ask(question)
            except CollectError as error:
                answers[place] = error
                if error.kind in FOR_ALL:
                    stop.append(error)

    async with anyio.create_task_group() as group:
        for _ in range(min(at_once, len(todo))):
            group.start_soon(work)
    return [answers[place] for place in range(len(asked))]


def raise_if_all(answers: Sequence[object]) -> None:
    """Raises the CollectError that kept every one of these questions from being answered, if one did."""
    first = next((answer for answer in answers if isinstance(answer, CollectError) and answer.kind in FOR_ALL), None)
    if first is not None and all(isinstance(answer, CollectError) for answer in answers):
        raise first
