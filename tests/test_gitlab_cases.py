"""Test cases: which pipelines' are read, counted and shown."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.model import Collected, Observation
from agent.sources.gitlab.cases import Cases
from agent.sources.gitlab.families import families
from agent.sources.gitlab.objects import Pipeline, Project
from agent.sources.gitlab.options import ProjectOptions
from agent.sources.gitlab.refs import ref_name
from agent.sources.gitlab.reports import CaseReader
from agent.sources.gitlab.waiting import ASKING_SECONDS, LOOKS, MAX_TRIES
from tests.gitlab_rest import NOW, SHOP, GitLab, Json, options

pytestmark = pytest.mark.anyio
KEY = "gitlab:h:pipeline:1"
CASES: Json = {"test_suites": [{"name": "unit", "test_cases": [{"name": "adds", "status": "failed", "execution_time": 0.5}]}]}


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def pipeline(number: int = 1, status: str = "success", ref: str = "main", kind: str = "branch") -> Pipeline:
    return Pipeline(number, status, ref, kind, "push", NOW - 100, NOW)


class World:
    """Reports behind the API, and an engine that shows what it is told to."""

    def __init__(self, **keys: Any) -> None:
        self.gitlab = GitLab()
        self.gitlab.more["/projects/7/pipelines/1/test_report"] = CASES
        self.refs = {"main", "v1"}
        self.now = float(NOW)
        self.known = {7: (SHOP, ProjectOptions())}
        self.cases = Cases(CaseReader(self.gitlab), "h", options(**keys), families(options(**keys)), self)

    def shows(self, project_id: int, pipeline: Pipeline) -> bool:
        return ref_name(pipeline.kind, pipeline.ref, pipeline.merge_request) in self.refs

    def put(self, number: int, **changed: str) -> None:
        """A pipeline's report, of one case like `CASES` but for what is changed."""
        [suite] = CASES["test_suites"]
        cases = [case | changed for case in suite["test_cases"]]
        self.gitlab.more[f"/projects/7/pipelines/{number}/test_report"] = {"test_suites": [suite | {"test_cases": cases}]}

    async def take(self, *pipelines: Pipeline, counted: tuple[str, ...] = (KEY,)) -> list[Observation]:
        """What a poll counts, a minute after the one before."""
        self.now += 60
        return await self.cases.take({SHOP: pipelines} if pipelines else {}, counted, self.known, self.now)

    def present(self, cursor: object = None) -> Collected:
        return self.cases.present(cursor, self.known, NOW)


def shown(found: Collected) -> list[tuple[tuple[str, ...], object]]:
    return [(update.labels, update.value) for update in found.updates]


async def test_the_cases_of_a_pipeline_that_counts_count_once_under_its_ref() -> None:
    [found] = await World().take(pipeline())

    assert found.key == f"{KEY}:cases"
    [increment] = found.increments
    assert (increment.labels, increment.value) == (("acme/shop", "main", "unit", "adds"), 0.5)


async def test_suites_of_shards_are_called_after_their_job() -> None:
    world = World()
    [suite] = CASES["test_suites"]
    world.gitlab.more["/projects/7/pipelines/1/test_report"] = {
        "test_suites": [suite | {"name": name} for name in ("unit 1/2", "unit 2/2", "ui: [chrome]")]
    }
    [found] = await world.take(pipeline())

    assert [increment.labels[2] for increment in found.increments] == ["unit", "unit", "ui"]
    assert sorted(labels[2] for labels, _ in shown(world.present())) == ["ui", "unit"]


async def test_of_a_branch_and_a_tag_of_one_name_the_worst_is_shown() -> None:
    world = World()
    rules = {"output_sparse_status_metrics": False, "refs": {"branches": {"regexp": "."}}}
    world.known = {7: (SHOP, ProjectOptions.model_validate(rules))}
    world.put(2, status="success")
    await world.take(pipeline(1, ref="v1"), pipeline(2, ref="v1", kind="tag"), counted=(KEY, "gitlab:h:pipeline:2"))

    assert [labels[-1] for labels, value in shown(world.present()) if value] == ["failed"]
    assert len(shown(world.present())) == 4


