"""Requests: what is counted of them, how they are called, and how long they took."""

from __future__ import annotations

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.calls import MAX_ENDPOINTS, Durations, endpoint_of
from agent.sources.gitlab.families import REQUEST_SECONDS
from tests.gitlab_api import Instance, client, known, reader

pytestmark = pytest.mark.anyio

JOBS = "/projects/7/pipelines/8/jobs"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/projects", "/projects"),
        ("/projects/7", "/projects/:id"),
        ("/projects/acme%2Fshop/pipelines/8/jobs?page=2", "/projects/:id/pipelines/:id/jobs"),
        ("/groups/acme%2Fsub/projects", "/groups/:id/projects"),
        ("/users/alice/projects", "/users/:id/projects"),
        ("/projects/7/repository/commits/deadbeef", "/projects/:id/repository/commits/:id"),
        ("/projects/7/environments/9", "/projects/:id/environments/:id"),
        ("/version", "/version"),
    ],
)
def test_an_endpoint_is_a_path_without_names(path: str, endpoint: str) -> None:
    assert endpoint_of(path) == endpoint


@given(st.text(max_size=300))
def test_any_path_becomes_a_short_label(path: str) -> None:
    assert len(endpoint_of(path)) < 300


async def test_requests_are_counted_by_what_came_of_them() -> None:
    instance = Instance()
    instance.lists[JOBS] = []
    instance.script[JOBS] = [httpx.Response(502), httpx.ReadError("gone")]
    asking = client(instance)

    await asking.get(JOBS)
    with pytest.raises(CollectError):
        await asking.get("/projects/7")

    jobs = "/projects/:id/pipelines/:id/jobs"
    assert asking.calls.requests == {
        ("GET", jobs, "502"): 1,
        ("GET", jobs, "connect"): 1,
        ("GET", jobs, "200"): 1,
        ("GET", "/projects/:id", "404"): 1,
    }


async def test_graphql_is_one_endpoint() -> None:
    asking = reader(Instance())

    await asking.changed([known(1)], 0)

    assert asking._api.calls.requests == {("POST", "graphql", "200"): 2}


async def test_endpoints_are_not_without_number() -> None:
    instance = Instance()
    asking = client(instance)
    words = ("projects", "groups", "users", "jobs", "tags", "pipelines", "metrics", "languages")

    for first in words:
        for second in words:
            for third in ("x", "notes"):
                with pytest.raises(CollectError):
                    await asking.get(f"/{first}/{second}/{third}")

    endpoints = {endpoint for _, endpoint, _ in asking.calls.requests}
    assert len(endpoints) == MAX_ENDPOINTS + 1
    assert "other" in endpoints
    assert sum(asking.calls.requests.values()) == 128


async def test_how_long_answers_took_is_kept_in_buckets() -> None:
    instance = Instance()
    instance.lists[JOBS] = []
    asking = client(instance)

    for _ in range(3):
        await asking.get(JOBS)

    took = asking.calls.durations["GET", "/projects/:id/pipelines/:id/jobs"]
    assert sum(took.counts) == 3
    assert took.counts[REQUEST_SECONDS.index(0.25)] + took.counts[REQUEST_SECONDS.index(0.1)] == 3
    assert took.total == pytest.approx(0.3)


@pytest.mark.parametrize(("seconds", "place"), [(0.0, 0), (0.05, 0), (0.051, 1), (30.0, 8), (31.0, 9)])
def test_a_bucket_has_what_took_no_longer_than_its_bound(seconds: float, place: int) -> None:
    found = Durations()

    found.took(seconds)

    assert [index for index, count in enumerate(found.counts) if count] == [place]
