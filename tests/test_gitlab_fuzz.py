"""Any value of GitLab's answers may be anything: nothing but `CollectError` leaves a collect, and what comes after it counts."""

from __future__ import annotations

import json
from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any

import pytest
from starlette.requests import Request
from starlette.responses import Response
from trio.testing import MockClock

from agent.sim.gitlab.places import World
from tests.gitlab_observed import HOUR, Observer
from tests.gitlab_trapped import OPTIONS, end, ended, made, read

pytestmark = pytest.mark.anyio
SHARE = 0.5
"""Of the answers in which something is changed."""
NUMBERS: tuple[Any, ...] = (-1, 0, -5.5, 1e308, 2**31, 2**63, 10**30, 10**400, "9" * 400)
TIMES = ("9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z", "2026-03-02T00:00:00+14:00", "2036-01-01T00:00:00Z", "2026-02-30")
VALUES: tuple[Any, ...] = (
    *(None, True, False, float("nan"), float("inf"), *NUMBERS, *TIMES),
    *("", "x", "nan", "-1", "A" * 3000, "é\u0000\n", "\ud800", "\udfff\ud800"),
    *("gid://gitlab/Ci::Pipeline/999999999999999999999", "gid://gitlab/Ci::Build/-1", "refs/merge-requests/0/head"),
    *([], {}, [None], [[]], [[[[1]]]], [{}], {"nodes": None}, {"nodes": [None]}, {"nodes": {}}, {"": 1}),
)
MANY = 15
"""Places in an answer, of which one more is changed."""
KEYS = {
    "labels": {"variables": ["REGION"]},
    "collectors": {"environments": {"enabled": True}, "test_reports": {"enabled": True, "include_test_cases": True}},
}


@pytest.fixture
def anyio_backend() -> object:
    return ("trio", {"clock": MockClock(autojump_threshold=0)})


def places(found: Any) -> Iterator[tuple[Any, Any]]:
    """Every value in JSON that holds no others: what it is in, and its name or number there."""
    for key, value in found.items() if isinstance(found, dict) else enumerate(found) if isinstance(found, list) else ():
        if not value or not isinstance(value, dict | list):
            yield found, key
        yield from places(value)


class Garbled(Observer):
    """Some answers are changed in some places, as long as it `is_garbled`."""

    def __init__(self, world: World, seed: int, *, use_graphql: bool) -> None:
        super().__init__(world, OPTIONS | KEYS | {"use_graphql": use_graphql}, step=600.0)
        self._answers = self.api._respond
        self.api._respond = self._garbled  # type: ignore[method-assign]
        self._random = Random(seed)
        self.is_garbled = False

    def _garbled(self, request: Request, body: bytes) -> Response:
        answer = self._answers(request, body)
        if not self.is_garbled or self._random.random() >= SHARE or answer.status_code >= 300:
            return answer
        found = json.loads(bytes(answer.body))
        known = list(places(found))
        for where, key in self._random.sample(known, min(len(known), 1 + len(known) // MANY)):
            fitting = TIMES if str(key).lower().endswith("at") else NUMBERS if key in ("coverage", "duration") else VALUES
            where[key] = deepcopy(self._random.choice(self._random.choice((fitting, VALUES))))
        headers = {key: value for key, value in answer.headers.items() if key != "content-length"}
        return Response(json.dumps(found), answer.status_code, headers)


@pytest.mark.parametrize(("seed", "use_graphql"), [(8, True), (10, True), (5, False)])
async def test_whatever_stands_in_answers_what_ends_after_it_counts(seed: int, use_graphql: bool) -> None:
    world = made(4, 16, seed)
    observer = Garbled(world, seed, use_graphql=use_graphql)
    await observer.watch(world.start)
    observer.is_garbled = True
    await observer.watch((world.start + world.end) / 2)
    observer.is_garbled = False
    clear = observer.now
    await observer.watch(clear + 8 * HOUR)

    since = {int(key.removeprefix("since:")): float(value) for key, value in observer.notes.items() if key.startswith("since:")}
    assert set(since) == {project.id for project in read(world)}
    ends = {one: view.updated_at for one in ended(world) if (view := end(one))}
    late = {one.id for one, at in ends.items() if max(clear, since[one.project.id]) < at < observer.now - HOUR}
    assert late
    assert {one for one in late if f"gitlab:localhost:pipeline:{one}" not in observer.tally.keys} == set()
