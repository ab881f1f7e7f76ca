"""The endpoints: what they answer to whom, in process."""

from __future__ import annotations

import gzip
import json

import httpx
import pytest

from agent.secret import Secret
from agent.web.app import MOST_SERIES, OPENMETRICS, REQUESTS, TEXT
from tests.website import PATHS, WORDS, Site

pytestmark = pytest.mark.anyio


async def test_metrics_are_text_for_who_does_not_ask() -> None:
    site = Site()
    answer = await site.get("/metrics")

    assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, TEXT, b"".join(WORDS))
    assert "content-encoding" not in answer.headers
    assert site.agent.asked == [(False, None)]


async def test_metrics_are_openmetrics_for_who_asks() -> None:
    site = Site()
    answer = await site.get("/metrics", accept="application/openmetrics-text;version=1.0.0,text/plain;q=0.5")

    assert answer.headers["content-type"] == OPENMETRICS
    assert site.agent.asked == [(True, None)]


async def test_metrics_are_packed_for_who_takes_gzip() -> None:
    transport = httpx.ASGITransport(Site().app)
    async with (
        httpx.AsyncClient(transport=transport) as client,
        client.stream("GET", "http://x/metrics", headers={"Accept-Encoding": "gzip"}) as answer,
    ):
        packed = b"".join([part async for part in answer.aiter_raw()])

    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(packed) == b"".join(WORDS)
    assert len(packed) < 1000


async def test_caches_are_told_what_the_answer_depends_on() -> None:
    answer = await Site().get("/metrics")

    assert answer.headers["vary"] == "Accept, Accept-Encoding"
    assert answer.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(("source", "status"), [("host", 200), ("new", 204), ("gitlab", 500), ("no", 404), ("", 404)])
async def test_one_source_alone_answers_by_its_state(source: str, status: int) -> None:
    site = Site()
    answer = await site.get(f"/metrics?source={source}")

    assert answer.status_code == status
    assert site.agent.asked == ([(False, source)] if status == 200 else [])


async def test_an_unknown_source_is_named_and_cut() -> None:
    answer = await Site().get(f"/metrics?source={'x' * 5000}%0A")

    assert answer.text == f"there is no source {'x' * 200!r}; /api/status lists them\n"


async def test_the_anklet_page_is_plain_text() -> None:
    answer = await Site().get("/metrics/v1?format=prometheus")

    assert (answer.status_code, answer.text) == (200, "host_cpu_count 4\n")
    assert answer.headers["content-type"].startswith("text/plain")


@pytest.mark.parametrize("query", ["", "?format=", "?format=json", "?format=Prometheus", "?Format=prometheus"])
async def test_the_anklet_page_knows_one_format(query: str) -> None:
    answer = await Site().get("/metrics/v1" + query)

    assert (answer.status_code, answer.text) == (400, "unsupported format; ask for ?format=prometheus\n")


async def test_health_is_ok_while_not_ready() -> None:
    site = Site()
    site.agent.is_ready = False

    assert (await site.get("/health")).status_code == 200


@pytest.mark.parametrize(("is_ready", "status"), [(True, 200), (False, 503)])
async def test_ready_says_why_in_either_case(is_ready: bool, status: int) -> None:
    site = Site()
    site.agent.is_ready = is_ready
    answer = await site.get("/ready")

    assert answer.status_code == status
    assert answer.json()["degraded"] == ["sink vm: retrying"]


async def test_the_configuration_is_shown_without_secrets() -> None:
    Secret("a-password-of-ours")
    site = Site()
    site.agent.config = "sinks:\n  vm: {bearer_token: a-password-of-ours}\n"
    answer = await site.get("/config")

    assert answer.text == "sinks:\n  vm: {bearer_token: ****}\n"
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"


async def test_a_name_that_is_not_utf_8_is_shown_all_the_same() -> None:
    site = Site()
    site.agent.config = "state_dir: /var/\udcff\n"

    assert (await site.get("/config")).text == "state_dir: /var/?\n"


async def test_status_is_json() -> None:
    answer = await Site().get("/api/status")

    assert answer.json()["instance"] == 1
    assert answer.headers["content-type"] == "application/json"


async def test_the_front_page_is_html_that_loads_and_runs_nothing() -> None:
    answer = await Site().get("/")

    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"] == "default-src 'none'; style-src 'unsafe-inline'"
    assert answer.text.startswith("<!doctype html>")


async def test_series_are_found_by_selector() -> None:
    site = Site()
    answer = await site.get('/api/series?match=up{job="x"}&limit=7')

    assert answer.json() == [{"name": "up"}]
    assert site.agent.asked == [('up{job="x"}', 7)]


async def test_a_selector_that_cannot_be_read_is_said() -> None:
    answer = await Site().get("/api/series?match={")

    assert (answer.status_code, answer.text) == (400, "match: not a selector\n")


