"""State sinks with rules: the snapshot is under the names that the rules give, every family in one place."""

from __future__ import annotations

from agent.model import Collected, Family, Kind, Update
from agent.store.encode import LabelRules
from agent.store.snapshot import Snapshots
from agent.store.store import Limits, Store
from tests.store_rules import rules
from tests.store_world import TEMP, TIMES

PODS = Family("pods", Kind.GAUGE, "Pods.", labels=("pod",))
COUNTED = Family("rooms_total", Kind.COUNTER, "Rooms.", labels=("room",))


class Taken:
    """A store, and the snapshots of a sink with rules."""

    def __init__(self, own: LabelRules) -> None:
        self.store = Store(Limits())
        self.feed = self.store.add_feed("f")
        self.snapshots = Snapshots(self.store, own)
        self.samples = 0

    def put(self, family: Family, *labels: str, value: float | tuple[float, ...] = 1.0, whole: bool = False) -> None:
        updates = [Update(family, (label,), value, 0.0, family.name) for label in labels]
        self.store.apply(self.feed, Collected(updates, complete=[family.name] if whole else []), 0.0)

    def take(self) -> str:
        """The next snapshot's only body; "" for none."""
        steps = self.snapshots.take()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                bodies, self.samples = end.value
                return b"".join(body for _, body in bodies).decode()


def renaming(old: str, new: str) -> dict[str, object]:
    return {"replace": {"label": "__name__", "regex": old, "replacement": new}}


def test_what_is_dropped_is_not_in_it() -> None:
    taken = Taken(LabelRules(own=rules(drop=[{"labels": {"room": "b"}}])))
    taken.put(TEMP, "a", "b")

    assert taken.take() == '# HELP room_celsius Heat.\n# TYPE room_celsius gauge\nroom_celsius{room="a"} 1\n'
    assert taken.samples == 1


def test_a_renamed_histogram_is_a_histogram() -> None:
    taken = Taken(LabelRules(own=rules(relabel=[renaming("job_(.*)", "run_$1")])))
    taken.put(TIMES, "j", value=(1, 2, 3, 9.5))

    assert taken.take() == (
        "# HELP run_seconds How long.\n# TYPE run_seconds histogram\n"
        'run_seconds_bucket{job_name="j",le="1"} 1\n'
        'run_seconds_bucket{job_name="j",le="5"} 2\n'
        'run_seconds_bucket{job_name="j",le="+Inf"} 3\n'
        'run_seconds_sum{job_name="j"} 9.5\n'
        'run_seconds_count{job_name="j"} 3\n'
    )


def test_families_that_get_one_name_are_written_together_without_a_type_they_do_not_share() -> None:
    taken = Taken(LabelRules(own=rules(relabel=[renaming("rooms_total", "room_celsius"), renaming("pods", "room_pods")])))
    for family in (PODS, COUNTED, TEMP):
        taken.put(family, "a" if family is not COUNTED else "b")

    assert [line.split("{")[0] for line in taken.take().splitlines() if "HELP" not in line] == [
        "# TYPE room_celsius untyped",
        "room_celsius",
        "room_celsius",
        "# TYPE room_pods gauge",
        "room_pods",
    ]


def test_of_series_that_become_one_the_first_is_written_until_it_ends() -> None:
    taken = Taken(LabelRules(own=rules(relabel=[{"drop_labels": "pod"}])))
    taken.put(PODS, "p1")
    taken.put(PODS, "p2", value=2.0)

    assert taken.take().endswith("\npods 1\n")
    assert taken.take().endswith("\npods 1\n")
    taken.put(PODS, "p2", value=2.0, whole=True)
    assert taken.take().endswith("\npods 2\n")
    assert taken.snapshots.refused == {"collision": 1}


def test_a_refusal_is_counted_when_the_series_is_first_met() -> None:
    taken = Taken(LabelRules(own=rules(drop=[{"name": ".*"}])))
    taken.put(TEMP, "a", "b")
    for _ in range(3):
        assert taken.take() == ""
    taken.put(TEMP, "a", whole=True)
    taken.take()
    taken.put(TEMP, "a", "b", whole=True)
    taken.take()

    assert taken.snapshots.refused == {"drop": 3}


def test_a_long_snapshot_is_made_in_steps_and_shows_nobody_in_a_place_that_changed_hands() -> None:
    taken = Taken(LabelRules(own=rules(drop=[{"labels": {"room": "none"}}])))
    taken.put(TEMP, *(f"r{number}" for number in range(1500)))
    steps = taken.snapshots.take()
    next(steps)

    taken.put(TEMP, "new", value=7.0, whole=True)
    try:
        while True:
            next(steps)
    except StopIteration as end:
        _, samples = end.value

    assert samples == 1000
    assert taken.take().endswith('room_celsius{room="new"} 7\n')
