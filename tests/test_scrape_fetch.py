"""Fetching a target: limits of size and time, compression, and what the options promise."""

from __future__ import annotations

import gzip
from collections.abc import Callable

import httpx
import pytest
from pydantic import ValidationError

from agent.errors import CollectError
from agent.net.client import Client, TransportOptions
from agent.net.fetch import Page, fetch
from agent.plugin import Context
from agent.sources.scrape import Options, build
from tests.scraping import URL, Stream, answering
from tests.target import target

pytestmark = pytest.mark.anyio

GZIP = {"Content-Encoding": "gzip"}


async def get(answer: Callable[[], httpx.Response], max_bytes: int = 1000) -> Page:
    transport = httpx.MockTransport(lambda request: answer())
    client = Client("sources.x", TransportOptions.model_validate({"url": URL}), "cipush/test", transport)
    try:
        return await fetch(client, {}, max_bytes)
    finally:
        await client.aclose()


async def test_a_body_comes_in_pieces() -> None:
    page = await get(answering(Stream(b"a 1\nb", b" 2\n"), headers={"Content-Type": "text/plain"}))

    assert page == Page(b"a 1\nb 2\n", "text/plain")


@pytest.mark.parametrize("cut", [1, 3, 1000])
async def test_gzip_is_understood_however_it_is_cut(cut: int) -> None:
    packed = gzip.compress(b"a 1\n" * 100) + gzip.compress(b"b 2\n")
    pieces = [packed[place : place + cut] for place in range(0, len(packed), cut)]

    page = await get(answering(Stream(*pieces), headers=GZIP))

    assert page.body == b"a 1\n" * 100 + b"b 2\n"


@pytest.mark.parametrize(
    ("body", "headers", "kind"),
    [
        (b"x" * 1001, {}, "size"),
        (gzip.compress(b"x" * 1001), GZIP, "size"),
        (gzip.compress(b"x" * 100)[:-4], GZIP, "encoding"),
        (b"plain", GZIP, "encoding"),
        (b"plain", {"Content-Encoding": "br"}, "encoding"),
    ],
    ids=["long", "long unpacked", "cut", "not gzip", "another coding"],
)
async def test_a_body_that_is_too_long_or_broken_is_an_error(body: bytes, headers: dict[str, str], kind: str) -> None:
    with pytest.raises(CollectError) as caught:
        await get(answering(Stream(body), headers=headers))

    assert caught.value.kind == kind


async def test_a_body_that_never_ends_is_read_to_the_limit_only() -> None:
    stream = Stream(*[b"x" * 600] * 2, None)

    with pytest.raises(CollectError, match="max_bytes, 1000"):
        await get(answering(stream))

    assert stream.closed


async def test_a_bomb_is_unpacked_to_the_limit_only() -> None:
    bomb = gzip.compress(bytes(100 << 20), 1)

    with pytest.raises(CollectError, match="max_bytes, 5000000"):
        await get(answering(Stream(bomb), headers=GZIP), 5_000_000)


async def test_what_gzip_unpacks_to_nothing_is_limited_too() -> None:
    with pytest.raises(CollectError, match="max_bytes"):
        await get(answering(Stream(gzip.compress(b"") * 100), headers=GZIP))


@pytest.mark.parametrize(("status", "words"), [(404, "HTTP 404"), (204, "HTTP 204"), (302, "configure the address it leads to")])
async def test_only_200_is_an_answer(status: int, words: str) -> None:
    with pytest.raises(CollectError, match=words):
        await get(answering(Stream(b"a 1\n"), status))


async def test_a_target_that_cannot_be_reached_is_an_error() -> None:
    def refuse() -> httpx.Response:
        raise httpx.ConnectError("All connection attempts failed")

    with pytest.raises(CollectError, match="All connection attempts failed"):
        await get(refuse)


async def test_a_request_asks_for_text_and_gzip_with_the_targets_credentials() -> None:
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return httpx.Response(200, stream=Stream(b""))

    options = Options.model_validate({"targets": [{"url": "http://user:secret-word@127.0.0.1/m", "headers": {"X-Scope": "a"}}]})
    scrape = build("node", options, Context(lambda: 0.0, "", "", "cipush/test"), httpx.MockTransport(answer))

    await scrape.pollers()[0].collect(None)
    await scrape.aclose()

    headers = seen[0].headers
    assert headers["Accept"].startswith("text/plain;version=0.0.4")
    assert (headers["Accept-Encoding"], headers["X-Scope"]) == ("gzip", "a")
    assert headers["Authorization"] == httpx.BasicAuth("user", "secret-word")._auth_header


def test_every_target_is_a_poller_and_a_group_of_its_own() -> None:
    urls = ["http://a:9100/metrics", "https://a/metrics", "http://[::1]/metrics"]
    targets = [{"url": url, "job": "n"} for url in urls] + [{"url": urls[0], "job": "n", "labels": {"module": "x"}}]
    scrape = build("s", Options.model_validate({"targets": targets}), Context(lambda: 0.0, "", "", ""))

    assert [poller.name for poller in scrape.pollers()] == ["n/a:9100", "n/a:443", "n/[::1]:80", "n/a:9100#3"]


@pytest.mark.parametrize(
    ("targets", "complaint"),
    [
        ([], "at least 1"),
        ([{"url": URL}, {"url": URL}], "targets 0 and 1 have the same job, instance and labels"),
        ([{"url": URL, "labels": {"__x": "1"}}], "'__x' cannot be the name of a label"),
        ([{"url": URL, "labels": {"job": "1"}}], "set job beside labels"),
        ([{"url": URL, "max_bytes": 0}], "greater than 0"),
        ([{"url": "ftp://x"}], "http"),
    ],
)
def test_options_that_cannot_work_are_refused(targets: list[dict[str, object]], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        Options.model_validate({"targets": targets})


async def test_a_real_target_is_scraped_and_its_end_noticed() -> None:
    context = Context(lambda: 0.0, "", "", "cipush/test")
    with target("a 1\n") as served:
        scrape = build("node", Options.model_validate({"targets": [{"url": served.url}]}), context)
        collect = scrape.pollers()[0].collect
        up = await collect(None)
    down = await collect(up.cursor)
    await scrape.aclose()

    assert [update.value for update in up.updates if update.family.name in ("up", "a")] == [1.0, 1.0]
    assert [update.value for update in down.updates if update.family.name in ("up", "a")] == [0.0]