async def test_a_ref_without_a_name_of_its_own_has_its_class() -> None:
    [found] = await World().take(pipeline(ref="feature"))

    assert found.increments[0].labels[1] == "other"


@pytest.mark.parametrize(("status", "counted"), [("running", (KEY,)), ("success", ())])
async def test_what_does_not_count_and_is_not_shown_is_not_asked_for(status: str, counted: tuple[str, ...]) -> None:
    world = World()
    world.refs = set()

    assert await world.take(pipeline(status=status), counted=counted) == []
    assert world.gitlab.asked == []


async def test_a_pipeline_without_cases_counts_for_nothing() -> None:
    world = World()
    world.gitlab.more["/projects/7/pipelines/1/test_report"] = {"test_suites": []}

    assert await world.take(pipeline()) == []


async def test_a_report_that_cannot_be_read_is_read_at_a_later_poll() -> None:
    world = World()
    world.gitlab.more["/projects/7/pipelines/1/test_report"] = CollectError("status", "HTTP 502")
    first = await world.take(pipeline())
    said = world.cases.problems(world.known)
    world.gitlab.more["/projects/7/pipelines/1/test_report"] = CASES
    second = await world.take()

    assert (first, [one.key for one in second]) == ([], [f"{KEY}:cases"])
    assert said == ["project acme/shop, test reports: HTTP 502"]
    assert world.cases.problems(world.known) == []
    assert world.cases.errors == {("test_reports", "status"): 1}
    assert await world.take() == []


@pytest.mark.parametrize(
    ("kind", "tries", "errors"),
    [
        ("status", MAX_TRIES, {"status": MAX_TRIES, "given_up": 1}),
        ("missing", 1, {"missing": 1}),
        ("forbidden", 2, {"forbidden": 2}),
    ],
)
async def test_a_report_is_not_asked_for_forever(kind: str, tries: int, errors: dict[str, int]) -> None:
    world = World()
    world.gitlab.more["/projects/7/pipelines/1/test_report"] = CollectError(kind, "no")
    await world.take(pipeline())
    for _ in range(12 * 60 - 1):
        await world.take()

    assert len(world.gitlab.asked) == tries
    assert world.cases.errors == {("test_reports", word): count for word, count in errors.items()}


async def test_the_newest_pipeline_of_a_ref_shows_its_cases() -> None:
    world = World()
    await world.take(pipeline())

    assert shown(world.present()) == [(("acme/shop", "main", "unit", "adds", "failed"), 1.0)]
    assert world.present().complete == ["cases:7"]


async def test_a_merge_requests_cases_are_shown_under_its_number_and_counted_under_its_class() -> None:
    world = World()
    world.refs = {"!12"}
    request = pipeline(ref="refs/merge-requests/12/head", kind="merge_request")._replace(merge_request=12)
    [found] = await world.take(request)

    assert found.increments[0].labels[1] == "merge_request"
    assert shown(world.present())[0][0][1] == "!12"


async def test_a_ref_that_is_not_shown_any_more_shows_no_cases() -> None:
    world = World()
    await world.take(pipeline())
    world.refs = set()

    assert shown(world.present()) == []


@pytest.mark.parametrize("numbers", [[1, 2], [2, 1], [2, 1, 3]])
async def test_a_ref_shows_the_cases_of_its_newest_pipeline_that_has_any_whichever_ended_last(numbers: list[int]) -> None:
    world = World()
    world.put(2, status="success")
    world.gitlab.more["/projects/7/pipelines/3/test_report"] = {"test_suites": []}
    for number in numbers:
        await world.take(pipeline(number), counted=(f"gitlab:h:pipeline:{number}",))

    assert [labels[-1] for labels, _ in shown(world.present())] == ["success"]


async def test_a_pipeline_that_was_run_again_shows_its_cases_as_they_are_now() -> None:
    world = World()
    await world.take(pipeline())
    world.put(1, status="success")
    await world.take(pipeline()._replace(updated=NOW + 60), counted=())

    assert [labels[-1] for labels, _ in shown(world.present())] == ["success"]


