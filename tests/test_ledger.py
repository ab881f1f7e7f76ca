"""The ledger: what is counted once stays counted once, over refusals, restarts and damage."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from agent.errors import ConfigError, FencedError, LedgerError
from agent.ledger import schema
from agent.ledger.batch import Item, Move, Taken
from agent.ledger.sqlite import KEY_SECONDS, SERIES_SECONDS, SqliteLedger
from tests.ledgers import EVENT, HISTOGRAM, NOW, NOW_MS, Book, counted, event, item, series


def test_a_key_that_is_known_adds_nothing() -> None:
    book = Book()
    book.commit(item(counted("k", (series(), 2))))

    results = book.commit(item(counted("k", (series(), 2)), counted("l", (series(), 1)))).results

    assert (results, book.totals()) == ([Taken(1, 1)], {"a": [3.0]})


def test_a_key_twice_in_one_item_counts_once() -> None:
    book = Book()

    book.commit(item(counted("k", (series(), 2)), counted("k", (series(), 2))))

    assert book.totals() == {"a": [2.0]}


def test_a_histogram_holds_cumulative_buckets_count_and_sum() -> None:
    book = Book()

    book.commit(item(counted("k", (series("a", HISTOGRAM), 1.0)), counted("l", (series("a", HISTOGRAM), 11.0))))

    assert book.totals() == {"a": [1.0, 1.0, 2.0, 12.0]}


def test_the_answer_holds_the_totals_of_what_was_added_to() -> None:
    book = Book()
    book.commit(item(counted("k", (series("a"), 2), (series("b"), 1))))

    committed = book.commit(item(counted("l", (series("a"), 1))))

    assert {which.labels[0]: list(cells) for which, cells in committed.totals.items()} == {"a": [3.0]}


def test_totals_keys_notes_and_cursors_outlive_the_agent(tmp_path: Path) -> None:
    book = Book(tmp_path / "ledger")
    move = Move("s", "runs", None, "page 2")
    book.commit(Item("s", [counted("k", (series(), 2))], [("n", "x"), ("gone", "y")], move), item(notes=[("gone", None)]))

    book = book.again()
    book.commit(item(counted("k", (series(), 2))))

    assert book.totals() == {"a": [2.0]}
    assert (book.ledger.notes("s"), book.ledger.cursor("s", "runs")) == ({"n": "x"}, "page 2")


def test_what_other_sources_count_is_none_of_ones_business() -> None:
    book = Book()
    book.commit(item(counted("k", (series(source="t"), 2)), notes=[("n", "x")], source="t"))

    assert (book.totals("s"), book.ledger.notes("s"), book.ledger.cursor("s", "runs")) == ({}, {}, None)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0])
def test_a_value_that_would_spoil_a_total_is_refused_alone(value: float) -> None:
    book = Book()

    results = book.commit(
        item(counted("k", (series(), 1)), counted("l", (series(), value)), notes=[("n", "x")]), item(counted("m", (series(), 5)))
    ).results

    assert isinstance(results[0], ValueError)
    assert (book.totals(), book.ledger.notes("s")) == ({"a": [5.0]}, {})


def test_a_refused_item_may_be_given_again() -> None:
    book = Book()
    book.commit(item(counted("k", (series("b"), 1)), counted("l", (series("c", EVENT), float("nan")))))

    book.commit(item(counted("k", (series("b"), 1))))

    assert book.totals() == {"b": [1.0]}


def test_a_cursor_that_somebody_else_has_moved_is_not_moved_and_nothing_beside_it_counts() -> None:
    book = Book()
    book.commit(Item("s", [], [], Move("s", "runs", None, "2")))

    (result,) = book.commit(Item("s", [counted("k", (series(), 1))], [], Move("s", "runs", "1", "3"))).results

    assert isinstance(result, LedgerError)
    assert (book.ledger.cursor("s", "runs"), book.totals()) == ("2", {})


def test_who_has_lost_the_lease_writes_nothing() -> None:
    book = Book()
    book.ledger.lease()

    with pytest.raises(FencedError, match="another agent"):
        book.commit(item(counted("k", (series(), 1))))

    assert book.totals() == {}


def test_a_transaction_that_fails_leaves_nothing_and_can_be_repeated(tmp_path: Path) -> None:
    book = Book(tmp_path / "ledger")
    book.commit(item(counted("k", (series(), 1))))
    book.ledger._database.execute("PRAGMA max_page_count = 1")  # as a full disk answers
    many = [counted(f"{number} {'x' * 500}", (series(f"s{number}"), 1)) for number in range(100)]
    with pytest.raises(LedgerError, match="full"):
        book.commit(item(*many))
    before = book.totals()

    book.ledger._database.execute("PRAGMA max_page_count = 100000")
    book.commit(item(*many))

    assert (before, len(book.totals())) == ({"a": [1.0]}, 101)


def test_a_series_that_the_store_does_not_have_begins_at_its_value_before_once() -> None:
    book = Book()
    book.ledger.settle_sinks(["vm"], book.epoch)
    book.commit(item(counted("k", (series(), 5))))

    committed = book.commit(
        item(counted("l", (series(), 1), born=True)), item(counted("m", (series(), 1), born=True)), birth_ms=NOW_MS + 7
    )

    assert [(list(row.cells), row.timestamp_ms, row.event) for row in committed.outgoing] == [([5.0], NOW_MS + 7, False)]


def test_an_event_not_after_its_series_last_comes_a_millisecond_after_that(tmp_path: Path) -> None:
    book, which = Book(tmp_path / "ledger"), series("a", EVENT)
    book.ledger.settle_sinks(["vm"], book.epoch)
    book.commit(item(event("k", which, NOW_MS + 5), event("l", which, NOW_MS)))

    book = book.again()
    committed = book.commit(item(event("m", which, NOW_MS + 6, run="77")))

    times = [row.timestamp_ms - NOW_MS for row in book.ledger.outbox(0, 10)]
    assert (times, committed.outgoing[0].exemplar) == ([5, 6, 7], (("run_id", "77"),))


def test_a_row_is_deleted_when_every_sink_has_it() -> None:
    book = Book()
    book.ledger.settle_sinks(["a", "b"], book.epoch)
    book.commit(*[item(event(f"k{number}", series("a", EVENT), NOW_MS + number)) for number in range(4)])

    book.ledger.acknowledge({"a": 3, "b": 2}, book.epoch)

    assert [row.number for row in book.ledger.outbox(0, 10)] == [3, 4]


def test_a_new_sink_is_owed_later_rows_only_and_one_that_is_gone_nothing() -> None:
    book = Book()
    book.ledger.settle_sinks(["a"], book.epoch)
    book.commit(item(event("k", series("a", EVENT), NOW_MS)))

    standing = book.ledger.settle_sinks(["b"], book.epoch)

    assert (standing.acknowledged, standing.forgiven, book.ledger.outbox(0, 10)) == ({"b": 1}, 1, [])


def test_old_keys_are_forgotten_and_young_ones_are_not() -> None:
    book = Book()
    book.commit(item(counted("old", (series(), 1))), now=NOW - KEY_SECONDS - 1)
    book.commit(item(counted("young", (series(), 1))), now=NOW - KEY_SECONDS + 1)

    book.ledger.prune(NOW, book.epoch)
    book.commit(item(counted("old", (series(), 1)), counted("young", (series(), 1))))

    assert book.totals() == {"a": [3.0]}


def test_totals_outlive_their_keys_by_far() -> None:
    book = Book()
    book.commit(item(counted("k", (series(), 1))), now=NOW - SERIES_SECONDS + 1)
    book.commit(item(counted("l", (series("b"), 1))), now=NOW - SERIES_SECONDS - 1)

    book.ledger.prune(NOW, book.epoch)

    assert book.totals() == {"a": [1.0]}


def test_the_time_of_the_last_flush_goes_forward_only(tmp_path: Path) -> None:
    book = Book(tmp_path / "ledger")
    book.commit(item(), last_flush_ms=NOW_MS)
    book.commit(item(), last_flush_ms=NOW_MS - 1)

    assert book.again().ledger.last_flush_ms == NOW_MS


@pytest.mark.parametrize("version", range(1, schema.VERSION))
def test_a_file_of_an_earlier_version_is_read(tmp_path: Path, version: int) -> None:
    path = tmp_path / "ledger"
    database = sqlite3.connect(path)
    database.executescript(schema.MIGRATIONS[0])
    database.execute("INSERT INTO shapes VALUES (1, 's', ?)", (series().shape.text(),))
    database.execute("INSERT INTO series VALUES (1, '[\"a\"]', ?, ?, 0)", (bytes(6) + b"\x00\x40", NOW))
    database.execute("INSERT INTO keys VALUES ('k', ?)", (NOW,))
    for migration in schema.MIGRATIONS[1:version]:
        database.executescript(migration)
    database.execute(f"PRAGMA user_version = {version}")
    database.commit()
    database.close()

    book = Book(path)
    book.commit(item(counted("k", (series(), 1)), counted("l", (series(), 1))))

    assert book.totals() == {"a": [3.0]}


def test_a_file_of_a_later_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "ledger"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version = {schema.VERSION + 1}")
    database.close()

    with pytest.raises(ConfigError, match="start the newer cipush"):
        SqliteLedger(path)


@pytest.mark.parametrize("content", [b"not a database" * 100, b"SQLite format 3\0" + bytes(range(256)) * 40])
def test_a_file_that_is_no_ledger_is_set_aside(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ledger"
    path.write_bytes(content)

    book = Book(path)
    book.commit(item(counted("k", (series(), 1))))

    aside = [file for file in tmp_path.iterdir() if "broken" in file.name]
    assert (book.totals(), [file.read_bytes() for file in aside]) == ({"a": [1.0]}, [content])
    assert "set aside as" in book.ledger.problem


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="cannot be opened"):
        SqliteLedger(tmp_path / "none" / "ledger")


def test_a_ledger_that_lacks_a_table_is_set_aside(tmp_path: Path) -> None:
    Book(tmp_path / "ledger").ledger.close()
    database = sqlite3.connect(tmp_path / "ledger")
    database.execute("DROP TABLE notes")
    database.close()

    assert "no such table" in Book(tmp_path / "ledger").ledger.problem


def test_a_ledger_that_is_removed_under_the_agent_takes_nothing_more(tmp_path: Path) -> None:
    book = Book(tmp_path / "ledger")
    (tmp_path / "ledger").unlink()

    with pytest.raises(LedgerError, match="removed or replaced"):
        book.commit(item(counted("k", (series(), 1))))
