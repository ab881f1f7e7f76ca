"""The delivery log: what was never received is read there, or everything is, and each event once."""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio
import httpx
import pytest
from trio.testing import MockClock

from agent.errors import CollectError
from agent.sources.github.deliveries import Deliveries
from agent.sources.github.options import HookOptions
from tests.github_api import DAY, NOW, Engine, GitHub, Repository, api, clock, moment

pytestmark = pytest.mark.anyio

LOG = "/repos/acme/shop/hooks/1/deliveries"
MINUTE = 60.0


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


class Poll:
    """The poller and what the ledger has of it."""

    def __init__(self, *, all_of_them: bool, **hook: Any) -> None:
        self.github = GitHub(Repository(1, "acme/shop"))
        self.github.logs[LOG] = []
        self.engine = Engine()
        self.keys: Counter[str] = Counter()
        self.cursor: str | None = None
        self.problem = ""
        self.hooks = [HookOptions.model_validate(hook or {"repository": "acme/shop", "id": 1})]
        self.all_of_them = all_of_them
        self.restart()

    def restart(self) -> None:
        """The agent begins anew, with what the ledger has."""
        client = api(self.github)
        self.deliveries = Deliveries(client, self.hooks, self.engine, clock, all_of_them=self.all_of_them)

    async def __call__(self, *, commits: bool = True) -> list[str]:
        """One poll; what it reported."""
        found = await self.deliveries.collect(self.cursor)
        if commits:
            self.cursor = str(found.cursor)
            self.keys.update(observation.key for observation in found.observations)
        self.problem = found.problem
        return [observation.key for observation in found.observations]

    def deliver(self, number: int, status: str = "OK", event: str = "workflow_job", log: str = LOG, **keys: Any) -> None:
        """GitHub delivers event `number` now."""
        entry = {
            "id": 10_000 + number,
            "guid": f"guid-{number}",
            "delivered_at": moment(clock()),
            "status": status,
            "status_code": 200 if status == "OK" else 0,
            "event": event,
            "action": "completed",
        }
        self.github.logs[log].insert(0, {**entry, **keys})
        self.github.payloads[self.github.logs[log][0]["id"]] = {"number": number}


async def begun(*, all_of_them: bool, **hook: Any) -> Poll:
    """A poller that began a minute ago."""
    poll = Poll(all_of_them=all_of_them, **hook)
    await poll()
    await anyio.sleep(MINUTE)
    poll.github.asked()
    return poll


async def test_beside_a_webhook_what_did_not_arrive_is_read() -> None:
    poll = await begun(all_of_them=False)
    poll.deliver(1)
    poll.deliver(2, "Invalid HTTP Response: 503", status_code=503)
    poll.deliver(3, "failed to connect to host")

    assert await poll() == ["workflow_job:2", "workflow_job:3"]


async def test_behind_nat_all_is_read_in_the_order_it_happened() -> None:
    poll = await begun(all_of_them=True)
    for number in range(30):
        poll.deliver(number, "failed to connect to host")
        await anyio.sleep(1)

    assert await poll() == [f"workflow_job:{number}" for number in range(30)]
    times = [at for _, _, at in poll.engine.webhooks]
    assert times == sorted(times)


async def test_an_event_is_known_by_its_guid() -> None:
    poll = await begun(all_of_them=True)
    poll.deliver(1)

    await poll()

    assert [(event, guid) for event, guid, _ in poll.engine.webhooks] == [("workflow_job", "guid-1")]


async def test_an_event_that_a_later_attempt_delivered_is_left_alone() -> None:
    poll = await begun(all_of_them=False)
    poll.deliver(1, "timed out")
    await anyio.sleep(5)
    poll.deliver(2, guid="guid-1", redelivery=True)

    assert await poll() == []


