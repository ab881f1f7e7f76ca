"""`cipush queue`: of a running agent, and of a stopped one."""

from __future__ import annotations

import json
from pathlib import Path

import anyio
import pytest
from click.testing import CliRunner, Result

from agent.cli.queue import heads_text, queues_text
from agent.cli.verbs import main
from agent.plugin import Policy
from agent.selfmon import SelfMonitor
from agent.spool.folder import QUEUES, OpenQueue, open_queue
from tests.lanes import block

NOBODY = "127.0.0.1:1"
"""Where no agent listens."""


def cipush(state: Path, *words: str) -> Result:
    settings = [f"agent.state_dir={state}", f"server.listen_address={NOBODY}"]
    settings += ["sinks.vm.type=remote_write", "sinks.vm.url=http://127.0.0.1:2/api/v1/write"]
    flags = [part for setting in settings for part in ("--set", setting)]
    return CliRunner().invoke(main, ["queue", *words, *flags])


def opened(state: Path, name: str) -> OpenQueue:
    return open_queue(state / QUEUES, name, "remote_write", "http://127.0.0.1:2/", Policy(), SelfMonitor())


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A stopped agent's state directory: three blocks for `vm`, one for a sink that is gone."""

    async def fill() -> None:
        for name, count in (("vm", 3), ("gone", 1)):
            queue = opened(tmp_path, name)
            for number in range(count):
                queue.queue.put(block(number, number + 0.5))
            await queue.aclose()

    anyio.run(fill)
    return tmp_path


def test_a_stopped_agents_queues_are_listed(state: Path) -> None:
    result = cipush(state, "ls")

    assert result.exit_code == 0, result.stderr
    lines = [line.split() for line in result.stdout.splitlines()]
    assert [line[:5] for line in lines[1:]] == [
        ["gone", "remote_write", "gone", "1", "2"],
        ["vm", "remote_write", "configured", "3", "6"],
    ]


def test_the_list_as_json(state: Path) -> None:
    found = json.loads(cipush(state, "ls", "--json").stdout)

    assert [(queue["name"], queue["departed"], queue["samples"]) for queue in found["queues"]] == [
        ("gone", True, 2),
        ("vm", False, 6),
    ]


def test_the_oldest_blocks_are_shown(state: Path) -> None:
    result = cipush(state, "peek", "vm", "--count", "2")

    assert [line.split()[0] for line in result.stdout.splitlines()] == ["SEQUENCE", "1", "2"]
    assert result.stdout.splitlines()[1].split()[3:] == ["remote_write", "snappy", "2", str(len(block(0, 0.5).payload))]


def test_what_waits_is_dropped_up_to_a_sequence(state: Path) -> None:
    result = cipush(state, "drop", "vm", "--upto", "2", "--yes")

    assert result.stdout == "dropped 4 samples\n"
    assert json.loads(cipush(state, "peek", "vm", "--json").stdout)["blocks"][0]["sequence"] == 3


def test_a_queue_of_a_sink_that_is_gone_is_listed_until_it_is_dropped(state: Path) -> None:
    cipush(state, "drop", "gone", "--yes")

    assert [queue["name"] for queue in json.loads(cipush(state, "ls", "--json").stdout)["queues"]] == ["vm"]


def test_a_drop_asks_first(state: Path) -> None:
    result = CliRunner().invoke(main, ["queue", "drop", "vm", "--set", f"agent.state_dir={state}"], input="n\n")

    assert result.exit_code == 1
    assert json.loads(cipush(state, "peek", "vm", "--json").stdout)["blocks"][0]["sequence"] == 1


@pytest.mark.parametrize("name", ["other", "..", "vm/../vm", ""])
def test_a_queue_that_is_not_there_is_named(state: Path, name: str) -> None:
    result = cipush(state, "peek", name)

    assert result.exit_code == 1
    assert f"there is no queue {name!r}" in result.stderr


def test_a_queue_in_use_is_left_alone(state: Path) -> None:
    queue = opened(state, "vm")
    result = cipush(state, "drop", "vm", "--yes")
    anyio.run(queue.aclose)

    assert result.exit_code == 75
    assert "is in use by process" in result.stderr


def test_another_agent_that_does_not_answer_is_not_replaced_by_the_files(state: Path) -> None:
    result = cipush(state, "ls", "--url", f"http://{NOBODY}")

    assert result.exit_code == 1
    assert "no agent answers" in result.stderr


def test_nothing_is_said_plainly(tmp_path: Path) -> None:
    assert cipush(tmp_path, "ls").stdout == "no queue: nothing was ever kept for a sink\n"
    assert heads_text({"blocks": []}) == "nothing waits"


def test_words_from_elsewhere_do_not_reach_the_terminal_as_they_are() -> None:
    queue = {"name": "a\x1b[31m", "type": "", "departed": True, "blocks": 1, "samples": 1, "bytes": 1}
    text = queues_text({"queues": [{**queue, "oldest_created": 0.0, "newest_created": None}]}, 7200.0 * 2)

    assert "\x1b" not in text
    assert "4 h ago" in text
