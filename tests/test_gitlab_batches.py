"""How much is asked at once: it grows, shrinks, and ends where nothing helps."""

from __future__ import annotations

from collections.abc import Sequence

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.batches import MAX_ROUNDS, PATIENCE, QUICK_SECONDS, Size, spread, take

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def test_a_size_doubles_while_answers_are_quick() -> None:
    size = Size(100, 1, 1000)

    for _ in range(5):
        size.answered(size.value, QUICK_SECONDS - 0.1)

    assert size.value == 1000


def test_a_slow_answer_and_a_small_question_change_nothing() -> None:
    size = Size(100, 1, 1000)

    size.answered(100, QUICK_SECONDS)
    size.answered(50, 0.1)

    assert size.value == 100


def test_a_failure_halves_what_was_asked() -> None:
    size = Size(100, 1, 1000)

    size.failed(60, "status")
    assert size.value == 30
    for _ in range(9):
        size.failed(size.value)

    assert size.value == 1


def test_what_took_too_long_is_not_tried_again_soon() -> None:
    size = Size(100, 1, 1000)
    size.failed(100, "timeout")

    for _ in range(PATIENCE):
        size.answered(size.value, 0.1)
    assert size.value == 50
    size.answered(size.value, 0.1)

    assert size.value == 100


def test_trouble_that_says_nothing_about_sizes_is_soon_forgotten() -> None:
    size = Size(100, 1, 1000)
    size.failed(100, "status")

    size.answered(size.value, 0.1)

    assert size.value == 100


@given(st.lists(st.tuples(st.booleans(), st.floats(0.1, 1e6), st.floats(0, 100)), max_size=50))
def test_a_size_stays_within_its_bounds(events: list[tuple[bool, float, float]]) -> None:
    size = Size(100, 2, 1000)

    for is_good, asked, took in events:
        size.answered(asked, took) if is_good else size.failed(asked)

    assert 2 <= size.value <= 1000


async def spread_over(items: Sequence[int], bad: set[int], most: int, at_once: int = 4) -> tuple[list[int], list[int], int]:
    """Which items were answered, which were given up, and with how many questions."""
    size = Size(most, 1, most)
    done: list[int] = []
    lost: list[int] = []
    asked = 0

    async def ask(taken: Sequence[int]) -> Sequence[int]:
        nonlocal asked
        asked += 1
        await anyio.sleep(1)
        if bad & set(taken):
            raise CollectError("timeout", "too much")
        done.extend(taken)
        return ()

    def failed(taken: Sequence[int], error: CollectError) -> Sequence[int]:
        size.failed(len(taken))
        if len(taken) > 1:
            return taken
        lost.extend(taken)
        return ()

    await spread(items, lambda todo: take(todo, int(size.value)), ask, failed, at_once)
    return sorted(done), lost, asked


async def test_every_item_is_asked_about_once() -> None:
    assert await spread_over(range(100), set(), 10) == (list(range(100)), [], 10)
    assert anyio.current_time() == 3  # ten questions, four at a time


async def test_one_bad_item_is_found_and_costs_no_other() -> None:
    done, lost, _ = await spread_over(range(32), {13}, 32)

    assert (done, lost) == ([number for number in range(32) if number != 13], [13])


async def test_when_nothing_works_it_ends_soon() -> None:
    everything = range(1000)

    with pytest.raises(CollectError, match="too much"):
        await spread_over(everything, set(everything), 100, 4)

    assert anyio.current_time() <= MAX_ROUNDS + 1


async def test_what_would_stop_every_question_stops_them_all_at_once() -> None:
    begun = []

    async def ask(taken: Sequence[int]) -> Sequence[int]:
        begun.append(taken)
        await anyio.sleep(1 if taken == [0] else 100)
        raise CollectError("auth", "no")

    with pytest.raises(CollectError, match="no") as caught:
        await spread(range(10), lambda todo: take(todo, 1), ask, lambda taken, error: (), 3)

    assert (caught.value.kind, len(begun), anyio.current_time()) == ("auth", 3, 1)


async def test_what_was_left_out_of_an_answer_is_asked_again() -> None:
    done: list[int] = []

    async def ask(taken: Sequence[int]) -> Sequence[int]:
        await anyio.sleep(1)
        done.append(taken[0])
        return taken[1:]

    await spread(range(5), lambda todo: take(todo, 5), ask, lambda taken, error: (), 1)

    assert done == [0, 1, 2, 3, 4]


async def test_nothing_is_asked_about_nothing() -> None:
    assert await spread_over([], set(), 10) == ([], [], 0)
