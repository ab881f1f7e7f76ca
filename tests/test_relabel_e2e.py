"""Rules from the configuration to the receiver: what arrives, what a reload ends, what explain and the counters say."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import snappy

from agent.store.publish import RELABEL_DROPPED
from agent.wire.remote_write_pb2 import WriteRequest
from tests.loopback import Receiver, receiver
from tests.test_runtime import Agent, put, running

pytestmark = pytest.mark.anyio

AGENT = {"job": "ci", "instance": "host-1:9100", "labels": {}}
HOSTLESS = [{"replace": {"label": "instance", "regex": r"(.*):\d+", "replacement": "$1"}}]


def configured(agent: Mapping[str, Any], **sinks: Mapping[str, Any]) -> dict[str, Any]:
    return {"agent": {**AGENT, **agent}, "sinks": sinks, "sources": {"host": {"interval_seconds": 3600}}}


def remote_write(to: Receiver, **more: Any) -> dict[str, Any]:
    return {"type": "remote_write", "url": f"{to.url}/api/v1/write", **more}


def arrived(at: Receiver) -> dict[str, float]:
    """The series called g, or that were once, newest value; takes the requests away."""
    found = {}
    for request in at.requests:
        body = request.partition(b"\r\n\r\n")[2]
        for series in WriteRequest.FromString(snappy.uncompress(body)).timeseries:
            labels = {label.name: label.value for label in series.labels}
            if "n" in labels or "nn" in labels:
                found[" ".join(value if name == "__name__" else f"{name}={value}" for name, value in labels.items())] = (
                    series.samples[0].value
                )
    at.requests.clear()
    return found


async def flushed(agent: Agent) -> None:
    """One flush, accepted by every receiver."""
    await agent.runtime.flusher.flush()
    assert await agent.runtime.lanes.drain(20) == []


async def test_rules_of_the_agent_and_of_a_sink_decide_what_arrives(tmp_path: Path) -> None:
    async with receiver() as one, receiver() as two:
        shared = {"drop": [{"name": "g", "labels": {"n": "secret"}}], "relabel": HOSTLESS}
        own = {"keep": [{"labels": {"n": "a|c"}}], "relabel": [{"rename": {"n": "nn"}}]}
        config = configured(shared, one=remote_write(one), two=remote_write(two, **own))
        async with running(Agent(tmp_path, config)) as agent:
            put(agent, "host", "a", "b", "secret")
            await flushed(agent)

            assert arrived(one) == {"g instance=host-1 job=ci n=a": 1, "g instance=host-1 job=ci n=b": 1}
            assert arrived(two) == {"g instance=host-1 job=ci nn=a": 1}


async def test_the_exposition_shows_everything_as_it_was(tmp_path: Path) -> None:
    async with running(Agent(tmp_path, configured({"drop": [{"name": ".*"}]}))) as agent:
        put(agent, "host", "a")

        assert 'g{n="a"} 1\n' in (await agent.get("/metrics")).text


@pytest.mark.parametrize("of_agent", [True, False])
async def test_a_reload_that_changes_rules_ends_series_at_their_receiver(tmp_path: Path, of_agent: bool) -> None:
    rules = {"relabel": [{"rename": {"n": "nn"}}]}
    async with receiver() as one:
        config = configured({}, one=remote_write(one))
        async with running(Agent(tmp_path, config)) as agent:
            put(agent, "host", "a")
            await flushed(agent)
            one.requests.clear()

            new = configured(rules, one=remote_write(one)) if of_agent else configured({}, one=remote_write(one, **rules))
            assert await agent.reload(new) == ""
            await flushed(agent)
            found = arrived(one)

    assert found.pop("g instance=host-1:9100 job=ci nn=a") == 1
    ((name, value),) = found.items()
    assert (name, math.isnan(value)) == ("g instance=host-1:9100 job=ci n=a", True)


async def test_a_reload_with_a_wrong_rule_is_refused_and_names_it(tmp_path: Path) -> None:
    async with running(Agent(tmp_path, configured({}))) as agent:
        problem = await agent.reload(configured({"drop": [{"name": "(a+)+"}]}))

    assert "agent.drop[0].name: the repeat around position 1" in problem


async def test_sinks_with_equal_rules_share_a_view_and_others_do_not(tmp_path: Path) -> None:
    rules = {"drop": [{"name": "go_.*"}], "relabel": HOSTLESS, "limits": {"max_labels": 30}}
    async with receiver() as any_:
        sinks = {"a": remote_write(any_, **rules), "b": remote_write(any_, **rules), "c": remote_write(any_)}
        async with running(Agent(tmp_path, configured({}, **sinks))) as agent:
            assert [len(output.lanes) for output in agent.runtime.flusher.outputs] == [2, 1]


async def test_refusals_are_counted_by_sink_and_reason(tmp_path: Path) -> None:
    merging = {"relabel": [{"drop_labels": "n"}], "keep": [{"name": "g"}], "drop": [{"labels": {"n": "x"}}]}
    async with receiver() as one, running(Agent(tmp_path, configured({}, one=remote_write(one, **merging)))) as agent:
        put(agent, "host", "a", "b", "c", "x")
        agent.runtime.lanes.refresh()

        count = agent.runtime.monitor.value
        assert (count(RELABEL_DROPPED, ("one", "drop")), count(RELABEL_DROPPED, ("one", "collision"))) == (1, 2)


async def test_a_pushgateway_gets_what_the_rules_leave(tmp_path: Path) -> None:
    rules = {
        "keep": [{"name": "g"}],
        "relabel": [
            {"replace": {"label": "__name__", "regex": "g", "replacement": "ci_$0"}},
            {"replace": {"label": "n", "regex": "a", "replacement": "nightly", "to": "job"}},
        ],
    }
    async with receiver() as gate:
        sink = {"type": "pushgateway", "url": gate.url, **rules}
        async with running(Agent(tmp_path, configured({}, gate=sink))) as agent:
            put(agent, "host", "a", "b")
            await flushed(agent)
            requests = [request.split(b"\r\n\r\n") for request in gate.requests]

    heads, bodies = zip(*requests, strict=True)
    assert [head.split()[1].decode() for head in heads] == [
        "/metrics/job/ci/instance/host-1%3A9100",
        "/metrics/job/nightly/instance/host-1%3A9100",
    ]
    assert [body.decode() for body in bodies] == [
        '# HELP ci_g A gauge.\n# TYPE ci_g gauge\nci_g{n="b"} 1\n',
        '# HELP ci_g A gauge.\n# TYPE ci_g gauge\nci_g{n="a"} 1\n',
    ]


async def test_explain_finds_a_series_by_the_name_the_receiver_knows(tmp_path: Path) -> None:
    rules = {"relabel": [{"replace": {"label": "__name__", "regex": "g", "replacement": "ci_g"}}]}
    async with (
        receiver() as one,
        running(Agent(tmp_path, configured({"drop": [{"labels": {"n": "b"}}]}, one=remote_write(one, **rules)))) as agent,
    ):
        put(agent, "host", "a", "b")
        before = (await agent.get("/api/explain?name=g")).json()
        after = (await agent.get("/api/explain?name=ci_g")).json()

    assert (before["verdict"], after["verdict"]) == (
        "2 live, from host",
        "no source calls a series so, but rules do: see the sinks one",
    )
    assert before["sinks"][0]["rules"]["verdict"] == "1 sent, 1 refused by drop"
    assert [entry["series"] for entry in after["sinks"][0]["rules"]["series"]] == ['g{n="a"}']
