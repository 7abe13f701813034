"""Many rows: read by key; written in short transactions, each row for less work, none kept out by a refused one."""

from __future__ import annotations

import logging
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from sqlalchemy import TypeDecorator, column, func, select, text
from sqlalchemy.exc import InternalError, OperationalError, ProgrammingError, StatementError

from telnyx_porting.ledger.types import Lossless

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import ColumnElement, Connection, Select, Table

T = TypeVar("T")

log = logging.getLogger(__name__)


def chunks(source: Iterable[T], size: int) -> Iterator[list[T]]:
    """Cut long work into short transactions: yield lists of at most `size` items."""
    items = iter(source)
    while batch := list(islice(items, size)):
        yield batch


def rows_by(
    connection: Connection, query: Select[Any], name: ColumnElement[Any], names: Iterable[str]
) -> dict[str, dict[str, Any]]:
    """Return the rows of a query that have one of some names in a column that it selects, by name."""
    found: dict[str, dict[str, Any]] = {}
    for batch in chunks(names, 500):
        rows = connection.execute(query.where(name.in_(batch))).mappings()
        found |= {row[name]: dict(row) for row in rows}
    return found


def write_rows(
    upsert: Callable[..., None],
    connection: Connection,
    table: Table,
    rows: Sequence[dict[str, Any]],
    change: Mapping[str, Any] | None,
    *,
    fresh: bool = False,
) -> list[dict[str, Any]]:
    """Upsert rows: together, or one by one where they are refused together.

    :param upsert: the ledger's.
    :return: those that are refused even alone; nothing of them is written.
    """
    try:
        with connection.begin_nested():
            upsert(connection, table, rows, change=change, fresh=fresh)
    except (OperationalError, InternalError, ProgrammingError):
        raise
    except (StatementError, ValueError, TypeError, RecursionError) as error:
        log.warning("%d rows of %s are refused: %s", len(rows), table.name, type(error).__name__)
        if len(rows) == 1:
            return list(rows)
        return [row for row in rows if write_rows(upsert, connection, table, [row], change)]
    return []


def write_many(
    connection: Connection,
    table: Table,
    rows: Sequence[Mapping[str, Any]],
    insert: Any,
    on_conflict: Callable[[Any], Any],
    *,
    fresh: bool = False,
) -> None:
    """Insert rows: as one driver call, or as one JSON document where the database unpacks one.

    :param rows: all with the same columns.
    :param insert: the database's own insert into the table.
    :param on_conflict: adds to an insert what happens to rows that are held.
    :param fresh: none of them was held just now, which PostgreSQL's COPY is made for.
    """
    dialect = connection.dialect
    names = [name for name in map(str, table.c.keys()) if name in rows[0]]
    columns: dict[str, list[Any]] = {}
    for name in names:
        kind = table.c[name].type
        if isinstance(kind, Lossless):
            columns[name] = kind.bind_all([row[name] for row in rows])
        elif isinstance(kind, TypeDecorator):  # ours: what is below them takes text and whole numbers as they are
            prepare = kind.process_bind_param
            columns[name] = [prepare(row[name], dialect) for row in rows]
        else:
            columns[name] = [row[name] for row in rows]
    if dialect.positional:
        compiled: Any = on_conflict(insert).compile(dialect=dialect, column_keys=names)
        for name in compiled.positiontup:
            if name not in columns:  # a constant of the conflict's part
                columns[name] = [compiled.params[name]] * len(rows)
        values_of = zip(*[columns[name] for name in compiled.positiontup], strict=True)
        connection.exec_driver_sql(str(compiled), list(values_of))
        return
    if fresh and _copied(connection, table, columns):
        return
    document = orjson.dumps([dict(zip(names, values, strict=True)) for values in zip(*columns.values(), strict=True)])
    record = func.json_to_recordset(text(":document ::json").bindparams(document=document.decode()))
    fields = [column(name, table.c[name].type) for name in names]
    new = record.table_valued(*fields, name="new").render_derived(with_types=True)
    connection.execute(on_conflict(insert.from_select(names, select(*[new.c[name] for name in names]))))


def _copied(connection: Connection, table: Table, columns: dict[str, list[Any]]) -> bool:
    """Write rows by COPY; False, and nothing is written, where one of them is refused or came to be held meanwhile."""
    errors: Any = connection.dialect.dbapi
    driver: Any = connection.connection.dbapi_connection
    try:
        with connection.begin_nested(), driver.cursor() as cursor:
            with cursor.copy(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN") as copy:
                for row in zip(*columns.values(), strict=True):
                    copy.write_row(row)
    except errors.Error:
        return False
    return True
