"""What SQLite is told about the sizes of things before they have them.

SQLite plans a query by what the last ANALYZE counted. A file that was never analysed has no counts, and then any index
that begins with `account` looks as good as the short one of what is open: every few minutes all of history would be
read. So a new schema gets its counts at once: history is long, what is open is short. A later ANALYZE counts truly.
Source: SQLite, "Database File Format", the sqlite_stat1 table, and "The Next-Generation Query Planner".
"""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy import Connection

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
