"""`cipush check`: what is in force, what it costs, and what is wrong with it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests import servers
from tests.cli import cipush
from tests.servers import free_port


def test_check_prints_what_is_in_force(home: Path) -> None:
    result = cipush("check", "--push", "http://127.0.0.1:8428", "--set", "agent.job=ci", "--listen", ":0", "--log-level", "warn")

    assert result.exit_code == 0, result.stderr
    assert re.search(r'^  job: "ci" +# --set agent.job$', result.stdout, re.M)
    assert "one encoded copy of every series in memory: remote_write for push-127-0-0-1-8428" in result.stdout


def test_check_says_what_further_views_cost(home: Path) -> None:
    (home / "cipush.yml").write_text(
        "sinks:\n  a: {type: remote_write, url: 'http://a'}\n  b: {type: remote_write, url: 'http://b'}\n"
        "  c: {type: remote_write, url: 'http://c', extra_labels: {x: y}}\n  out: {type: stdout}\n"
    )

    assert (
        "# 3 encoded copies of every series in memory: remote_write for a, b; remote_write for c; text for out"
        in cipush("check").stdout
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, "read the same instance"),
        ({"url": "https://GitLab.com/"}, "read the same instance"),
        ({"url": "https://gitlab.example.com"}, "name their series alike"),
        ({"url": "https://gitlab.example.com", "custom_labels": {"instance_name": "own"}}, ""),
        ({"url": "https://gitlab.example.com", "metric_prefix": "own_"}, ""),
    ],
)
def test_check_names_sources_that_count_the_same(home: Path, changes: dict[str, Any], words: str) -> None:
    one = {"type": "gitlab", "token": "x", "wildcards": [{"owner": {"name": "team"}}]}
    (home / "cipush.yml").write_text(json.dumps({"sources": {"one": one, "two": one | changes}}))
    found = cipush("check")

    assert ("sources one and two" in found.stdout, words in found.stdout) == (bool(words), True)


def test_check_finds_what_only_building_finds(home: Path) -> None:
    (home / "token").write_text("")
    (home / "cipush.yml").write_text("sinks: {vm: {type: vm_import, url: 'http://x', bearer_token_file: token}}")

    result = cipush("check")

    assert result.exit_code == 78
    assert "bearer_token_file: cannot read token" in result.stderr


def test_check_finds_a_state_directory_that_cannot_be(home: Path) -> None:
    (home / "file").write_text("")

    result = cipush("check", "--set", f"agent.state_dir={home}/file/state")

    assert result.exit_code == 78
    assert result.stderr.startswith(f"--set agent.state_dir: agent.state_dir: {home}/file/state cannot be written")


def test_check_online_tells_sinks_and_targets_that_are_down(home: Path) -> None:
    dead = f"http://127.0.0.1:{free_port()}"
    (home / "cipush.yml").write_text(
        f"sinks: {{vm: {{type: remote_write, url: '{dead}/api/v1/write'}}, out: {{type: stdout}}}}\n"
        f"sources: {{node: {{type: scrape, targets: [{{url: '{dead}/metrics'}}]}}}}\n"
    )

    result = cipush("check", "--online")

    assert result.exit_code == 75
    assert f"sink vm: FAILED: {dead}/api/v1/write: connect" in result.stdout
    assert "sink out: ok" in result.stdout
    assert re.search(rf"^source node, poller \S+: FAILED: scrape of {dead}/metrics fails: ", result.stdout, re.M)
    assert "check --online failed for sink vm, source node" in result.stderr or "source node, sink vm" in result.stderr


def test_check_online_reads_a_canary_back(
    home: Path, victoria_metrics: servers.VictoriaMetrics, prometheus: servers.Prometheus, pushgateway: servers.Pushgateway
) -> None:
    (home / "cipush.yml").write_text(
        f"sinks:\n  vm: {{type: remote_write, url: '{victoria_metrics.url}/api/v1/write'}}\n"
        f"  vm_import: {{url: '{victoria_metrics.url}/api/v1/import'}}\n"
        f"  prometheus: {{type: remote_write, url: '{prometheus.url}/api/v1/write'}}\n"
        f"  pushgateway: {{url: '{pushgateway.url}', on_shutdown: delete}}\n"
    )

    done = cipush("check", "--online")

    assert done.exit_code == 0, done.stderr
    assert done.stdout.count("took a canary sample and gave it back") == 4
    assert pushgateway.samples("cipush_check_canary") == []
