"""What the sender makes of every answer: Prometheus' retry, backoff, fallback, response and error cases, and stricter.

One run of cipush with a sink for each case, each to a receiver that follows its own script.
"""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Sequence
from email.utils import formatdate
from itertools import pairwise

import pytest

from tests.capture import Answer, Page, Request, Script
from tests.conformance import V2_TYPE, Captured, Sample, Sink, is_v2, obliging, samples_of, watch
from tests.servers import free_port

STRICT = ("strict_spec", True)
SECOND = ("protocol", "v2")
BACKOFF_TRIES = 4
"""At 0, 1, 3 and 7 s."""
GOOD = 20
"""Series of the page beside the bad one."""
LARGE = 16 << 20
"""Bytes of an answer: more than the buffers of a connection take in."""
SAID = "Error: Invalid label name '__invalid__'"
CONTROLS = b'\x1b[31mred\x00 and\r\n{"level":"error"}'

PAGES: dict[str, Page] = {"page": lambda n: "".join(f'good{{i="{i}"}} {n}\n' for i in range(GOOD)) + f"bad {n}\n"}


def of_page(request: Request) -> list[Sample]:
    """The samples of the page in a request, without those that tell how the scrape went."""
    return [
        one for one in samples_of(request) if ("job", "page") in one.labels and dict(one.labels)["__name__"] in ("good", "bad")
    ]


class First:
    """The first requests that hold the page are answered so, everything else obligingly."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = deque(answers)

    def __call__(self, request: Request, number: int) -> Answer:
        return self._answers.popleft() if self._answers and of_page(request) else obliging(request, number)


def always(answer: Answer) -> Script:
    """The same to everything."""
    return lambda _request, _number: answer


def picky(request: Request, number: int) -> Answer:
    """Refuses every request with a certain series in it."""
    return Answer(400) if any(("__name__", "bad") in one.labels for one in samples_of(request)) else obliging(request, number)


def in_three_seconds(request: Request, number: int) -> Answer:
    """503 once, with a date in Retry-After; the date's own second may have begun, so it is a second later."""
    again = formatdate(time.time() + 4, usegmt=True)
    return Answer(503, (("Retry-After", again),)) if not number else obliging(request, number)


def written(samples: int) -> tuple[tuple[str, str], ...]:
    """The headers of a receiver of 2.0 that stored so many."""
    counts = {"Samples": samples, "Histograms": 0, "Exemplars": 0}
    return tuple((f"X-Prometheus-Remote-Write-{what}-Written", str(count)) for what, count in counts.items())


NOT_UNDERSTOOD = {"415": Answer(415), "400": Answer(400), "204": Answer(204), "200": Answer(200, body=b"ok")}
"""What receivers of 1.0 say to 2.0; the last two store nothing."""
RETRIED = (500, 502, 503, 504, 999)
MISCONFIGURED = (401, 403, 404)
NETWORK = {
    "malformed_response": Answer(raw=b"what?\r\n\r\n"),
    "empty_response": Answer(raw=b""),
    "closed_mid_status_line": Answer(raw=b"HTTP/1.1 2"),
    "timeout": Answer(seconds=30),
}