async def test_a_pipeline_of_no_ref_that_is_shown_counts_all_the_same() -> None:
    world = World()
    world.refs = set()

    assert len(await world.take(pipeline())) == 1
    assert shown(world.present()) == []


async def test_a_renamed_project_shows_its_cases_under_its_new_name() -> None:
    world = World()
    await world.take(pipeline())
    world.known = {7: (Project(7, "acme/store", "main"), ProjectOptions())}

    assert shown(world.present())[0][0][0] == "acme/store"


async def test_a_project_that_is_read_no_more_shows_nothing() -> None:
    world = World()
    await world.take(pipeline())
    first = world.present()
    world.known = {}

    assert world.present(first.cursor) == Collected([], ["cases:7"], unchanged=[], cursor=2)


async def test_by_class_only_the_default_branch_has_a_ref_of_its_own() -> None:
    world = World(labels={"ref": "class"})
    [found] = await world.take(pipeline())

    assert found.increments[0].labels[1] == "default"


async def test_after_a_start_the_cases_of_what_is_shown_are_read_once_and_not_counted() -> None:
    world = World()
    found = [await world.take(pipeline(), counted=()) for _ in range(3)]

    assert found == [[], [], []]
    assert len(world.gitlab.asked) == 1
    assert shown(world.present()) == [(("acme/shop", "main", "unit", "adds", "failed"), 1.0)]


async def test_they_are_read_a_few_at_a_time_and_what_counts_is_read_first() -> None:
    world = World(max_concurrent_requests=1)
    numbers = range(1, 2 * LOOKS + 1)
    world.refs = {f"b{number}" for number in numbers}
    world.gitlab.more |= {f"/projects/7/pipelines/{number}/test_report": CASES for number in (*numbers, 999)}
    looks = [pipeline(number, ref=f"b{number}") for number in numbers]
    one = await world.take(*looks, pipeline(999), counted=("gitlab:h:pipeline:999",))
    first = len(world.gitlab.asked)
    await world.take()

    assert [found.key for found in one] == ["gitlab:h:pipeline:999:cases"]
    assert world.gitlab.asked[0][0] == "/projects/7/pipelines/999/test_report"
    assert (first, len(world.gitlab.asked)) == (1 + LOOKS, 1 + 2 * LOOKS)


async def test_of_one_ref_nothing_is_read_for_being_shown_that_is_older_than_what_is() -> None:
    world = World(max_concurrent_requests=1)
    world.put(2)
    await world.take(pipeline(1), pipeline(3), pipeline(2), counted=())
    await world.take()

    assert [path for path, _ in world.gitlab.asked] == [f"/projects/7/pipelines/{number}/test_report" for number in (3, 2)]


async def test_only_projects_with_something_new_are_listed_again() -> None:
    world = World()
    await world.take(pipeline())
    first = world.present()
    second = world.present(first.cursor)
    world.refs = set()
    third = world.present(second.cursor)

    assert (first.complete, first.unchanged) == (["cases:7"], [])
    assert (second.updates, second.complete, second.unchanged) == ([], [], ["cases:7"])
    assert (third.updates, third.complete, third.unchanged) == ([], ["cases:7"], [])


async def test_what_a_commit_lost_is_read_again() -> None:
    world = World()
    await world.take(pipeline())
    world.cases.settled(is_committed=False)

    assert [one.key for one in await world.take()] == [f"{KEY}:cases"]
    world.cases.settled(is_committed=True)
    assert await world.take() == []


async def test_reports_that_take_too_long_hold_up_nobody_and_come_later() -> None:
    world = World()

    class Slow(GitLab):
        async def get(self, path: str, params: Any = None) -> Any:
            await anyio.sleep(3600)

    cases = Cases(CaseReader(Slow()), "h", options(), families(options()), world)
    begun = anyio.current_time()

    assert await cases.take({SHOP: [pipeline()]}, {KEY}, world.known, NOW) == []
    assert anyio.current_time() - begun == ASKING_SECONDS
    assert cases.errors == {("test_reports", "timeout"): 1}
