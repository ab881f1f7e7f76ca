"""The simulated GitLab as a program: what its command line makes, its clock, and one that really listens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest

from agent.sim.gitlab.__main__ import Clock, arguments, made
from agent.sim.gitlab.flat import TOKEN


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    """Where one listens whose clock stands still."""
    words = ["--projects=3", "--pipelines=2", "--jobs=4", "--speed=0", "--profile=17-ee", "--limits", "--no-graphql"]
    command = [sys.executable, "-m", "agent.sim.gitlab", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        yield process.stdout.readline().strip()
        process.terminate()


def ask(address: str, path: str) -> httpx.Response:
    """An answer of it."""
    return httpx.get(f"{address}{path}", headers={"PRIVATE-TOKEN": TOKEN}, trust_env=False)


def test_it_prints_its_address_and_answers_there(address: str) -> None:
    assert len(ask(address, "/api/v4/projects").json()) == 3


def test_it_is_of_the_version_asked_for_and_limits_requests(address: str) -> None:
    answer = ask(address, "/api/v4/version")

    assert answer.json()["version"] == "17.5.2-ee"
    assert answer.headers["ratelimit-limit"] == "2000"


def test_its_only_date_is_the_worlds_own(address: str) -> None:
    httpx.post(f"{address}/_now", params={"to": "1772409600"}, trust_env=False)

    assert ask(address, "/api/v4/version").headers.get_list("date") == ["Mon, 02 Mar 2026 00:00:00 GMT"]


def test_graphql_can_be_closed(address: str) -> None:
    assert httpx.post(f"{address}/api/graphql", json={"query": "{currentUser{id}}"}, trust_env=False).status_code == 404


def test_its_clock_can_be_set_and_what_was_asked_forgotten(address: str) -> None:
    start = ask(address, "/_world").json()["start"]
    ask(address, "/api/v4/projects")
    httpx.post(f"{address}/_now", params={"to": str(start - 1)}, trust_env=False)
    httpx.post(f"{address}/_forget", trust_env=False)
    before = ask(address, "/api/v4/projects/7000/pipelines").json()

    assert before == []
    assert ask(address, "/_requests").json()["totals"] == {"requests": 1, "nodes": 0, "bytes": 2}


def test_without_jobs_the_world_is_one_like_the_real() -> None:
    world = made(arguments(["--projects=5", "--pipelines=20", "--seed=9", "--seconds=5000"]))

    assert len(world.projects) == 5
    assert len([pipeline for pipeline in world.pipelines() if pipeline.upstream is None]) == 20
    assert world.seed == 9


def test_a_clock_that_stands_still_shows_what_it_is_set_to() -> None:
    clock = Clock(5.0, 0.0)
    clock.set(9.0)

    assert clock() == 9.0


def test_a_clock_runs_as_fast_as_told() -> None:
    clock = Clock(100.0, 1e9)

    assert clock() > 100.0