@pytest.mark.parametrize("limit", ["0", "-1", "ten", "", "1e3", "%C2%B2", "%D9%A3", "9" * 5000, str(MOST_SERIES + 1)])
async def test_a_limit_must_be_a_number_in_bounds(limit: str) -> None:
    answer = await Site().get(f"/api/series?limit={limit}")

    assert answer.status_code == 400
    assert answer.text.startswith("limit: ")


async def test_explain_needs_a_name() -> None:
    answer = await Site().get("/api/explain")

    assert (answer.status_code, answer.text) == (400, "say which: ?name=METRIC\n")


async def test_explain_explains_a_name() -> None:
    assert (await Site().get("/api/explain?name=up")).json() == {"name": "up"}


async def test_a_reload_that_works_says_so() -> None:
    answer = await Site().ask("POST", "/-/reload")

    assert (answer.status_code, answer.text) == (200, "reloaded\n")


async def test_a_refused_reload_says_why() -> None:
    site = Site()
    site.agent.problem = "a.yml:3: sinks.vm.ulr: unknown key"
    answer = await site.ask("POST", "/-/reload")

    assert answer.status_code == 400
    assert answer.text == "refused, the old configuration stays in force:\na.yml:3: sinks.vm.ulr: unknown key\n"


async def test_a_reload_is_a_post() -> None:
    site = Site()
    answer = await site.get("/-/reload")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")
    assert site.agent.asked == []


@pytest.mark.parametrize("path", [path for path in PATHS if path != "/-/reload"])
async def test_what_is_read_is_not_posted(path: str) -> None:
    answer = await Site().ask("POST", path)

    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, HEAD, DELETE" if path == "/api/queue" else "GET, HEAD")


@pytest.mark.parametrize("path", ["/", "/metrics", "/health", "/api/status"])
async def test_head_answers_like_get_without_the_body(path: str) -> None:
    site = Site()
    got, asked = await site.get(path), await site.ask("HEAD", path)

    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers == got.headers


async def test_head_renders_no_metrics() -> None:
    site = Site()
    await site.ask("HEAD", "/metrics")

    assert site.agent.rendered == 0


@pytest.mark.parametrize("path", ["/nothing", "/metrics/", "//metrics", "/metrics/%2e%2e/config", "/%6detrics/x", "/webhook"])
async def test_what_is_not_there_says_what_is(path: str) -> None:
    answer = await Site().get(path)

    assert answer.status_code == 404
    assert all(known in answer.text for known in PATHS)


@pytest.mark.parametrize("path", [*PATHS, "/nothing"])
async def test_no_answer_is_guessed_at_or_kept(path: str) -> None:
    answer = await Site().get(path)

    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "no-referrer"


async def test_requests_are_counted_by_handler_and_code() -> None:
    site = Site()
    for path in ("/metrics", "/metrics?source=x", "/metrics", "/a", "/b"):
        await site.get(path)

    counted = {labels: value for _, labels, value in site.monitor.samples()}
    assert counted == {("/metrics", "200"): 2, ("/metrics", "404"): 1, ("other", "404"): 2}


async def test_an_error_is_counted_and_left_to_the_server() -> None:
    site = Site()
    site.agent.explain = lambda name: json.loads("")  # type: ignore[method-assign]
    answer = await site.get("/api/explain?name=x")

    assert answer.status_code == 500
    assert site.monitor.value(REQUESTS, ("/api/explain", "500")) == 1


async def test_a_host_header_does_not_change_the_path() -> None:
    answer = await Site().ask("GET", "/config", {"Host": "x/metrics?"})

    assert answer.text.startswith("agent:")


async def test_queues_are_listed() -> None:
    assert (await Site().get("/api/queue")).json() == {"queues": [{"name": "vm", "blocks": 3}]}


async def test_the_oldest_blocks_of_a_queue_are_shown() -> None:
    answer = await Site().get("/api/queue?name=vm&count=2")

    assert answer.json() == {"name": "vm", "blocks": [{"sequence": 7}, {"sequence": 8}]}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_a_queue_that_is_not_there_is_named(method: str) -> None:
    answer = await Site().ask(method, "/api/queue?name=other")

    assert (answer.status_code, answer.text) == (404, "there is no queue 'other'; /api/queue lists them\n")


async def test_a_queue_is_dropped_up_to_a_sequence() -> None:
    site = Site()
    answer = await site.ask("DELETE", "/api/queue?name=vm&upto=8")

    assert (answer.json(), site.agent.asked) == ({"name": "vm", "dropped_samples": 30}, [("drop", "vm", 8)])


@pytest.mark.parametrize(
    ("method", "query"), [("GET", "count=0"), ("GET", "count=x"), ("DELETE", "upto=-1"), ("DELETE", "upto=")]
)
async def test_a_number_that_is_none_is_refused(method: str, query: str) -> None:
    answer = await Site().ask(method, f"/api/queue?name=vm&{query}")

    assert answer.status_code == 400
    assert "is not a number from 1 to" in answer.text