SINKS: dict[str, Sink] = {
    **{f"retry_on_{code}": Sink(First(Answer(code))) for code in RETRIED},
    **{f"retry_on_{code}_v2": Sink(First(Answer(code)), (SECOND,)) for code in RETRIED},
    **{f"strict_{code}": Sink(always(Answer(code)), (STRICT,)) for code in (400, 401, 404, 405, 408, 409, 413, 415, 422)},
    **{f"parked_{code}": Sink(always(Answer(code))) for code in MISCONFIGURED},
    **{f"fallback_{name}": Sink(First(answer), (SECOND,)) for name, answer in NOT_UNDERSTOOD.items()},
    **{name: Sink(First(answer), (("timeout_seconds", 0.5),)) for name, answer in NETWORK.items()},
    "bisected_400": Sink(picky),
    "halved_413": Sink(First(Answer(413))),
    "retry_on_429": Sink(First(Answer(429, (("Retry-After", "1"),)))),
    "retry_on_429_strict": Sink(First(Answer(429, (("Retry-After", "1"),))), (STRICT,)),
    "retry_after_seconds": Sink(First(Answer(503, (("Retry-After", "3"),)))),
    "retry_after_date": Sink(in_three_seconds),
    "exponential_backoff": Sink(always(Answer(503))),
    "exponential_backoff_v2": Sink(always(Answer(503)), (SECOND,)),
    "fallback_strict": Sink(First(Answer(415)), (SECOND, STRICT)),
    "no_fallback_on_2xx": Sink(obliging, (SECOND,)),
    "partial_write": Sink(First(Answer(400, written(2), b"out of order sample")), (SECOND,)),
    "written_fewer_on_2xx": Sink(First(Answer(200, written(2))), (SECOND,)),
    "success_body": Sink(always(Answer(200, body=b"Error: do not read this"))),
    "success_cut": Sink(First(Answer(raw=b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\npart"))),
    "error_words": Sink(always(Answer(400, body=SAID.encode())), (STRICT,)),
    "error_controls": Sink(always(Answer(400, body=CONTROLS)), (STRICT,)),
    "error_large": Sink(First(Answer(400, body=b"x" * LARGE)), (STRICT,)),
    "error_endless": Sink(
        First(Answer(raw=b"HTTP/1.1 400 Bad\r\nContent-Length: 1048576\r\n\r\nand then", open_seconds=30)), (STRICT,)
    ),
    "connection_refused": Sink(options=(("url", f"http://127.0.0.1:{free_port()}/api/v1/write"),)),
    "dns_failure": Sink(options=(("url", "http://receiver.invalid/api/v1/write"),)),
}


def finished(run: Captured) -> bool:
    """Whether the slowest cases are over."""
    return all(len(run.requests(f"exponential_backoff{version}")) >= BACKOFF_TRIES for version in ("", "_v2"))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Captured:
    """What arrived at every receiver."""
    return watch(tmp_path_factory.mktemp("answers"), PAGES, SINKS, finished, "four tries against a receiver that is down")


def paged(run: Captured, sink: str) -> Sequence[Request]:
    """The requests of a sink that hold the page."""
    return [request for request in run.requests(sink) if of_page(request)]


def counted(run: Captured, name: str, sink: str, **labels: str) -> float:
    """The sum of a metric of the agent's own over one sink."""
    wanted = [f'{key}="{value}"' for key, value in {"sink": sink, **labels}.items()]
    lines = [line for line in run.metrics.splitlines() if line.startswith(f"{name}{{")]
    return sum(float(line.rsplit(" ", 1)[1]) for line in lines if all(want in line for want in wanted))


def dropped(run: Captured, sink: str) -> float:
    """Samples a sink has given up."""
    return counted(run, "cipush_sink_samples_dropped_total", sink)


def keys(requests: Sequence[Request]) -> list[tuple[object, int]]:
    """Every sample of the page in these requests: its labels and time."""
    return [(one.labels, one.timestamp_ms) for request in requests for one in of_page(request)]


RETRIES = [
    *[f"retry_on_{code}{version}" for code in RETRIED for version in ("", "_v2")],
    *("retry_on_429", "retry_on_429_strict", "retry_after_seconds", *NETWORK),
]


@pytest.mark.parametrize("sink", RETRIES)
def test_retry_is_byte_identical(sink: str, run: Captured) -> None:
    refused, again, *others = paged(run, sink)
    assert again.body == refused.body
    assert again.headers == refused.headers
    assert not any(other.body == refused.body for other in others)
    assert others  # and the sender goes on
    assert dropped(run, sink) == 0


@pytest.mark.parametrize(
    ("sink", "seconds"), [("retry_on_500", 0.9), ("retry_on_429", 1.0), ("retry_after_seconds", 3.0), ("retry_after_date", 3.0)]
)
def test_retry_waits(sink: str, seconds: float, run: Captured) -> None:
    refused, again = [request for request in run.requests(sink) if request.body == paged(run, sink)[0].body][:2]
    assert seconds <= again.at - refused.at < seconds + 2.0


@pytest.mark.parametrize("sink", ["exponential_backoff", "exponential_backoff_v2"])
def test_backoff(sink: str, run: Captured) -> None:
    waits = [later.at - earlier.at for earlier, later in pairwise(run.requests(sink))]
    assert len(waits) >= BACKOFF_TRIES - 1
    assert waits[0] >= 0.9
    assert all(1.5 <= later / earlier <= 3 for earlier, later in pairwise(waits))
    assert len({request.body for request in run.requests(sink)}) == 1
    assert dropped(run, sink) == 0


@pytest.mark.parametrize("code", [400, 401, 404, 405, 408, 409, 413, 415, 422])
def test_no_retry_in_strict_mode(code: int, run: Captured) -> None:
    sent = keys(run.requests(f"strict_{code}"))
    assert len(sent) == len(set(sent)) > 2 * GOOD
    assert counted(run, "cipush_sink_samples_sent_total", f"strict_{code}") == 0
    assert dropped(run, f"strict_{code}") > 0


@pytest.mark.parametrize("code", MISCONFIGURED)
def test_a_misconfigured_receiver_is_asked_once_and_nothing_is_lost(code: int, run: Captured) -> None:
    assert len(run.requests(f"parked_{code}")) == 1
    assert dropped(run, f"parked_{code}") == 0
    assert counted(run, "cipush_sink_queue_samples", f"parked_{code}") > GOOD
    assert counted(run, "cipush_sink_up", f"parked_{code}") == 0


def test_400_costs_the_bad_sample_only(run: Captured) -> None:
    requests = paged(run, "bisected_400")
    good = [request for request in requests if picky(request, 0).code == 204]
    arrived = keys(good)
    assert len(arrived) == len(set(arrived))
    first = min(at for _, at in keys(requests))
    about_first = [request for request in requests if (of_page(request)[0].timestamp_ms == first)]
    assert len([1 for _, at in arrived if at == first]) == GOOD
    assert len(about_first) <= 33


def test_413_is_sent_in_halves(run: Captured) -> None:
    whole, *parts = paged(run, "halved_413")
    halves = [request for request in parts if {at for _, at in keys([request])} & {at for _, at in keys([whole])}]
    assert len(halves) == 2
    assert sorted(map(str, keys(halves))) == sorted(map(str, keys([whole])))
    assert dropped(run, "halved_413") == 0


FALLBACKS = [*[f"fallback_{name}" for name in NOT_UNDERSTOOD], "fallback_strict"]


@pytest.mark.parametrize("sink", FALLBACKS)
def test_fallback(sink: str, run: Captured) -> None:
    refused = next(request for request in run.requests(sink) if of_page(request))
    place = run.requests(sink).index(refused)
    later = run.requests(sink)[place + 1 :]
    assert is_v2(refused)
    assert refused.value("X-Prometheus-Remote-Write-Version") == "2.0.0"
    assert {request.value("X-Prometheus-Remote-Write-Version") for request in later} == {"0.1.0"}
    assert {request.value("Content-Type") for request in later} == {"application/x-protobuf"}
    assert [(one.labels, one.bits, one.timestamp_ms) for one in of_page(later[0])] == [
        (one.labels, one.bits, one.timestamp_ms) for one in of_page(refused)
    ]
    assert dropped(run, sink) == 0
    assert counted(run, "cipush_sink_form_fallback", sink) == 1


@pytest.mark.parametrize("sink", ["no_fallback_on_2xx", "partial_write", "written_fewer_on_2xx"])
def test_no_fallback(sink: str, run: Captured) -> None:
    assert len(paged(run, sink)) > 2
    assert {request.value("Content-Type") for request in run.requests(sink)} == {V2_TYPE}
    assert {request.value("X-Prometheus-Remote-Write-Version") for request in run.requests(sink)} == {"2.0.0"}


@pytest.mark.parametrize("sink", ["partial_write", "written_fewer_on_2xx"])
def test_partial_writes_are_counted_and_never_sent_again(sink: str, run: Captured) -> None:
    first = paged(run, sink)[0]
    assert dropped(run, sink) == len(samples_of(first)) - 2
    assert not set(keys([first])) & set(keys(paged(run, sink)[1:]))


def test_ignore_response_body_on_success(run: Captured) -> None:
    sent = keys(run.requests("success_body"))
    assert len(sent) == len(set(sent)) > 2 * GOOD
    assert "do not read this" not in run.log


def test_a_200_that_is_cut_in_its_body_is_a_200(run: Captured) -> None:
    sent = keys(run.requests("success_cut"))
    assert len(sent) == len(set(sent)) > 2 * GOOD
    assert dropped(run, "success_cut") == 0


def test_log_error_messages_verbatim(run: Captured) -> None:
    assert SAID in run.log


def test_error_messages_are_escaped(run: Captured) -> None:
    assert "\x1b" not in run.log
    assert "\x00" not in run.log
    assert r"\\x1b[31mred\\x00 and" in run.log
    assert all(line.startswith("{") for line in run.log.splitlines() if "[31mred" in line)


def test_large_error_bodies_are_cut_in_the_log(run: Captured) -> None:
    assert "xxxxxxxx" in run.log
    assert max(map(len, run.log.splitlines())) < 1500


def test_large_error_bodies_are_not_read_to_their_end(run: Captured) -> None:
    assert list(run.unread["error_large"]) == paged(run, "error_large")[:1]


@pytest.mark.parametrize("sink", ["error_large", "error_endless"])
def test_large_error_bodies_hold_nothing_up(sink: str, run: Captured) -> None:
    first, second, *others = paged(run, sink)
    assert second.at - first.at < 3.0
    assert others
    sent = keys(run.requests(sink))
    assert len(sent) == len(set(sent))


@pytest.mark.parametrize(("sink", "code"), [("connection_refused", "connect"), ("dns_failure", "dns"), ("timeout", "timeout")])
def test_network_errors_are_survived_and_counted(sink: str, code: str, run: Captured) -> None:
    assert counted(run, "cipush_sink_requests_total", sink, code=code) >= 1
    assert dropped(run, sink) == 0
    assert run.exit_code == 0


def test_no_sink_is_held_up_by_the_others(run: Captured) -> None:
    scraped = run.pages.scrapes["page"]
    sent = {at for _, at in keys(run.requests("success_body"))}
    assert scraped - 3 <= len(sent) <= scraped


def test_the_log_is_json(run: Captured) -> None:
    assert [line for line in run.log.splitlines() if not re.fullmatch(r"\{.*\}", line)] == []
