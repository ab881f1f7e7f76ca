"""`cipush run` as a process against real receivers: what they hold is what was there to be seen."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import agents, servers
from tests.conftest import StartAgent
from tests.servers import Series, eventually
from tests.target import Target, target

TEXT = """\
# HELP e2e_temperature_celsius A gauge.
# TYPE e2e_temperature_celsius gauge
e2e_temperature_celsius{room="kitchen"} -4.25
e2e_temperature_celsius{room="a \\"quoted\\" back\\\\slash\\nand a line, grün 🎉"} 0
# TYPE e2e_requests_total counter
e2e_requests_total 9007199254740992
# TYPE e2e_limit_bytes gauge
e2e_limit_bytes +Inf
# TYPE e2e_duration_seconds histogram
e2e_duration_seconds_bucket{le="0.1"} 3
e2e_duration_seconds_bucket{le="1"} 5
e2e_duration_seconds_bucket{le="+Inf"} 6
e2e_duration_seconds_sum 7.5
e2e_duration_seconds_count 6
"""
ROOM = 'a "quoted" back\\slash\nand a line, grün 🎉'

Labels = frozenset[tuple[str, str]]


def expected(job: str, instance: str) -> dict[Labels, float]:
    """Every sample of TEXT, with the labels of the target it was scraped from."""
    samples: list[tuple[str, dict[str, str], float]] = [
        ("e2e_temperature_celsius", {"room": "kitchen"}, -4.25),
        ("e2e_temperature_celsius", {"room": ROOM}, 0.0),
        ("e2e_requests_total", {}, 2.0**53),
        ("e2e_limit_bytes", {}, math.inf),
        ("e2e_duration_seconds_bucket", {"le": "0.1"}, 3.0),
        ("e2e_duration_seconds_bucket", {"le": "1"}, 5.0),
        ("e2e_duration_seconds_bucket", {"le": "+Inf"}, 6.0),
        ("e2e_duration_seconds_sum", {}, 7.5),
        ("e2e_duration_seconds_count", {}, 6.0),
    ]
    common = {"job": job, "instance": instance, "site": "berlin"}
    return {frozenset({"__name__": name, **labels, **common}.items()): value for name, labels, value in samples}


def newest(found: list[Series]) -> dict[Labels, float]:
    """Labels -> the last value."""
    return {frozenset(series.labels.items()): series.values[-1] for series in found}


def scraping(target: Target, job: str, sinks: dict[str, Any]) -> dict[str, Any]:
    """A configuration that scrapes `target` every second into `sinks`."""
    return {
        "agent": {"labels": {"site": "berlin"}, "flush_interval_seconds": 1, "state_dir": "none", "shutdown_grace_seconds": 1},
        "sinks": sinks,
        "sources": {
            "internal": {"interval_seconds": 1},
            "target": {"type": "scrape", "interval_seconds": 1, "targets": [{"url": target.url, "job": job}]},
        },
    }


@pytest.fixture
def served() -> Iterator[Target]:
    """A target that shows TEXT."""
    with target(TEXT) as server:
        yield server


def remote_write(url: str) -> dict[str, str]:
    """A remote-write sink for the receiver at `url`."""
    return {"type": "remote_write", "url": f"{url}/api/v1/write"}


def vm_import(url: str) -> dict[str, str]:
    """An import sink for the receiver at `url`."""
    return {"type": "vm_import", "url": f"{url}/api/v1/import"}


def gateway(url: str) -> dict[str, str]:
    """A Pushgateway sink for the receiver at `url`."""
    return {"type": "pushgateway", "url": url}


@pytest.mark.parametrize("kind", [remote_write, vm_import])
def test_victoria_metrics_holds_values_and_labels_as_they_were_scraped(
    kind: Any, victoria_metrics: servers.VictoriaMetrics, start_agent: StartAgent, served: Target
) -> None:
    job = f"vm-{kind.__name__}"
    start_agent(scraping(served, job, {"vm": kind(victoria_metrics.url)}))

    selector = f'{{__name__=~"e2e_.*", job="{job}"}}'
    found = eventually(lambda: victoria_metrics.export(selector), "VictoriaMetrics holds the target's series")

    wanted = expected(job, served.address)
    if kind is vm_import:  # infinities have no place in that format
        wanted = {labels: value for labels, value in wanted.items() if math.isfinite(value)}
    assert newest(found) == wanted
    assert victoria_metrics.rows_invalid() == 0


def test_prometheus_holds_values_and_labels_as_they_were_scraped(
    prometheus: servers.Prometheus, start_agent: StartAgent, served: Target
) -> None:
    start_agent(scraping(served, "prometheus", {"prometheus": remote_write(prometheus.url)}))

    selector = '{__name__=~"e2e_.*", job="prometheus"}'
    found = eventually(lambda: prometheus.samples(selector), "Prometheus holds the target's series")

    assert newest(found) == expected("prometheus", served.address)


def test_a_series_that_vanishes_ends_in_prometheus_with_a_staleness_marker(
    prometheus: servers.Prometheus, start_agent: StartAgent, served: Target
) -> None:
    start_agent(scraping(served, "stale", {"prometheus": remote_write(prometheus.url)}))
    gone = 'e2e_temperature_celsius{job="stale", room="kitchen"}'
    stays = 'e2e_requests_total{job="stale"}'
    eventually(lambda: prometheus.query(gone) and prometheus.query(stays), "Prometheus shows both series")

    served.text = TEXT.replace('e2e_temperature_celsius{room="kitchen"} -4.25\n', "")

    # Without a marker Prometheus would go on showing the last value for five minutes.
    eventually(lambda: not prometheus.query(gone), "the vanished series ends")
    assert prometheus.samples(gone)
    assert prometheus.query(stays)


def test_a_target_that_is_down_ends_its_series_and_shows_up_0(prometheus: servers.Prometheus, start_agent: StartAgent) -> None:
    with target(TEXT) as served:
        start_agent(scraping(served, "down", {"prometheus": remote_write(prometheus.url)}))
        eventually(lambda: prometheus.query('e2e_requests_total{job="down"}'), "Prometheus shows the target")

    eventually(lambda: prometheus.query('up{job="down"} == 0'), "Prometheus shows that the target is down")
    assert prometheus.query('e2e_requests_total{job="down"}') == []


def test_series_whose_labels_change_with_a_reload_end_in_prometheus(
    prometheus: servers.Prometheus, start_agent: StartAgent, served: Target
) -> None:
    config = scraping(served, "moved", {"prometheus": remote_write(prometheus.url)})
    agent = start_agent(config)
    eventually(lambda: prometheus.query('e2e_requests_total{job="moved", site="berlin"}'), "Prometheus shows the old label")

    config["agent"] = {**config["agent"], "labels": {"site": "paris"}}
    agent.write(config)
    assert httpx.post(agent.url + "/-/reload", timeout=10.0).status_code == 200

    eventually(lambda: prometheus.query('e2e_requests_total{job="moved", site="paris"}'), "Prometheus shows the new label")
    assert prometheus.query('e2e_requests_total{job="moved", site="berlin"}') == []


def test_two_targets_are_two_groups_in_the_pushgateway(
    pushgateway: servers.Pushgateway, start_agent: StartAgent, served: Target
) -> None:
    with target("other 7\n") as second:
        config = scraping(served, "gate/one", {"gate": gateway(pushgateway.url)})
        config["sources"]["second"] = {
            "type": "scrape",
            "interval_seconds": 1,
            "targets": [{"url": second.url, "job": "gate-two"}],
        }
        start_agent(config)

        both = lambda: pushgateway.samples("other") and pushgateway.samples("e2e_requests_total")  # noqa: E731
        eventually(both, "the Pushgateway shows both targets")

        assert [series.labels for series in pushgateway.samples("other")] == [
            {"__name__": "other", "job": "gate-two", "instance": second.address, "site": "berlin"}
        ]
        rooms = newest(pushgateway.samples("e2e_temperature_celsius"))
        wanted = expected("gate/one", served.address)
        assert rooms == {key: value for key, value in wanted.items() if dict(key)["__name__"] == "e2e_temperature_celsius"}


def test_two_sinks_get_the_same_while_a_third_is_down(
    victoria_metrics: servers.VictoriaMetrics, prometheus: servers.Prometheus, start_agent: StartAgent, served: Target
) -> None:
    sinks = {
        "dead": remote_write(f"http://127.0.0.1:{servers.free_port()}"),
        "vm": remote_write(victoria_metrics.url),
        "prometheus": remote_write(prometheus.url),
    }
    agent = start_agent(scraping(served, "two-sinks", sinks))

    selector = '{__name__=~"e2e_.*", job="two-sinks"}'
    in_vm = eventually(lambda: victoria_metrics.export(selector), "VictoriaMetrics holds the series")
    in_prometheus = eventually(lambda: prometheus.samples(selector), "Prometheus holds the series")

    assert newest(in_vm) == newest(in_prometheus) == expected("two-sinks", served.address)
    ups = [f'cipush_sink_up{{sink="{name}"}} {up}' for name, up in (("dead", 0), ("vm", 1), ("prometheus", 1))]
    eventually(lambda: all(up in agent.metrics() for up in ups), f"/metrics says {ups}")


def test_a_receiver_that_starts_late_gets_what_it_missed(tmp_path: Path, start_agent: StartAgent, served: Target) -> None:
    port = servers.free_port()
    start_agent(scraping(served, "late", {"vm": remote_write(f"http://127.0.0.1:{port}")}))
    eventually(lambda: served.scrapes >= 3, "three scrapes while the receiver is down")
    missed_ms = time.time() * 1000

    with servers.victoria_metrics(tmp_path, port) as late:
        found = eventually(lambda: late.export('e2e_requests_total{job="late"}'), "the late receiver holds the series", 30)

    assert min(found[0].timestamps_ms) < missed_ms


def busy_seconds(agent: agents.Agent) -> float:
    """What the agent shows of a number that grows while it is asked, however busy the machine is; 0 before it shows any."""
    found = re.search(r'^host_cpu_seconds_total\{[^}]*mode="user"[^}]*\} (\S+)$', agent.metrics(), re.M)
    return float(found[1]) if found else 0.0


def test_sigterm_flushes_the_last_values(victoria_metrics: servers.VictoriaMetrics, start_agent: StartAgent) -> None:
    config = {
        "agent": {"job": "last", "flush_interval_seconds": 600, "state_dir": "none"},
        "sinks": {"vm": remote_write(victoria_metrics.url)},
        "sources": {"host": {"interval_seconds": 1}},
    }
    agent = start_agent(config)
    first = eventually(lambda: busy_seconds(agent), "the host was looked at")
    last = eventually(lambda: (now := busy_seconds(agent)) > first and now, "the host was looked at again")

    stopped_ms = time.time() * 1000
    code = agent.process.terminate()

    assert code == 0, agent.process.output()
    [found] = victoria_metrics.export('host_cpu_seconds_total{job="last", mode="user"}')
    assert found.values[-1] >= last
    assert found.timestamps_ms[-1] >= int(stopped_ms)


def test_a_restart_is_not_a_disappearance(prometheus: servers.Prometheus, start_agent: StartAgent, served: Target) -> None:
    agent = start_agent(scraping(served, "restart", {"prometheus": remote_write(prometheus.url)}))
    eventually(lambda: prometheus.query('e2e_requests_total{job="restart"}'), "Prometheus shows the series")

    assert agent.process.terminate() == 0

    assert prometheus.query('e2e_requests_total{job="restart"}')


def test_once_pushes_once_and_says_whether_it_arrived(
    victoria_metrics: servers.VictoriaMetrics, tmp_path: Path, served: Target
) -> None:
    config = scraping(served, "once", {"vm": remote_write(victoria_metrics.url)})
    done = agents.once(tmp_path, config)
    found = victoria_metrics.export('{__name__=~"e2e_.*", job="once"}')

    assert done.returncode == 0, done.stderr
    assert newest(found) == expected("once", served.address)

    config["sinks"]["dead"] = remote_write(f"http://127.0.0.1:{servers.free_port()}")
    assert agents.once(tmp_path, config).returncode == 75