async def test_an_event_that_failed_twice_is_read_once() -> None:
    poll = await begun(all_of_them=False)
    poll.deliver(1, "timed out")
    await anyio.sleep(5)
    poll.deliver(1, "timed out", id=777, redelivery=True)

    assert await poll() == ["workflow_job:1"]


async def test_an_answer_of_202_has_arrived_whatever_its_words() -> None:
    poll = await begun(all_of_them=False)
    poll.deliver(1, "Accepted", status_code=202)

    assert await poll() == []


async def test_payloads_of_other_events_are_not_asked_for() -> None:
    poll = await begun(all_of_them=True)
    poll.deliver(1, event="push")
    poll.deliver(2, event="workflow_run")

    assert await poll() == ["workflow_run:2"]
    assert poll.github.asked() == [LOG, f"{LOG}/10002"]


async def test_each_is_read_once_over_many_polls() -> None:
    poll = await begun(all_of_them=True)
    for number in range(100):
        poll.deliver(number)
        if number % 3 == 0:
            await poll()
        await anyio.sleep(20)
    await poll()

    assert len(poll.keys) == 100
    assert set(poll.keys.values()) == {1}


async def test_an_idle_log_costs_one_request_and_nothing_is_written() -> None:
    poll = await begun(all_of_them=True)
    poll.deliver(1)
    await poll()
    before = poll.cursor
    poll.github.asked()

    await poll()

    assert poll.github.asked() == [LOG]
    assert poll.cursor == before


async def test_what_was_delivered_before_the_agent_first_began_is_not_counted() -> None:
    poll = Poll(all_of_them=True)
    poll.deliver(1, delivered_at=moment(NOW - 30))

    assert await poll() == []


async def test_a_time_without_the_agent_is_made_up_for() -> None:
    poll = await begun(all_of_them=True)
    for number in range(1000):
        poll.deliver(number)
        await anyio.sleep(100)
    poll.restart()

    assert len(await poll()) == 1000


async def test_a_time_longer_than_the_log_is_said() -> None:
    poll = await begun(all_of_them=True)
    await anyio.sleep(4 * DAY)
    poll.restart()
    poll.deliver(1)

    assert await poll() == ["workflow_job:1"]
    assert "nothing was read for 4.0 days" in poll.problem


async def test_what_was_not_committed_is_reported_again() -> None:
    poll = await begun(all_of_them=True)
    poll.deliver(1)

    assert await poll(commits=False) == await poll() == ["workflow_job:1"]


async def test_a_payload_that_cannot_be_had_now_is_tried_again_and_holds_up_no_other() -> None:
    poll = await begun(all_of_them=True)
    poll.deliver(1)
    await anyio.sleep(3600)
    poll.deliver(2)
    poll.github.script[f"{LOG}/10001"] = [httpx.Response(500) for _ in range(3)]

    assert await poll() == ["workflow_job:2"]
    assert await poll() == ["workflow_job:1"]
    assert poll.problem == ""
    assert await poll() == []


@pytest.mark.parametrize(
    "answer",
    [httpx.Response(200, json={"request": {"payload": None}}), httpx.Response(200, json=[]), httpx.Response(200, text="x")],
)
async def test_a_payload_that_came_garbled_is_read_again(answer: httpx.Response) -> None:
    poll = await begun(all_of_them=True)
    poll.deliver(1)
    poll.deliver(2)
    poll.github.script[f"{LOG}/10001"] = [answer]

    assert await poll() == ["workflow_job:2"]
    assert f"{LOG}/10001" in poll.problem
    assert await poll() == ["workflow_job:1"]


async def test_a_payload_that_is_gone_is_left_out_and_said() -> None:
    poll = await begun(all_of_them=True)
    poll.deliver(1)
    poll.deliver(2)
    poll.github.script[f"{LOG}/10001"] = [httpx.Response(404, json={})]

    assert await poll() == ["workflow_job:2"]
    assert f"{LOG}/10001" in poll.problem
    assert await poll() == []
    assert poll.problem == ""


