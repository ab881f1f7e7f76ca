"""Projects of a GitLab that cannot be listed: what is said of them, and when they are asked for again."""

from __future__ import annotations

from itertools import pairwise

import anyio
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.secret import Secret
from agent.sources.gitlab.discover import MAX_LOGGED, Discovery
from tests.gitlab_rest import GitLab, clock, options
from tests.test_gitlab_discover import MISSING, gitlab, group, paths, project

__all__ = ["gitlab"]

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.mark.parametrize(
    ("kind", "gaps"),
    [
        ("missing", [60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 21600, 21600]),
        ("forbidden", [60, 120, 240, 480, 960, 1920, 3840, 7680, 15360, 21600, 21600]),
        ("status", [10, 20, 40, 80, 160, 300, 300]),
        ("connect", [10, 20, 40, 80, 160, 300, 300]),
    ],
)
async def test_what_cannot_be_read_is_asked_for_soon_and_ever_more_seldom_and_counted_as_often(
    gitlab: GitLab, kind: str, gaps: list[int]
) -> None:
    times = await failing(gitlab, CollectError(kind, "no"), sum(gaps) + len(gaps))

    assert [round(later - before) for before, later in pairwise(times)] == gaps


async def failing(gitlab: GitLab, error: CollectError, seconds: float) -> list[float]:
    """When a project that answers so is asked for, by a poll every second; beside it there is one that can be read."""
    times: list[float] = []

    def asked(_given: object) -> CollectError:
        times.append(clock())
        return error

    gitlab.more["/projects/acme%2Fgone"] = asked
    discovery = Discovery(gitlab, options(projects=[{"name": "acme/gone"}, {"name": "other/thing"}]), clock)
    begun = clock()
    while clock() < begun + seconds:
        listed = await discovery.projects()
        known = [known for known in discovery._lists.values() if known.kind]
        await anyio.sleep(max(0.0, known[0].until - clock()))
    assert discovery.errors == {("projects", error.kind): len(times)}
    assert (list(paths(listed)), len(listed.problems)) == ([9], 1)
    return times


async def test_another_token_is_tried_at_once_with_what_failed_and_with_nothing_else(gitlab: GitLab) -> None:
    token = Secret("first-token")
    gitlab.more["/projects/acme%2Fshop"] = MISSING
    discovery = Discovery(gitlab, options(projects=[{"name": "acme/shop"}], wildcards=[group()]), clock, token=lambda: token)
    await discovery.projects()
    token = Secret("second-token")
    gitlab.more["/projects/acme%2Fshop"] = project(1, "acme/shop")

    assert (await discovery.projects()).problems == []
    assert gitlab.count("/groups/acme/projects") == 1


async def test_an_instance_that_answers_nothing_but_errors_is_not_held_against_a_group(gitlab: GitLab) -> None:
    gitlab.more |= {path: CollectError("status", "HTTP 502") for path in ("/groups/acme/projects", "/version")}

    with pytest.raises(CollectError, match=r"^projects cannot be listed: HTTP 502; see whether the GitLab at `url` works$"):
        await Discovery(gitlab, options(wildcards=[group()]), clock).projects()


async def test_what_cannot_be_read_is_logged_when_it_begins_and_when_it_ends(
    gitlab: GitLab, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    discovery = Discovery(gitlab, options(wildcards=[group(), group("nobody")]), clock, name="work")
    for _ in range(3):
        await discovery.projects()
        await anyio.sleep(300)
    gitlab.more["/groups/nobody/projects"] = []
    for _ in range(10):
        await discovery.projects()
        await anyio.sleep(300)

    begun, ended = (record.getMessage() for record in caplog.records)
    assert begun.startswith("source work: group nobody: there is no such group")
    assert ended == "source work: group nobody can be read again"


async def test_an_instance_that_is_away_is_logged_once_however_many_lists_there_are(
    gitlab: GitLab, caplog: pytest.LogCaptureFixture
) -> None:
    gitlab.more["/groups/other/projects"] = [project(5, "other/web")]
    discovery = Discovery(gitlab, options(wildcards=[group(), group("other")]), clock)
    await discovery.projects()
    gitlab.more |= {f"/groups/{name}/projects": CollectError("connect", "refused") for name in ("acme", "other")}
    await anyio.sleep(1801)
    await discovery.projects()

    assert [record.getMessage() for record in caplog.records] == ["source gitlab: projects cannot be listed: refused"]


async def test_of_many_that_cannot_be_read_the_log_names_some(gitlab: GitLab, caplog: pytest.LogCaptureFixture) -> None:
    names = [{"name": f"acme/p{number}"} for number in range(MAX_LOGGED + 30)]
    await Discovery(gitlab, options(projects=names, wildcards=[group()]), clock).projects()

    assert len(caplog.records) == MAX_LOGGED
