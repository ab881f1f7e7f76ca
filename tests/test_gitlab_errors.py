"""What cannot be read of single projects, in the counter of errors."""

from __future__ import annotations

import anyio
import pytest
from trio.testing import MockClock

from agent.model import Collected
from agent.sources.gitlab.own import Stopwatch
from tests.gitlab_observed import Observer
from tests.gitlab_trapped import OPTIONS, made

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.mark.parametrize(("use_graphql", "collector"), [(True, "environments"), (False, "pipelines")])
async def test_what_cannot_be_read_of_single_projects_is_counted(use_graphql: bool, collector: str) -> None:
    world = made(pipelines=2)
    (closed,) = [project for project in world.projects if not project.builds_enabled]
    keys = {
        "use_graphql": use_graphql,
        "wildcards": [],
        "projects": [{"name": closed.path_at(world.start)}, {"name": "acme/no-such"}],
        "collectors": {"environments": {"enabled": True}},
    }
    observer = Observer(world, OPTIONS | keys, step=1800)
    await observer.watch(world.start)

    assert observer.shown("scrape_errors_total") == {("projects", "missing"): 2, (collector, "forbidden"): 2}


async def test_a_collect_that_is_cut_off_counts_as_a_time_out() -> None:
    watch = Stopwatch()

    async def collect(_cursor: object) -> Collected:
        await anyio.sleep(100)
        return Collected()

    with anyio.move_on_after(60):
        await watch.timed("pipelines", collect)(None)

    assert (watch.errors, watch.totals) == ({("pipelines", "timeout"): 1}, {"pipelines": 60})
