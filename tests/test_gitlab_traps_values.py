"""What leads astray in GitLab's answers themselves: names that break formats, pages shorter than asked for, what is missing."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from trio.testing import MockClock

from agent.sources.gitlab.asking import pages
from agent.sources.gitlab.discover import Discovery
from agent.sources.gitlab.objects import Job, Project
from agent.sources.gitlab.options import Options
from agent.sources.gitlab.rest import RestReader
from agent.sources.gitlab.tiers import Tiers
from agent.wire.exposition import series_text
from tests import gitlab_rest
from tests.gitlab_api import Instance, client
from tests.gitlab_engine import Life, job, pipeline
from tests.gitlab_rest import SHOP, GitLab, Run, clock

pytestmark = pytest.mark.anyio
THINGS = "/things"
ODD = ['say "hi"', "two\nlines", "back\\slash", "snow ☃ and 🚀", "{a=b}", "# HELP me", "tab\there", "Ünïcödé"]


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.mark.parametrize("name", ODD)
def test_a_name_with_quotes_newlines_or_emoji_arrives_as_it_is(name: str) -> None:
    life = Life(Options.model_validate({"project_defaults": {"refs": {"branches": {"regexp": "."}}}}))
    life.take(pipeline(1, ref=name), jobs={1: [job(100, name=name)]})
    family = life.families.job_run_count
    (labels,) = life.total(family.name)

    text = series_text(family.name, list(zip(family.labels, labels, strict=True)))
    (sample,) = next(iter(text_string_to_metric_families(f"{text} 1\n"))).samples
    assert (sample.labels["job_name"], sample.labels["ref"]) == (name, name)


async def test_a_page_that_is_shorter_than_asked_for_is_not_the_last() -> None:
    instance = Instance()
    first = [{"id": number} for number in range(100)]
    again = f'<{instance_url()}?page=2&per_page=500>; rel="next"'
    instance.script[THINGS] = [
        httpx.Response(200, json=first, headers={"x-per-page": "100", "link": again}),
        httpx.Response(200, json=[{"id": 100}], headers={"x-next-page": ""}),
    ]

    found, _ = await pages(client(instance), THINGS, {"per_page": "500"})

    assert len(found) == 101


def instance_url() -> str:
    return "https://gitlab.example.com/api/v4/things"


async def test_an_instance_that_sends_none_of_its_headers_is_read_and_not_taken_for_exhausted() -> None:
    instance = Instance()
    instance.script[THINGS] = [httpx.Response(200, json=[{"id": 1}]) for _ in range(30)]
    gitlab = client(instance, max_requests_per_second=1e6, burst_requests_per_second=1e6)

    begun = anyio.current_time()
    answers = [(await gitlab.get(THINGS)).next for _ in range(30)]

    assert answers == [""] * 30
    assert anyio.current_time() - begun == pytest.approx(30 * 0.1)  # what the answers take, and no waiting


@pytest.mark.parametrize("expires", [None, "12025-01-01", "9999-12-31", "never", 5])
async def test_a_token_that_ends_after_the_year_9999_or_never_is_a_token(expires: object) -> None:
    gitlab = GitLab()
    gitlab.more["/personal_access_tokens/self"] = {
        "id": 1,
        "name": 'a "token"\n🚀',
        "scopes": ["read_api"],
        "expires_at": expires,
    }
    tiers = Tiers(gitlab, gitlab_rest.options(), clock)
    await tiers.refresh([])

    assert tiers.problem == ""


async def test_a_job_without_runner_user_or_commit_counts() -> None:
    nothing: dict[str, Any] = dict.fromkeys(("runner", "runner_manager", "user", "commit", "coverage", "artifacts_file"))
    run = Run(1, jobs=[gitlab_rest.job(11, **nothing, started_at=None, duration=None, queued_duration=None, status="canceled")])
    read = await RestReader(GitLab(run), gitlab_rest.options()).jobs({SHOP: [pipeline(1)]})

    (found,) = jobs_of(read[1])
    assert (found.status, found.started, found.duration, found.queued, found.runner_type) == (
        "canceled",
        None,
        None,
        None,
        "unknown",
    )


def jobs_of(answer: object) -> list[Job]:
    assert isinstance(answer, list)
    return answer


async def test_an_empty_repository_has_no_default_branch_and_is_read() -> None:
    gitlab = GitLab()
    gitlab.more["/projects/acme%2Fempty"] = {
        "id": 9,
        "path_with_namespace": "acme/empty",
        "default_branch": None,
        "created_at": None,
    }
    listed = await Discovery(gitlab, gitlab_rest.options(projects=[{"name": "acme/empty"}]), clock).projects()

    assert [project for project, _ in listed.projects.values()] == [Project(9, "acme/empty")]
