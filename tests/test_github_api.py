"""The API client: what it asks, what it makes of answers, and what it never does."""

from __future__ import annotations

import gzip
import json

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError, ConfigError
from agent.sources.github.api import base_of, owner_of
from tests.github_api import BASE, GitHub, Repository, api

pytestmark = pytest.mark.anyio


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture
def github() -> GitHub:
    return GitHub(Repository(1, "acme/shop"))


async def test_what_is_asked_says_who_asks_and_for_which_version(github: GitHub) -> None:
    await api(github).get("/repos/acme/shop")

    sent = github.requests[0].headers
    assert sent["authorization"] == github.token
    assert sent["x-github-api-version"] == "2022-11-28"
    assert sent["user-agent"] == "cipush/test"


async def test_an_etag_that_still_holds_gives_304_and_no_data(github: GitHub) -> None:
    client = api(github)
    first = await client.get("/repos/acme/shop")

    second = await client.get("/repos/acme/shop", etag=first.etag)

    assert (first.status, first.data["id"]) == (200, 1)
    assert (second.status, second.data) == (304, None)


async def test_all_pages_of_a_list_are_read(github: GitHub) -> None:
    github.more["/things"] = [{"id": number} for number in range(250)]

    found = await api(github).every("/things")

    assert [item["id"] for item in found] == list(range(250))
    assert len(github.requests) == 3


async def test_a_list_without_end_is_given_up(github: GitHub) -> None:
    page = {"link": f'<{BASE}/things?page=2>; rel="next"'}
    github.script["/things"] = [httpx.Response(200, json=[{}], headers=page) for _ in range(20)]

    with pytest.raises(CollectError, match="more than 10 pages") as caught:
        await api(github).every("/things", most=10)

    assert caught.value.kind == "size"
    assert len(github.requests) == 10


async def test_credentials_follow_no_page_to_another_host(github: GitHub) -> None:
    page = {"link": '<https://elsewhere.example/things?page=2>; rel="next"'}
    github.script["/things"] = [httpx.Response(200, json=[{}], headers=page)]

    with pytest.raises(CollectError, match="another address"):
        await api(github).every("/things")

    assert len(github.requests) == 1


async def test_a_renamed_repository_is_found(github: GitHub) -> None:
    github.renamed["acme/store"] = "acme/shop"

    answer = await api(github).get("/repos/acme/store")

    assert answer.data["full_name"] == "acme/shop"
    assert github.asked() == ["/repos/acme/store", "/repositories/1"]


@pytest.mark.parametrize(
    "location", ["https://elsewhere.example/repositories/1", "http://api.github.com/repositories/1", "http://["]
)
async def test_a_redirect_to_another_host_is_not_followed(github: GitHub, location: str) -> None:
    github.script["/repos/acme/shop"] = [httpx.Response(301, headers={"location": location})]

    with pytest.raises(CollectError, match="redirect to another "):
        await api(github).get("/repos/acme/shop")

    assert len(github.requests) == 1


async def test_a_redirect_that_leads_on_is_followed_once(github: GitHub) -> None:
    again = [httpx.Response(302, headers={"location": "/repos/acme/shop"}) for _ in range(5)]
    github.script["/repos/acme/shop"] = [*again]

    with pytest.raises(CollectError, match="HTTP 302"):
        await api(github).get("/repos/acme/shop")

    assert len(github.requests) == 2


async def test_a_server_error_is_tried_again(github: GitHub) -> None:
    github.script["/repos/acme/shop"] = [httpx.Response(502), httpx.ReadError("gone")]

    assert (await api(github).get("/repos/acme/shop")).data["id"] == 1


async def test_a_server_that_stays_broken_is_given_up_after_three_tries(github: GitHub) -> None:
    github.script["/repos/acme/shop"] = [httpx.Response(503, text="no\x00pe") for _ in range(5)]

    with pytest.raises(CollectError, match=r"HTTP 503 no\\x00pe") as caught:
        await api(github).get("/repos/acme/shop")

    assert caught.value.kind == "status"
    assert len(github.requests) == 3


async def test_what_is_not_json_is_an_error_that_says_where(github: GitHub) -> None:
    github.script["/repos/acme/shop"] = [httpx.Response(200, text="<html>")]

    with pytest.raises(CollectError, match="/repos/acme/shop: the answer is not JSON") as caught:
        await api(github).get("/repos/acme/shop")

    assert caught.value.kind == "json"


async def test_nesting_without_end_is_no_json(github: GitHub) -> None:
    github.script["/repos/acme/shop"] = [httpx.Response(200, text="[" * 100_000)]

    with pytest.raises(CollectError) as caught:
        await api(github).get("/repos/acme/shop")

    assert caught.value.kind == "json"


