"""The status page: what a person woken up by an alert reads, and what it must not let through."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.config import load
from agent.runtime import Runtime
from agent.state import StateDir
from agent.web.status import page
from tests.core import START

VOID = {"meta", "br", "hr", "link", "img", "input"}


def source(**changes: Any) -> dict[str, Any]:
    """One poller's source as /api/status shows it."""
    poller = {"name": "host", "up": True, "last_success_age_seconds": 3.2, "last_error": "", **changes}
    return {"name": "host", "type": "host", "series": 1234, "remarks": ["<b>dora</b> is off"], "pollers": [poller]}


def sink(**changes: Any) -> dict[str, Any]:
    """One sink as /api/status shows it."""
    return {
        "name": "vm",
        "type": "remote_write",
        "url": "http://vm:8428/api/v1/write",
        "state": "ok",
        "samples_sent": 1234567,
        "samples_dropped": 0,
        "queue_samples": 0,
        "queue_bytes": 0,
        "queue_disk_bytes": 0,
        "oldest_pending_age_seconds": 0.0,
        "drain_seconds": None,
        "queue_hours_left": None,
        "clock_skew_seconds": None,
        "accepted_flush": 3,
        "spooled_flush": 3,
        "synced_flush": 3,
        "last_error": "",
        **changes,
    }


def status(**changes: Any) -> dict[str, Any]:
    """What /api/status shows of an agent that is well."""
    return {
        "version": "1.2.3",
        "instance": "edge-1",
        "uptime_seconds": 90.0,
        "pid": 42,
        "state_dir": "/var/lib/cipush",
        "degraded": [],
        "sinks": [sink()],
        "sources": [source()],
        "store": {"series": 7, "bytes": 1536, "series_by_priority": {"low": 1}, "evicted": 0},
        "ledger": {"path": "/var/lib/cipush/ledger.sqlite", "outbox_rows": 3, "problem": ""},
        "flush": {"sequence": 3, "recent": [[3, 1700000000000, ""]], "interval_seconds": 15.0, "last": None, "held": ""},
        **changes,
    }


