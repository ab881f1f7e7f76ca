"""The poll loop: its schedule, and what a failure means."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import anyio
import pytest
from trio.testing import MockClock

from agent import poll
from agent.errors import CollectError
from agent.model import Collected, Poller, Update
from agent.poll import HASTE_SECONDS, PROLONG_SECONDS, PollLoop
from agent.selfmon import SelfMonitor
from agent.store.store import Limits, Store
from tests.core import GAUGE, START, Uncounted, Wall

pytestmark = pytest.mark.anyio

Step = Collected | Exception | Callable[[], Awaitable[Collected]]


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@dataclass
class Groups:
    """A flusher that only remembers."""

    max_future: float = 300.0
    flushed: list[tuple[str, float]] = field(default_factory=list)

    async def flush_group(self, group: str, at: float) -> None:
        await anyio.lowlevel.checkpoint()
        self.flushed.append((group, at))


class Source:
    """A poller that follows a script, then brings nothing; remembers when it was asked with which cursor."""

    def __init__(self, *script: Step, max_series: int = 0, timeout: float = 0.0) -> None:
        self.script = deque(script)
        self.begun: list[float] = []
        self.cursors: list[object] = []
        self.monitor = SelfMonitor()
        self.groups = Groups()
        self.wall = Wall()
        self.store = Store(Limits(default_ttl_seconds=60))
        self.feed = self.store.add_feed("s", max_series=max_series)
        poller = Poller("p", 10.0, self.collect, timeout)
        self.loop = PollLoop(self.store, self.feed, poller, self.groups, Uncounted(), self.monitor, self.wall)

    async def collect(self, cursor: object) -> Collected:
        self.begun.append(anyio.current_time())
        self.cursors.append(cursor)
        step = self.script.popleft() if self.script else Collected()
        if isinstance(step, Exception):
            raise step
        return step if isinstance(step, Collected) else await step()

    def value(self, family: object, *labels: str) -> float:
        return self.monitor.value(family, ("s", "p", *labels))  # type: ignore[arg-type]

    def expire(self) -> int:
        """Series left after everything due has expired."""
        for _ in self.store.expiring(self.wall()):
            pass
        return self.store.total_series


def brought(*names: str, at: float = START, cursor: object = None, group: str = "") -> Collected:
    updates = [Update(GAUGE, (name,), 1.0, at, "scope") for name in names]
    return Collected(updates, complete=("scope",), cursor=cursor, group=group, group_at=at)


async def too_long() -> Collected:
    await anyio.sleep(1000)
    return brought("late")


async def test_what_is_collected_is_applied() -> None:
    source = Source(brought("a", "b"))

    assert await source.loop.collect()

    assert source.store.total_series == 2
    assert (source.value(poll.UP), source.value(poll.COLLECTS)) == (1, 1)
    assert source.monitor.value(poll.SERIES, ("s",)) == 2


async def test_a_scrape_group_is_flushed_with_its_time() -> None:
    source = Source(brought("a", group="t"))

    await source.loop.collect()

    assert source.groups.flushed == [("t", START)]


async def test_a_poller_is_called_at_once_and_then_on_the_interval() -> None:
    source = Source()

    with anyio.move_on_after(25):
        await source.loop.run()

    assert source.begun == [0, 10, 20]


async def test_a_failed_collect_that_says_when_is_tried_again_then_and_the_schedule_stays() -> None:
    source = Source(CollectError("connect", "down", retry_seconds=3), CollectError("connect", "down", retry_seconds=60))

    with anyio.move_on_after(25):
        await source.loop.run()

    assert source.begun == [0, 3, 10, 20]


async def test_a_slow_collect_skips_turns_and_keeps_the_schedule() -> None:
    async def slow() -> Collected:
        await anyio.sleep(23)
        return Collected()

    source = Source(slow, timeout=60)

    with anyio.move_on_after(45):
        await source.loop.run()

    assert source.begun == [0, 30, 40]


async def test_a_collect_without_an_answer_fails_after_the_interval() -> None:
    source = Source(too_long)

    assert not await source.loop.collect()

    assert anyio.current_time() == 10
    assert source.loop.last_error == "timeout: no answer within 10 s"
    assert (source.value(poll.UP), source.value(poll.ERRORS, "timeout")) == (0, 1)


async def test_a_poller_has_its_own_timeout() -> None:
    source = Source(too_long, timeout=3)

    await source.loop.collect()

    assert anyio.current_time() == 3


async def test_a_timeout_inside_a_source_is_not_the_timeout_of_the_collect() -> None:
    source = Source(TimeoutError("a socket's"))

    await source.loop.collect()

    assert source.loop.last_error == "bug: TimeoutError: a socket's"


async def test_failures_are_counted_by_kind() -> None:
    source = Source(CollectError("auth", "token refused"), CollectError("auth", "token refused"), CollectError("parse", "no"))

    for _ in range(3):
        await source.loop.collect()

    assert (source.value(poll.ERRORS, "auth"), source.value(poll.ERRORS, "parse")) == (2, 1)


async def test_a_failure_is_logged_when_it_begins_and_when_it_ends(caplog: pytest.LogCaptureFixture) -> None:
    source = Source(*[CollectError("auth", "token refused")] * 3, brought("a"))
    caplog.set_level("INFO")

    for _ in range(4):
        await source.loop.collect()

    assert caplog.text.count("token refused") == 1
    assert caplog.text.count("collects again") == 1


async def test_what_a_source_says_of_its_target_is_shown_though_the_collect_succeeded() -> None:
    source = Source(Collected(problem="its target is down"), Collected())

    assert await source.loop.collect()
    shown = source.loop.status(START)["last_error"]
    is_up = source.loop.status(START)["up"]
    await source.loop.collect()

    assert (shown, source.loop.status(START)["last_error"]) == ("its target is down", "")
    assert is_up is True
    assert source.value(poll.UP) == 1


async def test_a_source_is_up_as_long_as_its_last_collect_succeeded() -> None:
    source = Source(Collected(), CollectError("auth", "token refused"))
    before = source.loop.status(START)["up"]
    await source.loop.collect()
    between = source.loop.status(START)["up"]
    await source.loop.collect()

    assert (before, between, source.loop.status(START)["up"]) == (False, True, False)


async def test_a_source_that_raises_is_contained_and_shown() -> None:
    source = Source(ZeroDivisionError("oops"), brought("a"))

    assert not await source.loop.collect()
    shown = source.loop.status(START)["last_error"]
    assert await source.loop.collect()

    assert shown == "bug: ZeroDivisionError: oops"
    assert source.loop.status(START)["last_error"] == ""


async def test_the_traceback_of_a_raising_source_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    source = Source(CollectError("auth", "no"), ZeroDivisionError("one"), ZeroDivisionError("two"))

    for _ in range(3):
        await source.loop.collect()

    assert caplog.text.count("Traceback") == 1


async def test_a_secret_in_a_failure_is_not_shown() -> None:
    source = Source(CollectError("auth", "glpat-abcdefghijkl was refused"))

    await source.loop.collect()

    assert source.loop.last_error == "auth: **** was refused"


async def test_the_cursor_is_handed_to_the_next_collect_and_kept_over_a_failure() -> None:
    source = Source(brought("a", cursor="c1"), CollectError("auth", "no"), brought("a", cursor="c2"))

    for _ in range(4):
        await source.loop.collect()

    assert source.cursors == [None, "c1", "c1", "c2"]


async def test_a_full_listing_is_asked_for_when_a_refused_series_may_come_back() -> None:
    source = Source(*[brought("a", "b", cursor=f"c{i}") for i in range(9)], max_series=1)

    with anyio.move_on_after(65):
        await source.loop.run()

    assert source.cursors == [None, "c0", "c1", "c2", "c3", "c4", None]


async def test_a_cancelled_collect_changes_nothing() -> None:
    source = Source(brought("a", cursor="c1"), too_long)
    await source.loop.collect()

    with anyio.move_on_after(5) as scope:
        await source.loop.collect()

    assert scope.cancelled_caught
    assert (source.store.total_series, source.loop.collects, source.loop.last_error) == (1, 1, "")


async def test_what_was_collected_before_a_cancellation_is_applied_whole() -> None:
    many = [str(i) for i in range(5_000)]
    scope = anyio.CancelScope()

    async def answered() -> Collected:
        await anyio.lowlevel.checkpoint()
        scope.cancel()
        return brought(*many, group="t")

    source = Source(answered)
    with scope:
        await source.loop.collect()

    assert source.store.total_series == 5_000
    assert source.groups.flushed == [("t", START)]


async def test_series_of_a_failing_poller_are_kept_for_an_hour_after_its_last_success() -> None:
    source = Source(brought("a"))
    await source.loop.collect()
    for _ in range(6):
        source.script.append(CollectError("auth", "no"))
        await anyio.sleep(PROLONG_SECONDS / 6 - 1)
        await source.loop.collect()

    kept = source.expire()
    await anyio.sleep(120)

    assert (kept, source.expire()) == (1, 0)


async def test_updates_from_the_future_are_refused_and_counted() -> None:
    source = Source(Collected([Update(GAUGE, ("a",), 1.0, START + 301, ""), Update(GAUGE, ("b",), 1.0, START + 299, "")]))

    await source.loop.collect()

    assert source.store.total_series == 1
    assert source.monitor.value(poll.FUTURE, ("s",)) == 1


async def test_a_collect_that_has_more_is_followed_by_the_next_at_once() -> None:
    source = Source(Collected(again=True), Collected(again=True), Collected())

    with anyio.move_on_after(15):
        await source.loop.run()

    assert [at - source.begun[0] for at in source.begun] == [0, 0, 0, 10]


async def test_a_failed_collect_waits_for_its_turn_whatever_the_one_before_said() -> None:
    source = Source(Collected(again=True), CollectError("status", "no"))

    with anyio.move_on_after(15):
        await source.loop.run()

    assert [at - source.begun[0] for at in source.begun] == [0, 0, 10]


async def test_a_loop_that_is_hastened_collects_some_seconds_later_and_then_on_its_interval() -> None:
    source = Source()

    with anyio.move_on_after(22):
        async with anyio.create_task_group() as group:
            group.start_soon(source.loop.run)
            await anyio.sleep(3)
            for _ in range(3):
                source.loop.hasten()

    assert [at - source.begun[0] for at in source.begun] == [0, 3 + HASTE_SECONDS, 10, 20]
