"""What the receiver keeps stays within its limits."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.sim.received import Limits, Received
from agent.wire import decode


def sample(name: str, time: int = 1) -> decode.Sample:
    return decode.Sample((("__name__", name),), time, 1.0)


def test_series_past_the_limit_are_refused_and_counted() -> None:
    received = Received(Limits(series=1))

    received.add([sample("a"), sample("b"), sample("a", 2)])

    assert (len(received.series), received.samples, received.refused) == (1, 2, 1)


def test_label_bytes_past_the_limit_are_refused() -> None:
    received = Received(Limits(label_bytes=15))

    received.add([sample("a"), sample("b" * 100)])

    assert (len(received.series), received.refused) == (1, 1)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 50)), max_size=300))
def test_the_newest_sample_is_kept_and_the_number_of_samples_bounded(pushed: list[tuple[str, int]]) -> None:
    received = Received(Limits(samples=10))

    received.add(sample(name, time) for name, time in pushed)

    assert sum(map(len, received.series.values())) <= 10
    assert {labels[0][1]: points[-1][0] for labels, points in received.series.items()} == dict(pushed)
    assert received.samples == len(pushed)


def test_repeated_and_late_samples_are_counted() -> None:
    received = Received()

    received.add([sample("a", 5), sample("a", 5), sample("a", 4)])

    assert (received.repeated, received.late) == (1, 1)
