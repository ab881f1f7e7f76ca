"""What the agent shows of itself, at rest: nothing of this needs a listener."""

from __future__ import annotations

import pytest
from trio.testing import MockClock

from agent.config import load
from agent.errors import CollectError
from agent.model import Collected, Family, Kind, Poller, Update
from agent.poll import PollLoop
from agent.runtime import Runtime
from agent.sources.host import memory
from agent.state import StateDir
from tests.core import START, Wall

pytestmark = pytest.mark.anyio

TOTAL = next(family for family in memory.FAMILIES if family.name == "host_memory_total_bytes")
SCRAPED = Family("host_memory_total_bytes", Kind.GAUGE, "Another host's.", constants=(("job", "other"),))
CONFIG = (
    ("sources.host.interval_seconds", "15"),
    ("sources.other.type", "scrape"),
    ("sources.other.targets", '[{"url": "http://127.0.0.1:1"}]'),
    ("sinks.vm.type", "vm_import"),
    ("sinks.vm.url", "http://127.0.0.1:1/api/v1/import"),
)


@pytest.fixture
def anyio_backend() -> object:
    return "trio", {"clock": MockClock(autojump_threshold=0)}


def at_rest() -> Runtime:
    loaded = load((), {}, CONFIG)
    return Runtime(loaded, lambda: loaded, StateDir(None), Wall())


def put(runtime: Runtime, source: str, family: Family, value: float) -> None:
    feed = runtime.sources.running[source].feed
    runtime.store.apply(feed, Collected([Update(family, (), value, START, "")]), START)


async def fails(_cursor: object) -> Collected:
    raise CollectError("auth", "token refused")


def failing(runtime: Runtime, source: str) -> PollLoop:
    """A poll loop, in place of the source's own, that fails."""
    running = runtime.sources.running[source]
    loop = PollLoop(
        runtime.store, running.feed, Poller("p", 15, fails), runtime.flusher, runtime.committer, runtime.monitor, runtime.clock
    )
    running.loops[:] = [loop]
    return loop


async def test_the_anklet_page_shows_the_hosts_own_values_only() -> None:
    runtime = at_rest()
    put(runtime, "other", SCRAPED, 1)
    scraped_alone = runtime.view.anklet_lines()
    put(runtime, "host", TOTAL, 2)

    assert (scraped_alone, runtime.view.anklet_lines()) == ("", "host_memory_total_bytes 2\n")


async def test_an_agent_without_trouble_is_ready() -> None:
    ready, body = at_rest().view.ready()

    assert (ready, body["status"], body["degraded"]) == (True, "ready", [])


async def test_held_flushes_are_degraded_not_unready() -> None:
    runtime = at_rest()
    runtime.clock.shift = -START  # type: ignore[attr-defined]
    await runtime.flusher.flush()

    ready, body = runtime.view.ready()

    assert (ready, body["degraded"]) == (True, ["flushes are held: clock_out_of_range; check the system clock"])


async def test_a_failing_source_is_degraded_not_unready() -> None:
    runtime = at_rest()
    await failing(runtime, "host").collect()

    ready, body = runtime.view.ready()

    assert (ready, body["degraded"]) == (True, ["source host, poller p: auth: token refused"])


async def test_a_stopping_agent_is_not_ready() -> None:
    runtime = at_rest()
    runtime.stopping.set()

    ready, body = runtime.view.ready()

    assert (ready, body["status"]) == (False, "stopping")


async def test_a_page_of_one_source_is_empty_before_its_first_result() -> None:
    assert at_rest().view.source_state("host") == "empty"


async def test_a_page_of_one_source_fails_while_nothing_has_ever_succeeded() -> None:
    runtime = at_rest()
    await failing(runtime, "host").collect()

    assert runtime.view.source_state("host") == "failed"


async def test_a_page_of_one_source_is_there_after_a_success() -> None:
    runtime = at_rest()
    await runtime.sources.running["internal"].loops[0].collect()
    await runtime.sources.end_all()

    assert runtime.view.source_state("internal") == "ok"


async def test_a_page_of_no_source_is_unknown() -> None:
    assert at_rest().view.source_state("nonsense") == "unknown"


async def test_an_explanation_names_the_sinks_and_the_external_labels() -> None:
    runtime = at_rest()
    put(runtime, "host", TOTAL, 2)

    found = runtime.view.explain("host_memory_total_bytes")

    assert found["live"] == 1
    assert found["sinks"] == [{"name": "vm", "protocol": "import", "extra_labels": {}}]
    assert found["external_labels"] == {"job": "cipush", "instance": runtime.instance}


async def test_the_status_tells_of_every_part() -> None:
    status = at_rest().view.status()

    assert [source["name"] for source in status["sources"]] == ["host", "other", "internal"]  # type: ignore[attr-defined]
    assert [sink["name"] for sink in status["sinks"]] == ["vm"]  # type: ignore[attr-defined]
    assert status["state_dir"] == "none"


async def test_a_source_that_is_over_its_cap_says_so_on_the_status_page() -> None:
    loaded = load((), {}, (*CONFIG, ("sources.host.max_series", "1")))
    runtime = Runtime(loaded, lambda: loaded, StateDir(None), Wall())
    put(runtime, "host", TOTAL, 1)
    put(runtime, "host", next(family for family in memory.FAMILIES if family is not TOTAL), 1)

    sources = runtime.view.status()["sources"]

    assert isinstance(sources, list)
    assert [len(source["remarks"]) for source in sources if source["name"] in ("host", "other")] == [1, 0]
    assert sources[0]["remarks"][0].startswith("max_series: there are more series than 1; ")


async def test_an_explanation_says_which_key_turns_a_metric_on_until_the_metric_is_there() -> None:
    loaded = load((), {}, (*CONFIG, ("sources.gitlab.url", "http://127.0.0.1:1")))
    runtime = Runtime(loaded, lambda: loaded, StateDir(None), Wall())
    before = runtime.view.explain("age_job_status_nonsense"), runtime.view.explain("age_test_suite_count")
    put(runtime, "gitlab", Family("test_suite_count", Kind.GAUGE, "Tests."), 1)

    said = "source gitlab: it is off; set sources.gitlab.collectors.test_reports.enabled to true"
    assert [found["verdict"] == said for found in before] == [False, True]
    assert runtime.view.explain("age_test_suite_count")["verdict"] == "1 live, from gitlab"
