"""Write many rows so that one which the database refuses keeps no other from being written."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import InternalError, OperationalError, ProgrammingError, StatementError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy import Connection, Table

    from telnyx_porting.ledger.engine import Ledger

log = logging.getLogger(__name__)
Row = dict[str, Any]


def write_rows(
    ledger: Ledger,
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    change: Mapping[str, Any] | None,
    *,
    fresh: bool = False,
) -> list[Row]:
    """Upsert rows: together, or one by one where they are refused together.

    :return: those that are refused even alone; nothing of them is written.
    """
    if _written(ledger, connection, table, rows, change, fresh):
        return []
    return [row for row in rows if not _written(ledger, connection, table, [row], change, False)]


def _written(
    ledger: Ledger,
    connection: Connection,
    table: Table,
    rows: Sequence[Row],
    change: Mapping[str, Any] | None,
    fresh: bool,
) -> bool:
    """Write rows; False, and nothing is written, where one of them is refused."""
    try:
        with connection.begin_nested():
            ledger.upsert(connection, table, rows, change=change, fresh=fresh)
    except (OperationalError, InternalError, ProgrammingError):
        raise
    except (StatementError, ValueError, TypeError, RecursionError) as error:
        log.warning("%d rows of %s are refused: %s", len(rows), table.name, type(error).__name__)
        return False
    return True