@pytest.mark.parametrize("anyio_backend", ["asyncio"])  # trio complains of generators inside httpx
async def test_an_answer_that_unpacks_to_too_much_is_not_read_on(github: GitHub) -> None:
    bomb = gzip.compress(b" " * 4_000_000)
    github.script["/repos/acme/shop"] = [httpx.Response(200, content=bomb, headers={"content-encoding": "gzip"})]

    with pytest.raises(CollectError) as caught:
        await api(github).get("/repos/acme/shop", max_bytes=1_000_000)

    assert caught.value.kind == "size"


async def test_a_packed_answer_is_unpacked(github: GitHub) -> None:
    packed = gzip.compress(json.dumps({"id": 5}).encode())
    github.script["/repos/acme/shop"] = [httpx.Response(200, content=packed, headers={"content-encoding": "gzip"})]

    assert (await api(github).get("/repos/acme/shop")).data == {"id": 5}


async def test_a_server_that_never_answers_costs_no_more_than_the_timeout() -> None:
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await anyio.sleep_forever()
            raise AssertionError

    client = api(Silent(), timeout_seconds=20)
    begun = anyio.current_time()

    with pytest.raises(CollectError, match="within 20 s") as caught:
        await client.get("/repos/acme/shop")

    assert caught.value.kind == "timeout"
    assert anyio.current_time() - begun == pytest.approx(20)
    assert client.calls.requests == {("core", "timeout"): 1}


async def test_what_is_gone_and_what_may_not_be_read_are_told_apart(github: GitHub) -> None:
    github.script["/repos/acme/shop"] = [httpx.Response(403, json={"message": "Resource not accessible"})]
    client = api(github)

    with pytest.raises(CollectError, match="Resource not accessible") as refused:
        await client.get("/repos/acme/shop")
    with pytest.raises(CollectError, match="gone") as gone:
        await client.get("/repos/acme/other")

    assert (refused.value.kind, gone.value.kind) == ("auth", "missing")


async def test_a_token_that_is_not_taken_is_an_error_without_the_token(github: GitHub) -> None:
    github.token = "Bearer another"

    with pytest.raises(CollectError, match="still good") as caught:
        await api(github).get("/repos/acme/shop")

    assert caught.value.kind == "auth"
    assert "token-of-the-test" not in str(caught.value)


async def test_at_most_eight_requests_are_under_way_at_one_time(github: GitHub) -> None:
    class Counted(httpx.AsyncBaseTransport):
        now = most = 0

        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            self.now += 1
            self.most = max(self.most, self.now)
            await anyio.sleep(1)
            self.now -= 1
            return httpx.Response(200, stream=httpx.ByteStream(b"{}"), request=request)

    counted = Counted()
    client = api(counted)

    async with anyio.create_task_group() as group:
        for _ in range(30):
            group.start_soon(client.get, "/meta")

    assert counted.most == 8


async def test_requests_are_counted_by_answer(github: GitHub) -> None:
    client = api(github)
    etag = (await client.get("/repos/acme/shop")).etag
    await client.get("/repos/acme/shop", etag=etag)
    with pytest.raises(CollectError):
        await client.get("/nothing")

    assert client.calls.requests == {("core", "200"): 1, ("core", "304"): 1, ("core", "404"): 1}


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("https://github.com", "https://api.github.com"),
        ("https://www.github.com/acme", "https://api.github.com"),
        ("http://api.github.com", "https://api.github.com"),
        ("https://api.github.com/v3", "https://api.github.com"),
        ("https://acme.ghe.com", "https://api.acme.ghe.com"),
        ("https://ghe.example.org", "https://ghe.example.org/api/v3"),
        ("https://ghe.example.org:8443/api/graphql", "https://ghe.example.org:8443/api/v3"),
        ("https://me:secret-word@ghe.example.org/api/v3", "https://ghe.example.org/api/v3"),
    ],
)
def test_an_address_that_is_not_the_apis_is_refused_with_the_right_one(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError) as caught:
        base_of("sources.github", wrong)

    assert caught.value.problems[0].endswith(f"use {right}")
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    ["https://api.github.com/", "https://api.acme.ghe.com", "https://ghe.example.org/api/v3/", "http://127.0.0.1:8080"],
)
def test_addresses_of_apis_are_taken(url: str) -> None:
    assert base_of("sources.github", url) == url.rstrip("/")


def test_the_owner_is_told_from_the_path() -> None:
    paths = ["/repos/acme/shop/hooks", "/orgs/acme", "/users/anna/repos", "/app/hook/deliveries", "/meta"]

    assert [owner_of(path) for path in paths] == ["acme", "acme", "anna", "/app", ""]
