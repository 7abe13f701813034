"""What a ledger in a file needs beyond SQL: a private file, a place in the queue of writers, a copy, counts to plan by.

SQLite plans a query by what the last ANALYZE counted. A file that was never analysed has no counts, and then any index
that begins with `account` looks as good as the short one of what is open: every few minutes all of history would be
read. So a new schema gets its counts at once: history is long, what is open is short. A later ANALYZE counts truly.
Source: SQLite, "Database File Format", the sqlite_stat1 table, and "The Next-Generation Query Planner".
"""

from __future__ import annotations

import os
import sqlite3
import stat
import time
from contextlib import closing, suppress
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, text

from telnyx_porting.errors import LedgerError

if TYPE_CHECKING:
    from sqlalchemy import URL, Connection, Engine

LOCK_WAIT = 30.0
"""Seconds a writer waits for its turn."""
_ASK_AGAIN = 0.002
_PRIVATE = 0o600


def private(path: Path) -> None:
    """Make sure that the file is there, can be written, and is nobody else's to read; SQLite's own two follow it.

    :raises LedgerError: in one sentence, when it cannot be.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT, _PRIVATE))
        for name in (path.name, f"{path.name}-wal", f"{path.name}-shm"):
            each = path.with_name(name)
            with suppress(FileNotFoundError):  # SQLite's own two come and go
                if stat.S_IMODE(each.stat().st_mode) != _PRIVATE:
                    each.chmod(_PRIVATE)
    except OSError as error:
        reason = error.strerror if path.parent.is_dir() else f"there is no folder {path.parent}"
        raise LedgerError(f"the ledger {path} cannot be written: {reason}") from error


def begin_immediate(connection: Any, path: Path) -> None:
    """Begin a write transaction, asking for the lock every 2 ms.

    SQLite's own way of waiting asks ever less often, down to ten times a second: beside a process that writes one
    transaction after the other, it would hardly ever ask in the gap.

    :raises LedgerError: when the lock was not to be had in :data:`LOCK_WAIT` seconds.
    """
    deadline = time.monotonic() + LOCK_WAIT
    connection.execute("PRAGMA busy_timeout=0")
    try:
        while True:
            try:
                connection.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise LedgerError(f"the ledger {path} cannot be written: {error}") from error
                if time.monotonic() > deadline:
                    raise LedgerError(f"the ledger {path} was kept busy by others for {LOCK_WAIT:.0f} s") from error
                time.sleep(_ASK_AGAIN)
            else:
                return
    finally:
        connection.execute(f"PRAGMA busy_timeout={int(LOCK_WAIT * 1000)}")


def copy_to(connection: Any, target: Path) -> None:
    """Copy a whole database in one step: writers go on meanwhile, and the copy holds one moment of it.

    :raises LedgerError: when the copy cannot be written.
    """
    unfinished = target.with_name(target.name + ".unfinished")
    unfinished.unlink(missing_ok=True)
    private(unfinished)
    try:
        with closing(sqlite3.connect(unfinished)) as copy:
            connection.backup(copy, pages=-1)
        unfinished.replace(target)
    except (OSError, sqlite3.Error) as error:
        raise LedgerError(f"the copy {target} cannot be written: {error}") from error


def open_file(url: URL, *, durable: bool) -> Engine:
    """Return an engine of a file: write-ahead log, writers queue, and only whoever asks for it waits for the disk."""
    path = Path(str(url.database))
    engine = create_engine(url, connect_args={"timeout": LOCK_WAIT, "check_same_thread": False})

    @event.listens_for(engine, "do_connect")
    def _create(_dialect: Any, _record: Any, _arguments: Any, _keywords: Any) -> None:
        private(path)

    @event.listens_for(engine, "connect")
    def _pragmas(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we say BEGIN ourselves
        cursor = connection.cursor()
        if not cursor.execute("PRAGMA page_count").fetchone()[0]:  # later it is in vain, and takes the write lock
            cursor.execute("PRAGMA auto_vacuum=INCREMENTAL")
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
        cursor.execute("PRAGMA cache_size=-16384")
        cursor.close()

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        if connection.get_execution_options().get("porting_write"):
            begin_immediate(connection.connection.dbapi_connection, path)
        else:
            connection.exec_driver_sql("BEGIN")

    return engine


HISTORY, OPEN = 1_000_000, 100  # rows of a whole table, and of an index of what is open
ALIKE = 10  # rows with the same value of a column
_FEW_VALUES = frozenset({"account", "source", "channel", "status", "kind", "made_by"})


def write_statistics(connection: Connection) -> None:
    """Write the counts of every index of a SQLite ledger; connections opened later plan by them."""
    connection.execute(text("ANALYZE"))  # makes the table of counts
    connection.execute(text("DELETE FROM sqlite_stat1"))
    columns = connection.execute(
        text(
            'SELECT t.name AS tbl, i.name AS idx, i."unique" AS no_two, i.partial AS of_some, c.name AS column'
            " FROM sqlite_schema t, pragma_index_list(t.name) i, pragma_index_info(i.name) c"
            " WHERE t.type = 'table' ORDER BY t.name, i.name, c.seqno"
        )
    )
    counts = [
        {"tbl": table, "idx": index, "stat": _counts([row.column for row in rows], bool(no_two), bool(of_some))}
        for (table, index, no_two, of_some), rows in groupby(columns, key=lambda row: tuple(row[:4]))
    ]
    connection.execute(text("INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES (:tbl, :idx, :stat)"), counts)


def _counts(columns: list[str], unique: bool, partial: bool) -> str:
    """Write the rows of an index, then how many are alike in its first column, its first two, and so on."""
    alike = [OPEN if partial else HISTORY]
    for column in columns:
        alike.append(alike[-1] if column in _FEW_VALUES else min(alike[-1], ALIKE))
    if unique:
        alike[-1] = 1
    return " ".join(map(str, alike))