async def test_a_payload_that_cannot_be_had_does_not_have_the_whole_log_read_again_and_again() -> None:
    poll = await begun(all_of_them=True)
    poll.deliver(1)
    poll.github.script[f"{LOG}/10001"] = [httpx.Response(500) for _ in range(3000)]
    for number in range(2, 500):
        await anyio.sleep(MINUTE)
        poll.deliver(number)
        await poll()
    poll.github.asked()

    await poll()
    assert poll.github.asked() == [LOG, *[f"{LOG}/10001"] * 3]

    await anyio.sleep(3 * DAY)
    await poll()
    assert "left out" in poll.problem
    poll.github.asked()
    await poll()
    assert poll.github.asked() == [LOG]


async def test_a_limit_in_the_middle_leaves_the_rest_for_later() -> None:
    poll = await begun(all_of_them=True)
    for number in range(40):
        poll.deliver(number)
        await anyio.sleep(1)
    poll.github.script[f"{LOG}/10020"] = [httpx.Response(429, headers={"retry-after": "120"})]

    first = await poll()
    assert 0 < len(first) < 40
    await anyio.sleep(120)
    await poll()

    assert len(poll.keys) == 40
    assert set(poll.keys.values()) == {1}


async def test_a_log_that_is_gone_stops_no_other() -> None:
    poll = await begun(all_of_them=True)
    other = "/orgs/acme/hooks/2/deliveries"
    poll.hooks.append(HookOptions(organization="acme", id=2))
    poll.restart()
    await poll()
    assert "/orgs/acme/hooks/2" in poll.problem
    poll.deliver(1)
    poll.github.logs[other] = []
    await poll()
    poll.deliver(2, log=other)

    await poll()

    assert set(poll.keys) == {"workflow_job:1", "workflow_job:2"}


async def test_where_no_log_can_be_read_the_collect_fails() -> None:
    poll = await begun(all_of_them=True)
    del poll.github.logs[LOG]

    with pytest.raises(CollectError, match="hooks/1/deliveries"):
        await poll()


async def test_without_a_number_every_active_webhook_that_sends_runs_is_read() -> None:
    poll = Poll(all_of_them=True, repository="acme/shop")
    poll.github.repositories[0].hooks = [
        {"id": 1, "active": True, "events": ["workflow_job"]},
        {"id": 2, "active": False, "events": ["workflow_job"]},
        {"id": 3, "active": True, "events": ["push"]},
        {"id": 4, "active": True, "events": ["*"]},
    ]
    poll.github.logs["/repos/acme/shop/hooks/4/deliveries"] = []

    await poll()

    assert poll.github.asked()[1:] == [LOG, "/repos/acme/shop/hooks/4/deliveries"]


async def test_without_any_such_webhook_the_error_says_so() -> None:
    poll = Poll(all_of_them=True, repository="acme/shop")

    with pytest.raises(CollectError, match="no active webhook"):
        await poll()


@pytest.mark.parametrize("text", ["", "[]", "{", '{"v":1}', '{"v":1,"at":0,"hooks":{"x":[1]}}', "[" * 9999])
async def test_a_damaged_cursor_begins_anew_and_says_so(text: str) -> None:
    poll = Poll(all_of_them=True)
    poll.deliver(1, delivered_at=moment(NOW - 30))
    poll.cursor = text

    assert await poll() == []
    assert "count from now on" in poll.problem


@pytest.mark.parametrize("broken", [{"id": "x"}, {"guid": None}, {"event": 3}, {"delivered_at": "soon"}])
async def test_an_entry_that_cannot_be_read_hides_no_other(broken: dict[str, Any]) -> None:
    poll = await begun(all_of_them=True)
    poll.deliver(1)
    poll.github.logs[LOG].insert(0, {**poll.github.logs[LOG][0], "guid": "guid-2", **broken})
    poll.deliver(3)

    assert await poll() == ["workflow_job:1", "workflow_job:3"]
