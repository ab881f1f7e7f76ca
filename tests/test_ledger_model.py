"""The ledger against a dictionary: whatever is committed, refused, repeated or reopened; and whatever befalls its file."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ConfigError, LedgerError
from agent.ledger.batch import Counted
from tests.ledgers import HISTOGRAM, NOW, NOW_MS, Book, counted, item, series

TEXTS = st.text(max_size=8) | st.sampled_from(["a", "b", "'; DROP TABLE keys; --", "\ud800", "\0"])
VALUES = st.integers(0, 20).map(float) | st.sampled_from([float("nan"), -3.0])
ADDS = st.lists(st.tuples(TEXTS, VALUES), max_size=3)
ITEMS = st.lists(st.tuples(st.text("kl\ud800", min_size=1, max_size=2), ADDS), max_size=3)
STEPS = st.lists(st.one_of(st.just("again"), st.lists(ITEMS, max_size=3)), max_size=8)


def spoiled(key: str, adds: list[tuple[str, float]]) -> bool:
    """Whether an observation must be refused."""
    return "\ud800" in key or any(value != value or value < 0 for _, value in adds)


@settings(max_examples=150, deadline=None)
@given(STEPS)
def test_totals_are_the_sum_of_what_was_taken(steps: list[str | list[list[tuple[str, list[tuple[str, float]]]]]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        book, known, totals = Book(Path(folder) / "ledger"), set[str](), Counter[str]()
        for step in steps:
            if isinstance(step, str):
                book = book.again()
                continue
            results = book.commit(
                *[item(*[counted(key, *[(series(name), value) for name, value in adds]) for key, adds in one]) for one in step]
            ).results
            for one, result in zip(step, results, strict=True):
                assert isinstance(result, Exception) == any(spoiled(*what) for what in one)
                if isinstance(result, Exception):
                    continue
                for key, adds in one:
                    if key not in known:
                        known.add(key)
                        for name, value in adds:
                            totals[name] += int(value)
            assert {name: cells[0] for name, cells in book.totals().items()} == totals
        assert {name: cells[0] for name, cells in book.again().totals().items()} == totals


@settings(max_examples=100, deadline=None)
@given(st.lists(st.integers(0, 1_000_000), min_size=1, max_size=20), st.binary(min_size=1, max_size=64))
def test_a_damaged_file_never_keeps_the_agent_from_starting(places: list[int], noise: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "ledger"
        book = Book(path)
        many = [counted(f"k{number}", (series(f"n{number % 30}", HISTOGRAM), number)) for number in range(300)]
        book.commit(item(*many, notes=[("n", "x" * 500)]))
        book.ledger.close()
        data = bytearray(path.read_bytes())
        for place in places:
            at = place % len(data)
            data[at : at + len(noise)] = noise[: len(data) - at]
        path.write_bytes(data)

        try:
            book = Book(path)
            book.totals()
            book.commit(item(counted("new", (series("new"), 1))))
        except (LedgerError, ConfigError):
            return  # said, and nothing counted; the noise may also have made it a later version
        assert book.totals()["new"] == [1.0]


def test_a_batch_of_five_hundred_is_one_transaction(tmp_path: Path) -> None:
    book = Book(tmp_path / "ledger")
    before = book.ledger._database.total_changes
    items = [item(counted(f"k{number}", (series(), 1))) for number in range(500)]

    book.commit(*items, now=NOW, last_flush_ms=NOW_MS)

    assert book.totals() == {"a": [500.0]}
    assert book.ledger._database.total_changes - before == 500 + 1 + 1 + 1  # keys, shape, series, last flush


@pytest.mark.parametrize("key", ["k", "k" * 100_000])
def test_keys_may_be_long(key: str) -> None:
    book = Book()
    book.commit(item(Counted(key, [])), item(Counted(key, [])))

    assert book.totals() == {}
