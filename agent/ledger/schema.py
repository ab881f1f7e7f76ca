"""The ledger's file: its tables, how older files become new ones, and what is done with one that cannot be read."""

from __future__ import annotations

import logging
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from agent.errors import ConfigError
from agent.ledger.batch import Shape

log = logging.getLogger(__name__)

MIGRATIONS = (
    """
    CREATE TABLE meta (name TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE keys (key TEXT NOT NULL UNIQUE, at REAL NOT NULL);
    CREATE TABLE shapes (number INTEGER PRIMARY KEY, source TEXT NOT NULL, text TEXT NOT NULL, UNIQUE (source, text));
    CREATE TABLE series (
        shape INTEGER NOT NULL, labels TEXT NOT NULL, cells BLOB NOT NULL, updated REAL NOT NULL, last_ms INTEGER NOT NULL,
        PRIMARY KEY (shape, labels)
    ) WITHOUT ROWID;
    CREATE TABLE outbox (
        number INTEGER PRIMARY KEY AUTOINCREMENT, shape INTEGER NOT NULL, labels TEXT NOT NULL, at_ms INTEGER NOT NULL,
        cells BLOB NOT NULL, exemplar TEXT NOT NULL, event INTEGER NOT NULL
    );
    CREATE TABLE sinks (name TEXT PRIMARY KEY, acknowledged INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE cursors (source TEXT, poller TEXT, value TEXT NOT NULL, PRIMARY KEY (source, poller)) WITHOUT ROWID;
    CREATE TABLE notes (source TEXT, key TEXT, value TEXT NOT NULL, at REAL NOT NULL, PRIMARY KEY (source, key)) WITHOUT ROWID;
    """,
    "ALTER TABLE series ADD COLUMN project TEXT NOT NULL DEFAULT '';",
    "ALTER TABLE series DROP COLUMN project;",  # it served caps that are the store's now
)
"""One step each: the first makes version 1 of an empty file."""
VERSION = len(MIGRATIONS)
TABLES = ("meta", "keys", "shapes", "series", "outbox", "sinks", "cursors", "notes")

_UNUSABLE = (
    sqlite3.SQLITE_CANTOPEN,
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_NOMEM,
)
"""Errors that say nothing of the file's content (https://www.sqlite.org/rescode.html)."""

BUSY_SECONDS = 5.0
CHECKED_BYTES = 64 << 20
"""Files up to this size are read through at start: about a third of a second."""


def opened(path: Path | None) -> tuple[sqlite3.Connection, str]:
    """A connection to the ledger in a file, or in memory, and "" or why an older file was set aside.

    Raises ConfigError for a file of a later version, and for a folder where there can be none.
    """
    if path is None:
        return _connected(None), ""
    try:
        return _connected(path), ""
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF not in _UNUSABLE:
            reason = str(error).replace("\n", " ")
        else:
            raise ConfigError(
                [f"{path} cannot be opened ({error}); make its folder writable and see that the disk is not full"]
            ) from error
    aside = path.with_name(f"{path.name}.broken-{time.strftime('%Y%m%dT%H%M%S', time.gmtime())}")
    for suffix in ("", "-wal", "-shm"):
        file = path.with_name(path.name + suffix)
        if file.exists():
            file.replace(aside.with_name(aside.name + suffix))
    log.error(
        "the ledger %s is not readable (%s): set aside as %s; what was counted before counts no more", path, reason, aside.name
    )
    return _connected(path), f"{reason}; set aside as {aside.name}"


def copied(path: Path) -> sqlite3.Connection:
    """What stands in a ledger's file, in memory; nothing where there is no file, or none that can be read."""
    connection = _connected(None)
    if path.exists():
        try:
            with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=BUSY_SECONDS)) as found:
                found.backup(connection)
            _prepare(connection, None)
        except (sqlite3.Error, ConfigError, UnicodeDecodeError) as error:
            log.warning("the ledger %s cannot be read (%s): what it holds is not shown", path, error)
            connection.close()
            return _connected(None)
    return connection


def _connected(path: Path | None) -> sqlite3.Connection:
    connection = sqlite3.connect(
        ":memory:" if path is None else path, timeout=BUSY_SECONDS, isolation_level=None, check_same_thread=False
    )
    connection.text_factory = lambda data: data.decode("utf-8", "replace")  # damage is found by whoever reads the text
    try:
        _prepare(connection, path)
    except UnicodeDecodeError as error:  # in the text of an error of SQLite's
        connection.close()
        raise sqlite3.DatabaseError("malformed schema") from error
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path | None) -> None:
    # https://www.sqlite.org/pragma.html#pragma_synchronous: FULL syncs the log at each commit
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=OFF", "journal_size_limit=16777216"):
        connection.execute(f"PRAGMA {pragma}")
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version > VERSION:
        raise ConfigError(
            [f"{path}: ledger of format {version}, this cipush reads up to {VERSION}; start the newer cipush, or move it away"]
        )
    if path is not None and path.stat().st_size <= CHECKED_BYTES:
        (found,) = connection.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise sqlite3.DatabaseError(found)
    for number in range(version, VERSION):
        connection.executescript(f"BEGIN IMMEDIATE; {MIGRATIONS[number]} PRAGMA user_version = {number + 1}; COMMIT;")
    for table in TABLES:  # one that is missing is damage
        connection.execute(f"SELECT 1 FROM {table} LIMIT 0")
    try:
        for (text,) in connection.execute("SELECT text FROM shapes"):
            Shape.parse(text)
    except ValueError as error:
        raise sqlite3.DatabaseError(str(error)) from error
