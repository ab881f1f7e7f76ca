"""What the source measures of itself since the agent's start: requests, how long collectors take, what they cannot do."""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate

import anyio

from agent.errors import CollectError
from agent.model import Collected, Update
from agent.sources.gitlab.calls import Calls
from agent.sources.gitlab.families import SCRAPE_SECONDS, Families

SCOPE = "own"
"""The scope of all these series."""

Collect = Callable[[object], Awaitable[Collected]]


@dataclass
class Stopwatch:
    """Collects by collector: how many took how long, and which failed."""

    counts: dict[str, list[int]] = field(default_factory=dict)
    totals: Counter[str] = field(default_factory=Counter)
    """Seconds."""
    errors: Counter[tuple[str, str]] = field(default_factory=Counter)
    """Collects that came to nothing, by collector and kind."""

    def timed(self, collector: str, collect: Collect) -> Collect:
        """The same collect, measured."""

        async def measured(cursor: object) -> Collected:
            begun = anyio.current_time()
            try:
                return await collect(cursor)
            except CollectError as error:
                self.errors[collector, error.kind] += 1
                raise
            except anyio.get_cancelled_exc_class():  # it took longer than a collect may, or the agent ends
                self.errors[collector, "timeout"] += 1
                raise
            finally:
                seconds = anyio.current_time() - begun
                row = self.counts.setdefault(collector, [0] * (len(SCRAPE_SECONDS) + 1))
                row[bisect_left(SCRAPE_SECONDS, seconds)] += 1
                self.totals[collector] += seconds  # type: ignore[assignment]  # a Counter adds up any numbers

        return measured

    def updates(self, families: Families, now: float) -> Iterator[Update]:
        """As series."""
        for collector, row in self.counts.items():
            value = histogram(row, self.totals[collector])
            yield Update(families.scrape_duration_seconds, (collector,), value, now, SCOPE)


def requests(calls: Calls, families: Families, now: float) -> Iterator[Update]:
    """Requests made, and what is left of the instance's limit."""
    for labels, count in calls.requests.items():
        yield Update(families.api_requests_total, labels, count, now, SCOPE)
    for where, durations in calls.durations.items():
        yield Update(families.api_request_duration_seconds, where, histogram(durations.counts, durations.total), now, SCOPE)
    standing = calls.limits.standing
    if standing is not None:
        yield Update(families.api_rate_limit_remaining, (), standing.remaining, now, SCOPE)
        yield Update(families.api_rate_limit_reset_timestamp, (), standing.reset, now, SCOPE)


def histogram(counts: Sequence[int], total: float) -> list[float]:
    """A histogram row from the counts of each bucket alone, the last of which has no upper bound."""
    return [*map(float, accumulate(counts)), total]
