"""Runners: online or not, busy or not, one scope an owner."""

from __future__ import annotations

from typing import Any

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.model import Collected
from agent.sources.github.families import families
from agent.sources.github.runners import Runners
from tests.github_api import GitHub, Repository, api, clock, options

pytestmark = pytest.mark.anyio

FAMILIES = families(options())
ORG = "/orgs/acme/actions"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def runner(number: int, name: str, status: str = "online", *, busy: bool = False, **keys: Any) -> dict[str, Any]:
    return {"id": number, "name": name, "os": "linux", "status": status, "busy": busy, **keys}


@pytest.fixture
def github() -> GitHub:
    github = GitHub(Repository(1, "acme/shop", runners=[runner(1, "den", busy=True)]))
    github.more[f"{ORG}/runners"] = {"runners": [runner(2, "mac-1", runner_group_id=3), runner(3, "mac-2", "offline")]}
    github.more[f"{ORG}/runner-groups"] = {"runner_groups": [{"id": 3, "name": "macs"}]}
    return github


def of(github: GitHub, *, organizations: tuple[str, ...] = ("acme",), repositories: tuple[str, ...] = ("acme/shop",)) -> Runners:
    return Runners(api(github), organizations, repositories, FAMILIES, clock)


def values(collected: Collected, name: str) -> dict[tuple[str, ...], object]:
    return {update.labels: update.value for update in collected.updates if update.family.name == name}


async def test_runners_of_organisations_and_repositories_are_told(github: GitHub) -> None:
    found = await of(github).collect(None)

    assert values(found, "runner_online") == {
        ("acme", "mac-1", "macs", "linux"): 1.0,
        ("acme", "mac-2", "", "linux"): 0.0,
        ("acme/shop", "den", "", "linux"): 1.0,
    }
    assert values(found, "runner_busy") == {
        ("acme", "mac-1", "macs", "linux"): 0.0,
        ("acme", "mac-2", "", "linux"): 0.0,
        ("acme/shop", "den", "", "linux"): 1.0,
    }
    assert found.complete == ["runners:acme", "runners:acme/shop"]


async def test_what_is_the_same_is_free_and_is_said_to_be(github: GitHub) -> None:
    runners = of(github)
    first = await runners.collect(None)
    github.charged()

    second = await runners.collect(first.cursor)

    assert second.unchanged == ["runners:acme", "runners:acme/shop"]
    assert second.updates == []
    assert github.charged() == 0


async def test_a_runner_that_comes_and_goes_changes_its_owner_alone(github: GitHub) -> None:
    runners = of(github)
    first = await runners.collect(None)
    github.repositories[0].runners.clear()

    second = await runners.collect(first.cursor)

    assert (second.complete, second.unchanged, second.updates) == (["runners:acme/shop"], ["runners:acme"], [])


async def test_larger_runners_of_githubs_are_online_when_they_are_ready(github: GitHub) -> None:
    hosted = [{"id": 9, "name": "big", "platform": "linux-x64", "status": "Ready", "runner_group_id": 3}]
    github.more[f"{ORG}/hosted-runners"] = {"runners": [*hosted, {**hosted[0], "name": "off", "status": "Shutdown"}]}

    found = await of(github, repositories=()).collect(None)

    online = values(found, "runner_online")
    assert online["acme", "big", "macs", "linux-x64"] == 1.0
    assert online["acme", "off", "macs", "linux-x64"] == 0.0
    assert ("acme", "big", "macs", "linux-x64") not in values(found, "runner_busy")


async def test_two_runners_of_one_name_are_online_when_one_is(github: GitHub) -> None:
    github.repositories[0].runners = [runner(1, "den", "offline"), runner(2, "den"), runner(3, "den", "offline")]

    found = await of(github, organizations=()).collect(None)

    assert values(found, "runner_online") == {("acme/shop", "den", "", "linux"): 1.0}


async def test_all_pages_are_read(github: GitHub) -> None:
    github.repositories[0].runners = [runner(number, f"den-{number}") for number in range(250)]

    found = await of(github, organizations=()).collect(None)

    assert len(values(found, "runner_online")) == 250


async def test_an_owner_that_cannot_be_read_stops_no_other(github: GitHub) -> None:
    github.script[f"{ORG}/runners"] = [httpx.Response(403, json={"message": "Resource not accessible"})]

    found = await of(github).collect(None)

    assert found.complete == ["runners:acme/shop"]
    assert found.problem.startswith("acme: ")
    assert "Resource not accessible" in found.problem


async def test_where_none_can_be_read_the_collect_fails(github: GitHub) -> None:
    with pytest.raises(CollectError) as caught:
        await of(github, organizations=("other",), repositories=("other/shop",)).collect(None)

    assert caught.value.kind == "missing"


async def test_a_renamed_group_is_seen_within_the_hour(github: GitHub) -> None:
    runners = of(github, repositories=())
    first = await runners.collect(None)
    github.more[f"{ORG}/runner-groups"] = {"runner_groups": [{"id": 3, "name": "apples"}]}
    await anyio.sleep(3601)

    second = await runners.collect(first.cursor)

    assert ("acme", "mac-1", "apples", "linux") in values(second, "runner_online")


async def test_a_list_that_is_none_is_an_error(github: GitHub) -> None:
    github.more[f"{ORG}/runners"] = {"runners": "many"}

    with pytest.raises(CollectError, match="no list called runners"):
        await of(github, repositories=()).collect(None)