class Reader(HTMLParser):
    """The words of a page, the tags left open, the addresses it would load or follow."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.open: list[str] = []
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]
        assert not any(name.startswith("on") for name, _ in attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip() and self.open[-1:] != ["style"]:
            self.words.append(data.strip())


def words(**changes: Any) -> list[str]:
    """The texts of the page, in its order."""
    return Reader(page(status(**changes))).words


def test_a_well_agent_is_said_to_be_well() -> None:
    assert words()[:3] == ["cipush edge-1", "cipush on edge-1:", "all well"]


def test_what_is_degraded_stands_at_the_top() -> None:
    found = words(degraded=["sink vm: parked: 401 who are you"])

    assert found[2] == "degraded"
    assert found.index("sink vm: parked: 401 who are you") < found.index("Sinks")


def test_a_sink_shows_what_waits_and_why() -> None:
    waiting = {"queue_samples": 50_000, "queue_bytes": 3 << 20, "queue_disk_bytes": 1 << 20, "oldest_pending_age_seconds": 7300}
    found = words(sinks=[sink(state="retrying", last_error="HTTP 503", **waiting)])

    assert {"retrying", "1,234,567", "50,000 (3.0 MiB, 1.0 MiB on disk), oldest 2 h", "HTTP 503"} <= set(found)


@pytest.mark.parametrize(
    ("facts", "words_of_it"),
    [
        ({"drain_seconds": 180.0, "queue_hours_left": 3.0}, "empty in 3 min"),
        ({"queue_hours_left": 3.0}, "full in 3 h"),
        ({"accepted_flush": 12, "spooled_flush": 15, "synced_flush": 14}, "accepted 12, spooled 15, synced 14"),
        ({"clock_skew_seconds": 7200.0}, "its clock is 2 h ahead of ours"),
        ({"clock_skew_seconds": -700.0}, "its clock is 11 min behind ours"),
    ],
)
def test_a_sink_shows_where_things_stand(facts: dict[str, Any], words_of_it: str) -> None:
    assert words_of_it in words(sinks=[sink(queue_samples=1, **facts)])


def test_a_small_skew_is_not_worth_a_word() -> None:
    assert not any("clock" in word for word in words(sinks=[sink(clock_skew_seconds=599.0)]))


def test_without_sinks_it_says_where_the_series_are() -> None:
    assert "None: the series are only on" in words(sinks=[])


@pytest.mark.parametrize(
    ("poller", "state"),
    [
        ({"up": True}, "ok"),
        ({"up": True, "last_error": "group nobody: there is no such group"}, "problem"),
        ({"up": False, "last_error": "auth: refused"}, "failing"),
        ({"up": False, "last_success_age_seconds": None}, "not yet"),
    ],
)
def test_a_source_shows_how_it_is(poller: dict[str, Any], state: str) -> None:
    assert state in words(sources=[source(**poller)])


def test_a_source_that_never_succeeded_says_never() -> None:
    assert "never" in words(sources=[source(last_success_age_seconds=None)])


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0 s"), (119.9, "119 s"), (120, "2 min"), (7200, "2 h"), (172800, "2 d"), (1e9, "11574 d")]
)
def test_a_duration_is_told_in_its_own_size(seconds: float, shown: str) -> None:
    assert f"{shown} ago" in words(sources=[source(last_success_age_seconds=seconds)])


@pytest.mark.parametrize(
    ("count", "shown"),
    [(0, "0 bytes"), (1023, "1,023 bytes"), (1536, "1.5 KiB"), (512 << 20, "512.0 MiB"), (5 << 40, "5,120.0 GiB")],
)
def test_bytes_are_told_in_their_own_size(count: int, shown: str) -> None:
    assert shown in words(store={"bytes": count})


def test_the_store_and_the_flush_are_told_in_words() -> None:
    found = words()

    assert {"series by priority: low", "flush interval seconds", "flush held"} <= set(found)
    assert found[found.index("flush last") + 1] == "none"


@pytest.mark.parametrize(
    ("value", "shown"), [(True, "yes"), (False, "no"), (["a", 1], "a, 1"), (None, "none"), (12345.0, "12,345")]
)
def test_a_value_of_any_kind_is_told_in_words(value: object, shown: str) -> None:
    found = words(flush={"thing": value})

    assert found[found.index("flush thing") + 1] == shown


@given(text=st.text(min_size=1))
def test_what_came_from_outside_changes_nothing_of_the_page(text: str) -> None:
    evil = f"</td><script>alert(1)</script><img src=x onerror=alert(1)>\"'&amp;{text}"
    plain = Reader(page(status(degraded=["x"])))
    found = Reader(
        page(
            status(
                instance=evil,
                state_dir=evil,
                degraded=[evil],
                sinks=[sink(name=evil, url=evil, state=evil, last_error=evil)],
                sources=[source(name=evil, last_error=evil)],
            )
        )
    )

    assert found.tags == plain.tags
    assert found.addresses == plain.addresses
    assert found.open == []


def test_nothing_is_loaded_from_anywhere() -> None:
    assert all(address.startswith("/") and not address.startswith("//") for address in Reader(page(status())).addresses)


def test_the_page_fits_a_phone() -> None:
    assert '<meta name="viewport" content="width=device-width,initial-scale=1">' in page(status())


@pytest.mark.anyio
async def test_the_real_status_has_all_that_the_page_asks_for() -> None:
    loaded = load((), {}, (("sinks.vm.type", "vm_import"), ("sinks.vm.url", "http://127.0.0.1:1/api/v1/import")))
    runtime = Runtime(loaded, lambda: loaded, StateDir(None), lambda: START)

    assert {"vm", "host", "new", "not yet"} <= set(Reader(page(runtime.view.status())).words)


def test_what_a_source_remarks_is_text() -> None:
    assert "<li>host: &lt;b&gt;dora&lt;/b&gt; is off</li>" in page(status())
