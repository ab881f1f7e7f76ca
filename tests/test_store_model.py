"""The store against a dictionary: whatever happens in whatever order, a receiver ends up with what the dictionary says.

The receiver is the generated protobuf classes. Walks and readers are left open across other operations,
places of ended rows are used again, sources come and go, limits evict. Views have rules, some of which
make one series of several.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from agent.model import STALE_NAN_BITS, Collected, Family, Kind, Priority, Protocol, Update
from agent.store.encode import sample_names
from agent.store.pages import Rendered, View
from agent.store.store import Limits, Store
from agent.store.table import Table
from agent.store.text import render
from agent.wire.remote_write_pb2 import WriteRequest
from tests.store_rules import RULED, Ruled

GAUGE = Family("g", Kind.GAUGE, "h", labels=("x",))
TIMES = Family("t", Kind.HISTOGRAM, "h", labels=("x",), buckets=(1.0, 2.0))
SHORT = Family("s_total", Kind.COUNTER, "h", labels=("x", "y"), priority=Priority.LOW, ttl_seconds=50)
FAMILIES = (GAUGE, TIMES, SHORT)
DEFAULT_TTL = 300.0

Identity = tuple[str, Family, tuple[str, ...]]
"""(feed, family, label values): one row."""
Sample = tuple[tuple[str, str], ...]
letters = st.sampled_from("abcde")
rows = st.one_of(
    st.tuples(st.just(GAUGE), st.tuples(letters), st.integers(0, 8).map(float)),
    st.tuples(st.just(TIMES), st.tuples(letters), st.tuples(*[st.integers(0, 8).map(float)] * 4)),
    st.tuples(st.just(SHORT), st.tuples(letters, letters), st.integers(0, 8).map(float)),
)
scopes = st.sampled_from(["", "s", "t"])


class Walk:
    """A walk in progress, and what it has sent."""

    def __init__(self, store: Store, view: View, ms: int, now: float) -> None:
        self.view = view
        self.ms = ms
        self.pages = store.walk(view, "", ms, now, 0.0)
        self.seen: set[Sample] = set()


class StoreMachine(RuleBasedStateMachine):
    """`expected` is the model: what lives, with its value, scope and time of last update."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_700_000_000.0
        self.ms = 1_700_000_000_000
        self.expected: dict[Identity, tuple[object, str, float]] = {}
        self.received: dict[View, dict[Sample, list[tuple[int, float | None]]]] = {}
        self.ruled: dict[View, Ruled] = {}
        self.walks: list[Walk] = []
        self.readers: list[Iterator[bytes]] = []

    @initialize(max_series=st.sampled_from([25, 10_000]), cap=st.sampled_from([0, 12]), ruled=st.sampled_from(RULED))
    def begin(self, max_series: int, cap: int, ruled: Ruled) -> None:
        self.limited = max_series < 10_000 or cap > 0
        self.cap = cap
        self.store = Store(Limits(max_series=max_series, default_ttl_seconds=DEFAULT_TTL))
        self.feeds = [self.store.add_feed("f0"), self.store.add_feed("f1", "p_", max_series=cap)]
        self.add_view(ruled)

    # -- what sources do ---------------------------------------------------------------------------

    @rule(which=st.integers(0, 1), reported=st.lists(rows, max_size=12), scope=scopes, whole=st.booleans())
    def collect(self, which: int, reported: list[tuple[Family, tuple[str, ...], object]], scope: str, whole: bool) -> None:
        feed = self.feeds[which]
        updates = [Update(family, labels, value, self.now, scope) for family, labels, value in reported]  # type: ignore[arg-type]
        self.store.apply(feed, Collected(updates, complete=[scope] if whole else []), self.now)
        listed = {(feed.name, family, labels): value for family, labels, value in reported}
        if whole:
            for key in [k for k, (_, own, _) in self.expected.items() if k[0] == feed.name and own == scope and k not in listed]:
                del self.expected[key]
        self.expected.update({key: (value, scope, self.now) for key, value in listed.items()})
        self.accept_refusals()

    @rule(which=st.integers(0, 1), scope=scopes)
    def confirm(self, which: int, scope: str) -> None:
        name = self.feeds[which].name
        self.store.apply(self.feeds[which], Collected(unchanged=[scope]), self.now)
        for key, (value, own, _) in self.expected.items():
            if key[0] == name and own == scope:
                self.expected[key] = (value, own, self.now)

    @rule(which=st.integers(0, 1))
    def replace_source(self, which: int) -> None:
        old = self.feeds[which]
        self.store.remove_feed(old)
        self.feeds[which] = self.store.add_feed(old.name, old.prefix, max_series=old.caps.max_series)
        self.expected = {key: found for key, found in self.expected.items() if key[0] != old.name}

    @rule(seconds=st.sampled_from([1.0, 20.0, 60.0, 200.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds
        for _ in self.store.expiring(self.now):
            pass
        live = set(self.live())
        for key, (_, _, updated) in list(self.expected.items()):
            ttl = key[1].ttl_seconds or DEFAULT_TTL
            if self.now - updated >= ttl * 1.05 + 1:  # a TTL is exact to a twentieth
                assert key not in live
            if self.now - updated < ttl:
                assert key in live
            if key not in live:
                del self.expected[key]

    # -- who reads -----------------------------------------------------------------------------------

    @precondition(lambda self: len(self.received) < 2)
    @rule(ruled=st.sampled_from(RULED))
    def add_view(self, ruled: Ruled) -> None:
        view = self.store.add_view(Protocol.REMOTE_WRITE, ruled.rules)
        self.received[view], self.ruled[view] = {}, ruled

    @precondition(lambda self: not self.walks)
    @rule(which=st.integers(0, 1), ruled=st.sampled_from(RULED))
    def change_rules(self, which: int, ruled: Ruled) -> None:
        """As a reload does: what was sent ends at the receiver, then everything is born in another view."""
        view = list(self.received)[which % len(self.received)]
        self.ms += 1000
        walk = Walk(self.store, view, self.ms, self.now)
        for page in view.endings(self.ms):
            self.take(walk, page)
        history = self.received.pop(view)
        assert all(values[-1][1] is None for values in history.values()), "a series was not ended"
        self.store.remove_view(view)
        new = self.store.add_view(Protocol.REMOTE_WRITE, ruled.rules)
        self.received[new], self.ruled[new] = history, ruled

    @precondition(lambda self: len(self.received) == 2 and not self.walks)
    @rule()
    def remove_view(self) -> None:
        view = list(self.received)[1]
        self.store.remove_view(view)
        del self.received[view]

    @rule(which=st.integers(0, 1), steps=st.integers(0, 3))
    def begin_walk(self, which: int, steps: int) -> None:
        view = list(self.received)[which % len(self.received)]
        if any(walk.view is view for walk in self.walks):
            return
        self.ms += 1000
        walk = Walk(self.store, view, self.ms, self.now)
        for _ in range(steps):
            page = next(walk.pages, "end")
            if page == "end":
                return
            self.take(walk, page)  # type: ignore[arg-type]
        self.walks.append(walk)

    @precondition(lambda self: self.walks)
    @rule()
    def finish_walk(self) -> None:
        walk = self.walks.pop()
        for page in walk.pages:
            self.take(walk, page)

    @rule()
    def begin_reading(self) -> None:
        reader = render(self.store, openmetrics=False)
        next(reader, None)
        self.readers.append(reader)

    @precondition(lambda self: self.readers)
    @rule()
    def finish_reading(self) -> None:
        text = b"".join(self.readers.pop()).decode()
        names = [line.rsplit(" ", 1)[0] for line in text.splitlines() if not line.startswith("#")]
        assert len(names) == len(set(names))

    # -- the receiver --------------------------------------------------------------------------------

    def take(self, walk: Walk, page: Rendered | None) -> None:
        if page is None:
            return
        request = WriteRequest.FromString(bytes(page.payload))
        assert len(request.timeseries) == page.samples
        for series in request.timeseries:
            key = tuple((label.name, label.value) for label in series.labels)
            (sample,) = series.samples
            assert key not in walk.seen
            walk.seen.add(key)
            history = self.received[walk.view].setdefault(key, [])
            assert sample.timestamp == walk.ms
            assert not history or history[-1][0] < walk.ms
            if struct.pack("<d", sample.value) == struct.pack("<Q", STALE_NAN_BITS):
                assert history, "a marker for what was never sent"
                assert history[-1][1] is not None, "a second marker"
                history.append((walk.ms, None))
            else:
                history.append((walk.ms, sample.value))

    def live(self) -> dict[Identity, tuple[Table, int]]:
        return {(t.feed.name, t.family, labels): (t, row) for t in self.store.tables for labels, row in t.index.items()}

    def accept_refusals(self) -> None:
        """Under limits the store may refuse and evict; never under none."""
        live = self.live()
        if self.limited:
            self.expected = {key: found for key, found in self.expected.items() if key in live}

    def samples(self, ruled: Ruled) -> dict[Sample, set[float]]:
        """What a receiver should hold of the live series: one value of those that the rules make one of."""
        found: dict[Sample, set[float]] = {}
        for (_, _, labels), (table, row) in self.live().items():
            named = ruled.expected(table.name, dict(table.label_pairs(labels)))
            if named is not None:
                for (name, bound), value in zip(sample_names(table), table.row_values(row), strict=True):
                    sample = named[0] + name.removeprefix(table.name)
                    pairs = [("__name__", sample), ("job", "j"), *named[1].items(), *([("le", bound)] if bound else [])]
                    found.setdefault(tuple(sorted(pairs)), set()).add(value)
        return found

    @invariant()
    def the_store_holds_what_the_model_holds(self) -> None:
        if not hasattr(self, "store"):
            return
        live = self.live()
        assert set(live) == set(self.expected)
        for key, (value, _, _) in self.expected.items():
            table, row = live[key]
            assert table.row_values(row) == table.cells(value)  # type: ignore[arg-type]
        assert self.store.total_series == sum((key[1].buckets and 5) or 1 for key in live) <= self.store.limits.max_series
        for feed in self.feeds:
            own = sum(table.width * len(table.index) for table in feed.tables.values())
            assert own == feed.series
            assert not feed.caps.max_series or own <= feed.caps.max_series

    def teardown(self) -> None:
        if not hasattr(self, "store"):
            return
        while self.walks:
            self.finish_walk()
        for reader in self.readers:
            list(reader)
        for view, received in self.received.items():
            for _ in range(2):
                self.ms += 1000
                walk = Walk(self.store, view, self.ms, self.now)
                for page in walk.pages:
                    self.take(walk, page)
            expected = self.samples(self.ruled[view])
            last = {key: history[-1][1] for key, history in received.items() if history[-1][1] is not None}
            assert set(last) == set(expected)
            assert all(value in expected[key] for key, value in last.items())
        for table in self.store.tables:
            assert len(table.free) + len(table.index) == len(table.labels), "a place is lost"


TestStore = StoreMachine.TestCase
TestStore.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
