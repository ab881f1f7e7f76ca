"""Fixtures of the whole suite: the event loop, hypothesis' patience, real receivers, cipush as a process."""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from coverage import Coverage
from hypothesis import settings
from trio._core import _run

from tests import agents, servers

# Shared machines stall now and then; a slow example is not a wrong one. The same examples every time: a search for new ones
# is `pytest --hypothesis-profile search`.
settings.register_profile("cipush", deadline=None, derandomize=True)
settings.register_profile("search", deadline=None)
settings.load_profile("cipush")

WAITING = ("proof", "outage_real", "crash_kill", "conformance")
"""In names of files that mostly wait for other processes, a minute each: they begin first, or the suite ends with them."""

SIMULATED = ("traps", "truth", "lives", "slow", "world", "observed", "polls", "model", "fuzz", "virtual", "power", "outage")
"""In names of files that run the same lines millions of times: with coverage they would take three times as long."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Order the files; `make test` hands them out in this order."""
    items.sort(key=lambda item: not any(word in item.path.name for word in WAITING))


# Which of several tasks goes on first is random with trio; it can be had the same way every time, as trio's own plugin does it.
_run._ALLOW_DETERMINISTIC_SCHEDULING = True  # type: ignore[misc]


def pytest_runtest_setup() -> None:
    """Before the fixtures of each test: the same order as always, but in a search."""
    if settings.get_current_profile_name() != "search":
        _run._r.seed(1)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """No coverage of simulated worlds, nor of the processes that such a test starts."""
    measured: list[Coverage] = []
    if any(word in item.path.name for word in (*WAITING, *SIMULATED)):
        while (coverage := Coverage.current()) is not None:  # a worker has one of its own and one of pytest's
            coverage.stop()
            measured.append(coverage)
    try:
        with pytest.MonkeyPatch.context() as patched:
            if measured:
                patched.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
            return (yield)
    finally:
        for coverage in reversed(measured):
            coverage.start()


StartAgent = Callable[..., agents.Agent]


@pytest.fixture
def anyio_backend() -> object:
    """The production backend; a test on a virtual clock overrides this with trio and a MockClock."""
    return "asyncio"


@pytest.fixture(scope="session")
def victoria_metrics(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.VictoriaMetrics]:
    """One VictoriaMetrics for the session; tests keep apart by labels."""
    with servers.victoria_metrics(tmp_path_factory.mktemp("victoria-metrics")) as server:
        yield server


@pytest.fixture(scope="session")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Prometheus]:
    """One Prometheus for the session; tests keep apart by labels."""
    with servers.prometheus(tmp_path_factory.mktemp("prometheus")) as server:
        yield server


@pytest.fixture(scope="session")
def pushgateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[servers.Pushgateway]:
    """One Pushgateway for the session; tests keep apart by job and instance."""
    with servers.pushgateway(tmp_path_factory.mktemp("pushgateway")) as server:
        yield server


@pytest.fixture
def start_agent(tmp_path: Path) -> Iterator[StartAgent]:
    """Starts `cipush run` with a configuration; every one started ends with the test."""
    with ExitStack() as stack:

        def start(config: Mapping[str, Any], *flags: str) -> agents.Agent:
            home = tmp_path / f"agent{len(list(tmp_path.glob('agent*')))}"
            home.mkdir()
            return stack.enter_context(agents.agent(home, config, *flags))

        yield start


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty directory to be in, with an environment that says nothing about cipush."""
    for name in list(os.environ):
        monkeypatch.delenv(name)
    for name, text in agents.clean_env(tmp_path, PATH="/usr/bin:/bin").items():
        monkeypatch.setenv(name, text)
    monkeypatch.chdir(tmp_path)
    return tmp_path
