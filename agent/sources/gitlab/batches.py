"""How much one request asks for: as much as the instance answers within seconds, found out as it goes and remembered.

GitLab gives a query 30 seconds, and nothing tells beforehand what it will take.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from math import inf
from typing import TypeVar

import anyio

from agent.errors import CollectError

QUICK_SECONDS = 3.0
"""An answer that takes less may be twice as large the next time."""
TOO_MUCH = frozenset({"timeout", "status", "complexity", "size", "json", "encoding"})
"""Kinds of errors that a smaller question may not run into."""
SURELY = frozenset({"timeout", "complexity", "size"})
"""Those of them that are about how much was asked: so much is not asked again"""
PATIENCE = 100
"""until so many questions were answered quickly: each such error may have cost half a minute."""
MAX_ROUNDS = 3
"""So many times as there are questions at one time they may fail so in a row until the instance is left alone."""

T = TypeVar("T")


class Size:
    """Of the questions of one kind, in what is expected to come back."""

    def __init__(self, first: float, least: float, most: float) -> None:
        self.value = first
        self._least = least
        self._most = most
        self._ceiling = inf
        self._patience = 0

    def answered(self, asked: float, took: float) -> None:
        """`asked` came back after so many seconds; a question that was small says nothing about large ones."""
        if took >= QUICK_SECONDS or asked <= self.value / 2:
            return
        larger = min(self._most, self.value * 2)
        if larger >= self._ceiling and self._patience:
            self._patience -= 1
            return
        self.value = larger

    def failed(self, asked: float, kind: str = "timeout") -> None:
        """`asked` was too much; the kind of the error tells how sure that is."""
        self.value = max(self._least, min(self.value, asked / 2))
        if kind in SURELY:
            self._ceiling, self._patience = asked, PATIENCE


async def spread(
    items: Sequence[T],
    cut: Callable[[deque[T]], Sequence[T]],
    ask: Callable[[Sequence[T]], Awaitable[Sequence[T]]],
    failed: Callable[[Sequence[T], CollectError], Sequence[T]],
    at_once: int,
) -> None:
    """Ask about all `items`, several questions at one time.

    `cut` takes the items of the next question from the queue, `ask` gives back those that were not answered and are to
    be asked about again. When a whole question was too much, `failed` hears of it and gives back what is to be asked
    again, in smaller pieces. Raises CollectError for what would keep every further question from being answered too.
    """
    todo = deque(items)
    fatal: list[CollectError] = []
    row = 0

    async def work() -> None:
        nonlocal row
        while todo and not fatal:
            taken = cut(todo)
            try:
                todo.extendleft(reversed(await ask(taken)))
                row = 0
            except CollectError as error:
                row += 1
                if error.kind not in TOO_MUCH or row >= MAX_ROUNDS * max(2, at_once):
                    fatal.append(error)
                    group.cancel_scope.cancel()
                    return
                todo.extendleft(reversed(failed(taken, error)))

    async with anyio.create_task_group() as group:
        for _ in range(min(at_once, len(todo))):
            group.start_soon(work)
    if fatal:
        raise fatal[0]


def take(todo: deque[T], most: int) -> list[T]:
    """The next `most` items of a queue."""
    return [todo.popleft() for _ in range(min(most, len(todo)))]
