"""Reloads: when one takes place, and what becomes of a configuration that is refused."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

import anyio
import pytest
from trio.testing import MockClock

from agent import reload
from agent.config import load
from agent.config.model import Loaded
from agent.errors import ConfigError
from agent.reload import STOPPING, WATCH_SECONDS, Reloader
from agent.selfmon import SelfMonitor
from tests.core import START, Wall

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "cipush.yml"
    path.write_text("agent: {job: one}\n")
    return path


class Reloads:
    """A reloader of one file, and the jobs that were taken over."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.jobs: list[str] = []
        self.loads = 0
        self.monitor = SelfMonitor()
        self.during: Callable[[], Awaitable[object]] = anyio.lowlevel.checkpoint
        self.reloader = Reloader(self.load(), self.load, self.take_over, self.monitor, Wall())

    def write(self, text: str) -> None:
        self.file.write_text(text)

    def remove(self) -> None:
        self.file.unlink()

    def become(self, target: str) -> None:
        self.file.unlink()
        self.file.symlink_to(target)

    def load(self) -> Loaded:
        self.loads += 1
        return load((self.file,), {})

    async def take_over(self, loaded: Loaded) -> None:
        await self.during()
        if loaded.config.agent.job == "refused":
            raise ConfigError(["agent.job: not that one"])
        self.jobs.append(loaded.config.agent.job)

    async def run_for(self, seconds: float) -> None:
        with anyio.move_on_after(seconds):
            await self.reloader.run()


async def test_a_changed_file_is_taken_over_within_15_seconds(file: Path) -> None:
    reloads = Reloads(file)
    reloads.write("agent: {job: two}\n")

    await reloads.run_for(WATCH_SECONDS + 0.1)

    assert (reloads.jobs, WATCH_SECONDS) == (["two"], 15)


async def test_a_file_that_stays_the_same_is_not_loaded_again(file: Path) -> None:
    reloads = Reloads(file)
    reloads.write("agent: {job: one}\n")

    await reloads.run_for(100)

    assert reloads.loads == 1


async def test_a_changed_secret_is_a_change(tmp_path: Path) -> None:
    secret = tmp_path / "token"
    secret.write_text("aaaaaaaa")
    loaded = load((), {"CIPUSH_SERVER__AUTH_TOKEN_FILE": str(secret)})
    taken: list[Loaded] = []

    async def take_over(new: Loaded) -> None:
        await anyio.lowlevel.checkpoint()
        taken.append(new)

    reloader = Reloader(loaded, lambda: loaded, take_over, SelfMonitor(), Wall())
    secret.write_text("bbbbbbbb")
    with anyio.move_on_after(100):
        await reloader.run()

    assert len(taken) == 1


async def test_a_bad_file_is_refused_once_with_the_reason(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    reloads = Reloads(file)
    reloads.write("agent: {jobb: two}\n")

    await reloads.run_for(100)

    assert reloads.jobs == []
    assert "jobb: unknown key" in reloads.reloader.problem
    assert caplog.text.count("reload refused") == 1
    assert reloads.monitor.value(reload.RELOAD_OK) == 0
    assert reloads.monitor.value(reload.RELOADS, ("refused",)) == 1


async def test_a_file_that_is_good_again_is_taken_over(file: Path) -> None:
    reloads = Reloads(file)
    reloads.remove()

    async def repair() -> None:
        await anyio.sleep(20)
        reloads.write("agent: {job: two}\n")

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(repair)
        await reloads.run_for(40)

    assert (reloads.jobs, reloads.reloader.problem) == (["two"], "")
    assert reloads.monitor.value(reload.RELOADS, ("refused",)) == 1
    assert reloads.monitor.value(reload.RELOAD_OK) == 1


async def answers(reloads: Reloads, *delays: float) -> list[str]:
    """What reloads asked for after so many seconds answer."""
    found: list[str] = []

    async def ask(after: float) -> None:
        await anyio.sleep(after)
        found.append(await reloads.reloader.reload())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reloads.reloader.run)
        async with anyio.create_task_group() as asking:
            for delay in delays:
                asking.start_soon(ask, delay)
        tasks.cancel_scope.cancel()
    return found


async def test_a_request_is_answered_when_the_configuration_is_in_force(file: Path) -> None:
    reloads = Reloads(file)
    reloads.write("agent: {job: two}\n")

    assert await answers(reloads, 1) == [""]
    assert reloads.jobs == ["two"]
    assert reloads.monitor.value(reload.RELOAD_AT) == START + 1


async def test_a_refused_request_says_why(file: Path) -> None:
    reloads = Reloads(file)
    reloads.write("agent: {job: refused}\n")

    assert await answers(reloads, 1) == ["agent.job: not that one"]


async def test_a_request_during_a_reload_gets_one_of_its_own(file: Path) -> None:
    reloads = Reloads(file)
    reloads.during = lambda: anyio.sleep(5)

    assert await answers(reloads, 1, 2, 3) == ["", "", ""]
    assert len(reloads.jobs) == 2  # the two that came during the first share the second


async def test_a_request_that_goes_away_leaves_nothing_half_done(file: Path) -> None:
    reloads = Reloads(file)
    reloads.during = lambda: anyio.sleep(5)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(reloads.reloader.run)
        with anyio.move_on_after(1):
            await reloads.reloader.reload()
        await anyio.sleep(5)
        tasks.cancel_scope.cancel()

    assert reloads.jobs == ["one"]


async def test_a_reload_cut_off_by_the_stop_is_answered(file: Path) -> None:
    reloads = Reloads(file)
    reloads.during = anyio.sleep_forever
    found: list[str] = []

    async def ask() -> None:
        found.append(await reloads.reloader.reload())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask)
        await reloads.run_for(5)

    assert found == [STOPPING]


async def test_a_reload_after_the_stop_is_refused(file: Path) -> None:
    reloads = Reloads(file)
    await reloads.run_for(1)

    assert await reloads.reloader.reload() == STOPPING


async def test_a_bug_in_a_reload_is_not_contained(file: Path) -> None:
    reloads = Reloads(file)

    async def bug() -> None:
        await anyio.lowlevel.checkpoint()
        raise ZeroDivisionError

    reloads.during = bug
    reloads.reloader.ask()

    with pytest.raises(ZeroDivisionError):
        await reloads.reloader.run()


async def test_what_is_no_regular_file_is_read_at_the_start_only(file: Path) -> None:
    reloads = Reloads(file)
    reloads.become("/dev/null")

    await reloads.run_for(WATCH_SECONDS + 0.1)

    assert reloads.jobs == []
    assert "can be read only once" in reloads.reloader.problem
