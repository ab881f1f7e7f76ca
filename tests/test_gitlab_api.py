"""The API client: what it asks, what it makes of answers, and what it never does."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.gitlab.api import Gitlab
from tests.gitlab_api import BASE, NOW, TOKEN, Instance, client

pytestmark = pytest.mark.anyio

THINGS = "/projects/1/jobs"


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


@pytest.fixture
def instance() -> Instance:
    found = Instance()
    found.lists[THINGS] = [{"id": number} for number in range(250)]
    return found


async def test_what_is_asked_says_who_asks(instance: Instance) -> None:
    await client(instance).get(THINGS)

    sent = instance.requests[0]
    assert (sent.headers["private-token"], sent.headers["user-agent"]) == (TOKEN, "cipush/test")
    assert str(sent.url) == f"{BASE}/api/v4/projects/1/jobs"
    assert "authorization" not in sent.headers


async def test_an_instance_below_a_path_is_asked_there() -> None:
    instance = Instance()
    instance.lists["/gitlab/api/v4/version"] = []

    await client(instance, url="https://example.com/gitlab/").get("/version")

    assert str(instance.requests[0].url) == "https://example.com/gitlab/api/v4/version"


async def test_what_is_asked_for_is_encoded(instance: Instance) -> None:
    await client(instance).get(THINGS, {"updated_after": "2026-01-01T00:00:00+01:00", "scope[]": ["failed", "success"]})

    assert (
        instance.requests[0].url.query
        == b"updated_after=2026-01-01T00%3A00%3A00%2B01%3A00&scope%5B%5D=failed&scope%5B%5D=success"
    )


async def test_more_can_be_asked_of_what_is_a_question_already(instance: Instance) -> None:
    await client(instance).get(f"{THINGS}?iids[]=1&iids[]=2", {"per_page": "5"})

    assert instance.requests[0].url.query == b"iids[]=1&iids[]=2&per_page=5"


async def every(asking: Gitlab, path: str, params: Mapping[str, str]) -> list[Any]:
    """A list, all its pages."""
    answer = await asking.get(path, params)
    found = list(answer.data)
    while answer.next:
        answer = await asking.get(answer.next)
        found += answer.data
    return found


async def test_all_pages_of_a_list_are_read(instance: Instance) -> None:
    found = await every(client(instance), THINGS, {"per_page": "100"})

    assert [item["id"] for item in found] == list(range(250))
    assert len(instance.requests) == 3


async def test_pages_are_found_without_links_too(instance: Instance) -> None:
    first = httpx.Response(200, json=[{"id": 1}], headers={"x-next-page": "2"})
    second = httpx.Response(200, json=[{"id": 2}], headers={"x-next-page": "3"})
    instance.script[THINGS] = [first, second, httpx.Response(200, json=[{"id": 3}], headers={"x-next-page": ""})]

    found = await every(client(instance), THINGS, {"order_by": "id"})

    assert [item["id"] for item in found] == [1, 2, 3]
    assert [request.url.query for request in instance.requests[1:]] == [b"order_by=id&page=2", b"order_by=id&page=3"]


@pytest.mark.parametrize("said", ["-1", "two", "9" * 30, "1e3"])
async def test_a_next_page_that_is_none_is_not_asked_for(instance: Instance, said: str) -> None:
    header = {"x-next-page": said}
    instance.script[THINGS] = [httpx.Response(200, json=[{"id": 1}], headers=header)]

    assert (await client(instance).get(THINGS)).next == ""


async def test_the_token_follows_no_page_to_another_host(instance: Instance) -> None:
    """Instances behind a proxy often call themselves by a wrong name: the page is there, the host is not."""
    link = {"link": '<http://elsewhere.example/other?page=2&id_after=7>; rel="next"'}
    instance.script[THINGS] = [httpx.Response(200, json=[{"id": 1}], headers=link)]

    answer = await client(instance).get(THINGS)

    assert answer.next == "/projects/1/jobs?page=2&id_after=7"


async def test_a_renamed_project_is_found(instance: Instance) -> None:
    instance.lists["/projects/1"] = [{"id": 1}]
    instance.script["/projects/acme/shop"] = [httpx.Response(301, headers={"location": f"{BASE}/api/v4/projects/1"})]

    answer = await client(instance).get("/projects/acme%2Fshop")

    assert answer.data == [{"id": 1}]


@pytest.mark.parametrize("location", ["https://elsewhere.example/projects/1", "http://gitlab.example.com/projects/1", "http://["])
async def test_a_redirect_to_another_host_is_not_followed(instance: Instance, location: str) -> None:
    instance.script[THINGS] = [httpx.Response(302, headers={"location": location})]

    with pytest.raises(CollectError, match=r"redirect to another .*; if url should lead there, write it so"):
        await client(instance).get(THINGS)

    assert len(instance.requests) == 1


async def test_a_redirect_to_https_names_it_without_credentials_and_path() -> None:
    http, words = Instance(), "another scheme or port, https://gitlab.example.com, which is not followed; if url"
    http.script[THINGS] = [httpx.Response(301, headers={"location": f"https://me:secret@gitlab.example.com{THINGS}?x=1"})]

    with pytest.raises(CollectError, match=words):
        await client(http, url=BASE.replace("https", "http")).get(THINGS)


async def test_a_server_error_is_tried_again(instance: Instance) -> None:
    instance.script[THINGS] = [httpx.Response(502, text="<html>"), httpx.ReadError("gone")]

    assert len((await client(instance).get(THINGS)).data) == 20


async def test_a_server_that_stays_broken_is_given_up(instance: Instance) -> None:
    instance.script[THINGS] = [httpx.Response(503, text="no\x00pe") for _ in range(5)]

    with pytest.raises(CollectError, match=r"HTTP 503 no\\x00pe") as caught:
        await client(instance).get(THINGS)

    assert caught.value.kind == "status"
    assert len(instance.requests) == 3


@pytest.mark.parametrize("body", ["<html>sign in</html>", "", "[" * 100_000, '{"a": NaN}'])
async def test_what_is_not_json_is_an_error_that_says_where(instance: Instance, body: str) -> None:
    instance.script[THINGS] = [httpx.Response(200, text=body)]

    with pytest.raises(CollectError, match="/projects/1/jobs: the answer is not JSON") as caught:
        await client(instance).get(THINGS)

    assert caught.value.kind == "json"


async def test_an_answer_without_end_costs_no_more_than_the_timeout() -> None:
    class Silent(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await anyio.sleep_forever()
            raise AssertionError

    asking = client(Silent(), timeout_seconds=20)
    begun = anyio.current_time()

    with pytest.raises(CollectError, match="within 20 s") as caught:
        await asking.get(THINGS)

    assert caught.value.kind == "timeout"
    assert anyio.current_time() - begun == pytest.approx(20)
    assert asking.calls.requests == {("GET", "/projects/:id/jobs", "timeout"): 1}


async def test_a_packed_answer_is_unpacked(instance: Instance) -> None:
    packed = gzip.compress(json.dumps({"id": 5}).encode())
    instance.script[THINGS] = [httpx.Response(200, content=packed, headers={"content-encoding": "gzip"})]

    assert (await client(instance).get(THINGS)).data == {"id": 5}


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (401, {"message": "401 Unauthorized"}, "auth", "is the token still good"),
        (403, {"error": "insufficient_scope", "scope": "api"}, "forbidden", "read_api"),
        (404, {"message": "404 Project Not Found"}, "missing", "404 Project Not Found"),
        (400, {"error": "metric is missing"}, "request", "metric is missing"),
        (418, {}, "status", "HTTP 418"),
    ],
)
async def test_refusals_are_told_apart(instance: Instance, status: int, body: object, kind: str, words: str) -> None:
    instance.script[THINGS] = [httpx.Response(status, json=body)]

    with pytest.raises(CollectError, match=words) as caught:
        await client(instance).get(THINGS)

    assert caught.value.kind == kind
    assert TOKEN not in str(caught.value)


async def test_the_date_is_the_servers_or_else_our_own(instance: Instance) -> None:
    asking = client(instance)

    ours = await asking.get(THINGS)
    instance.headers = {"date": "Mon, 21 Sep 2026 13:00:00 GMT"}
    theirs = await asking.get(THINGS)

    assert ours.date == pytest.approx(NOW + 0.1)
    assert theirs.date == 1_789_995_600


@pytest.mark.parametrize("said", ["Thu, 01 Jan 1970 00:00:07 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"])
async def test_the_date_of_a_clock_that_was_never_set_is_not_the_servers(instance: Instance, said: str) -> None:
    instance.headers = {"date": said}

    assert (await client(instance).get(THINGS)).date == pytest.approx(NOW, abs=1)


# -- the token -------------------------------------------------------------------------------------------


async def test_a_token_in_a_file_is_read_again_when_it_changes(instance: Instance, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old-token-of-the-test\n")
    asking = client(instance, token="", token_file=str(file))
    instance.token = "new-token-of-the-test"
    with pytest.raises(CollectError):
        await asking.get(THINGS)

    file.write_text("new-token-of-the-test")

    assert len((await asking.get(THINGS)).data) == 20


async def test_a_token_that_changes_while_it_is_refused_is_tried_at_once(instance: Instance, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("old-token-of-the-test")

    class Changing(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            answer = await instance.handle_async_request(request)
            file.write_text("token-of-the-test")
            return answer

    assert len((await client(Changing(), token="", token_file=str(file)).get(THINGS)).data) == 20


# -- GraphQL ---------------------------------------------------------------------------------------------

GRAPHQL = "/api/graphql"


async def test_what_graphql_could_not_answer_stands_beside_what_it_could(instance: Instance) -> None:
    errors = [{"message": "no\nluck", "path": ["projects", "nodes", 0]}, {"message": 5}, None, {"message": "x", "path": "y"}]
    instance.script[GRAPHQL] = [httpx.Response(200, json={"data": {"projects": None}, "errors": errors})]

    found = await client(instance).query("{projects{nodes{id}}}", {"a": 1})

    assert found.data == {"projects": None}
    assert [(error.message, error.path) for error in found.errors] == [("no luck", ("projects", "nodes", 0)), ("x", ())]
    assert json.loads(instance.requests[0].content) == {"query": "{projects{nodes{id}}}", "variables": {"a": 1}}


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (
            httpx.Response(
                200, json={"errors": [{"message": "Query has complexity of 901, which exceeds max complexity of 250"}]}
            ),
            "complexity",
        ),
        (
            httpx.Response(200, json={"errors": [{"message": "Query has depth of 21, which exceeds max depth of 20"}]}),
            "complexity",
        ),
        (httpx.Response(413), "complexity"),
        (
            httpx.Response(
                200,
                json={"errors": [{"message": "Request timed out. Please try a less complex query or a smaller set of records."}]},
            ),
            "timeout",
        ),
        (httpx.Response(503, json={"errors": [{"message": "Timeout on validation of query"}]}), "status"),
        (httpx.Response(200, json={"errors": [{"message": "Field 'mergeRequest' doesn't exist on type 'Pipeline'"}]}), "graphql"),
        (httpx.Response(200, json={"errors": [{"message": "Internal server error: boom"}]}), "status"),
        (httpx.Response(200, json=[1]), "status"),
        (httpx.Response(200, json={"data": None}), "status"),
        (httpx.Response(200, text="<html>"), "json"),
        (httpx.Response(401, json={"errors": [{"message": "Invalid token"}]}), "auth"),
        (httpx.Response(403, json={"error": "insufficient_scope"}), "graphql"),
        (httpx.Response(404), "graphql"),
        (httpx.Response(302, headers={"location": "/users/sign_in"}), "graphql"),
    ],
)
async def test_refusals_of_graphql_are_told_apart(instance: Instance, answer: httpx.Response, kind: str) -> None:
    instance.script[GRAPHQL] = [answer]

    with pytest.raises(CollectError) as caught:
        await client(instance).query("{a}", {})

    assert caught.value.kind == kind


async def test_a_query_that_was_not_answered_is_not_asked_again_as_it_is(instance: Instance) -> None:
    instance.script[GRAPHQL] = [httpx.Response(502, text="<html>") for _ in range(3)]

    with pytest.raises(CollectError):
        await client(instance).query("{a}", {})

    assert len(instance.requests) == 1


async def test_a_connection_that_breaks_is_replaced(instance: Instance) -> None:
    instance.script[GRAPHQL] = [httpx.RemoteProtocolError("closed"), httpx.Response(200, json={"data": {"a": 1}})]

    assert (await client(instance).query("{a}", {})).data == {"a": 1}
