"""Waits between tries."""

from __future__ import annotations

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from agent.backoff import Backoff, Hosts
from tests.lanes import NoJitter


@given(st.integers(0, 2**32))
def test_every_wait_is_within_ten_percent_of_its_step(seed: int) -> None:
    backoff = Backoff(Random(seed))
    waits = [backoff.failed() for _ in range(9)]

    steps = [1, 2, 4, 8, 16, 32, 60, 60, 60]
    assert all(0.9 * step <= wait <= 1.1 * step for wait, step in zip(waits, steps, strict=True))


def test_two_agents_do_not_wait_in_step() -> None:
    one, other = Backoff(Random(1)), Backoff(Random(2))

    assert [one.failed() for _ in range(5)] != [other.failed() for _ in range(5)]


def test_a_reset_begins_again_at_one_second() -> None:
    backoff = Backoff(NoJitter())
    for _ in range(5):
        backoff.failed()

    backoff.reset()

    assert [backoff.failed(), backoff.failed()] == [1, 2]


class Member:
    """Somebody who waits for a host."""

    def __init__(self) -> None:
        self.calls = 0

    def is_back(self) -> None:
        self.calls += 1


def test_a_success_is_told_to_the_others_of_the_same_host_only() -> None:
    hosts, same, other, sender = Hosts(), Member(), Member(), Member()
    hosts.join("a:1", same.is_back)
    hosts.join("a:1", sender.is_back)
    hosts.join("b:1", other.is_back)

    hosts.succeeded("a:1", sender.is_back)

    assert (same.calls, other.calls, sender.calls) == (1, 0, 0)


def test_who_left_is_not_told() -> None:
    hosts, member = Hosts(), Member()
    hosts.join("a:1", member.is_back)
    hosts.leave("a:1", member.is_back)
    hosts.leave("a:1", member.is_back)

    hosts.succeeded("a:1", Member().is_back)

    assert member.calls == 0
