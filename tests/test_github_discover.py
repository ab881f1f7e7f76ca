"""Which repositories are read."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.secret import Secret
from agent.sources.github.api import Api
from agent.sources.github.auth import Credential
from agent.sources.github.discover import Discovery, Found
from tests.github_api import BASE, GitHub, Repository, api, clock, options

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture
def github() -> GitHub:
    github = GitHub(Repository(1, "acme/shop"), Repository(2, "acme/till"), Repository(3, "other/thing"))
    github.more["/user"] = {"login": "Anna"}
    github.more["/user/repos"] = [Repository(7, "anna/private").json()]
    github.more["/users/bob/repos"] = [Repository(8, "bob/public").json()]
    return github


def discovery(github: GitHub, wants: Callable[[str], bool] = lambda name: True, **keys: Any) -> Discovery:
    return Discovery(api(github), options(**keys), wants, clock)


def names(found: Found) -> list[str]:
    return [repository["full_name"] for repository in found.repositories.values()]


async def test_organisations_users_and_single_repositories_are_read_together(github: GitHub) -> None:
    found = await discovery(github, organizations=["acme"], users=["bob"], repositories=["other/thing"]).repositories()

    assert names(found) == ["acme/shop", "acme/till", "bob/public", "other/thing"]
    assert found.problems == []


async def test_private_repositories_of_the_tokens_own_user_are_read_too(github: GitHub) -> None:
    assert names(await discovery(github, users=["anna"]).repositories()) == ["anna/private"]


async def test_a_repository_that_is_listed_twice_is_read_once(github: GitHub) -> None:
    found = await discovery(github, organizations=["acme"], repositories=["acme/shop"]).repositories()

    assert sorted(names(found)) == ["acme/shop", "acme/till"]


class Installed:
    """Credentials of an App that is installed in two places."""

    is_app = True

    def __init__(self) -> None:
        self.asked_for: list[str] = []

    async def of(self, owner: str) -> Credential:
        self.asked_for.append(owner)
        return Credential("app", Secret("token-of-the-test"))

    def refused(self, credential: Credential) -> bool:
        return False

    async def owners(self) -> tuple[str, ...]:
        return ("acme", "anna")


async def test_an_app_reads_what_it_was_installed_for(github: GitHub) -> None:
    github.more["/installation/repositories"] = {"repositories": [Repository(1, "acme/shop").json()]}
    installed = Installed()
    asked = Api(BASE, api(github).calls, installed)

    found = await Discovery(asked, options(), lambda name: True, clock).repositories()

    assert names(found) == ["acme/shop"]
    assert installed.asked_for == ["acme", "anna"]


async def test_what_is_not_wanted_is_left_out(github: GitHub) -> None:
    found = await discovery(github, lambda name: name != "acme/till", organizations=["acme"]).repositories()

    assert names(found) == ["acme/shop"]


async def test_archived_repositories_are_left_out(github: GitHub) -> None:
    github.repositories[0].archived = True

    assert names(await discovery(github, organizations=["acme"]).repositories()) == ["acme/till"]


async def test_a_list_is_read_again_after_an_hour(github: GitHub) -> None:
    found = discovery(github, organizations=["acme"])
    await found.repositories()
    github.repositories.append(Repository(4, "acme/new"))
    await anyio.sleep(3500)
    early = names(await found.repositories())
    await anyio.sleep(200)

    assert "acme/new" not in early
    assert "acme/new" in names(await found.repositories())
    assert github.asked() == ["/orgs/acme/repos"] * 2


async def test_what_cannot_be_read_is_named_and_the_rest_goes_on(github: GitHub) -> None:
    found = await discovery(github, organizations=["acme", "nobody"]).repositories()

    assert names(found) == ["acme/shop", "acme/till"]
    assert len(found.problems) == 1
    assert found.problems[0].startswith("organization nobody: ")


async def test_a_list_that_fails_later_keeps_what_it_had(github: GitHub) -> None:
    found = discovery(github, organizations=["acme"])
    await found.repositories()
    await anyio.sleep(3601)
    github.script["/orgs/acme/repos"] = [httpx.Response(500) for _ in range(3)]

    after = await found.repositories()

    assert names(after) == ["acme/shop", "acme/till"]
    assert "HTTP 500" in after.problems[0]


async def test_a_list_that_failed_is_tried_again_after_five_minutes(github: GitHub) -> None:
    found = discovery(github, organizations=["acme"])
    github.script["/orgs/acme/repos"] = [httpx.Response(500) for _ in range(3)]
    with pytest.raises(CollectError):
        await found.repositories()
    github.asked()
    with pytest.raises(CollectError):
        await found.repositories()
    assert github.asked() == []
    await anyio.sleep(301)

    assert names(await found.repositories()) == ["acme/shop", "acme/till"]


@pytest.mark.parametrize("broken", [{"id": "x"}, {"full_name": None}, {"full_name": "no-owner"}, {"full_name": "a/" + "b" * 999}])
async def test_an_object_that_is_no_repository_is_left_out(github: GitHub, broken: dict[str, object]) -> None:
    github.more["/users/bob/repos"] = [{**Repository(8, "bob/public").json(), **broken}, Repository(9, "bob/other").json()]

    assert names(await discovery(github, users=["bob"]).repositories()) == ["bob/other"]


async def test_a_name_with_odd_characters_stays_within_its_path(github: GitHub) -> None:
    with pytest.raises(CollectError):
        await discovery(github, repositories=["acme/shop?x=1#y"]).repositories()

    assert github.asked() == ["/repos/acme/shop?x=1#y"]
