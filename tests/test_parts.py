"""The life of a part: however its plugin behaves at the end, the others end too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import pytest
from anyio.lowlevel import checkpoint
from trio.testing import MockClock

from agent.parts import CLOSE_SECONDS, Life

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


async def lived(aclose: Callable[[], Awaitable[None]], ends: int = 1) -> float:
    """Start a part, end it so often; how long that took."""
    life = Life("sink x", anyio.sleep_forever, aclose)
    async with anyio.create_task_group() as tasks:
        life.start(tasks)
        await checkpoint()
        began = anyio.current_time()
        for _ in range(ends):
            await life.end()
    return anyio.current_time() - began


async def test_a_part_ends_after_its_tasks_and_is_closed() -> None:
    order: list[str] = []

    async def main() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            order.append("ended")

    async def aclose() -> None:
        await checkpoint()
        order.append("closed")

    life = Life("sink x", main, aclose)
    async with anyio.create_task_group() as tasks:
        life.start(tasks)
        await checkpoint()
        await life.end()

    assert order == ["ended", "closed"]


async def test_a_part_that_never_ran_is_closed_all_the_same() -> None:
    closed: list[bool] = []

    async def aclose() -> None:
        await checkpoint()
        closed.append(True)

    await Life("source x", anyio.sleep_forever, aclose).end()

    assert closed == [True]


async def test_a_part_is_closed_once() -> None:
    closed: list[bool] = []

    async def aclose() -> None:
        await checkpoint()
        closed.append(True)

    await lived(aclose, ends=2)

    assert closed == [True]


async def test_what_closing_raises_is_contained_and_logged(caplog: pytest.LogCaptureFixture) -> None:
    async def aclose() -> None:
        await checkpoint()
        raise ZeroDivisionError

    await lived(aclose)

    assert "sink x: a bug while it was closed" in caplog.text


async def test_closing_is_bounded(caplog: pytest.LogCaptureFixture) -> None:
    assert await lived(anyio.sleep_forever) == CLOSE_SECONDS
    assert "not closed within 10 s" in caplog.text


async def test_closing_goes_on_when_the_one_who_waits_is_cancelled() -> None:
    closed: list[float] = []

    async def aclose() -> None:
        await anyio.sleep(5)
        closed.append(anyio.current_time())

    with anyio.move_on_after(1):
        await lived(aclose)

    assert closed == [5]


async def test_a_bug_in_the_core_is_not_contained() -> None:
    async def main() -> None:
        await checkpoint()
        raise ZeroDivisionError

    with pytest.raises(ExceptionGroup):
        async with anyio.create_task_group() as tasks:
            Life("sink x", main, checkpoint).start(tasks)
