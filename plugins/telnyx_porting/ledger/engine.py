"""The ledger's one door to a database, and the only file that names a dialect.

SQLite contract: WAL, ``BEGIN IMMEDIATE`` for writes (a transaction that reads first and writes later fails at once with
"database is locked", whatever the time-out), short transactions, one engine per process, file mode 0600. Several hosts
need PostgreSQL; its URLs are normalised to psycopg 3.
"""

from __future__ import annotations

import json
import os
import time
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    URL,
    ColumnClause,
    ColumnElement,
    Connection,
    Engine,
    Row,
    Select,
    Table,
    TableClause,
    Text,
    any_,
    bindparam,
    func,
    inspect,
    literal,
    select,
    text,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DatabaseError, DataError, IntegrityError, ProgrammingError

from telnyx_porting.errors import LedgerError
from telnyx_porting.ledger.bulk import write_many
from telnyx_porting.ledger.files import copy_to, open_file, write_statistics
from telnyx_porting.ledger.urls import normalise, open_server

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Self

HEAD = "0001"
VERSION_TABLE = "porting_ledger_version"
MANY = 64  # rows from which an upsert goes to the database as one document or one driver call
_UPGRADE = "run `python -m telnyx_porting upgrade` with the newest installed version"
_PAUSE = 0.005


class Ledger:
    """A handle on the ledger; cheap to make, connects when first used, safe in forked processes.

    ``with Ledger(url) as ledger:`` closes it at the end of the block.

    :param url: ``sqlite:////absolute/path.db`` or ``postgresql://...``.
    :param durable: commit to disk before a write returns (the receiver answers 200 only then).
    """

    def __init__(self, url: str | URL, *, durable: bool = False) -> None:
        self.url = normalise(url)
        self.durable = durable
        self._engine: tuple[int, Engine] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({self.url.set(query={}).render_as_string(hide_password=True)})"

    @property
    def is_sqlite(self) -> bool:
        """Whether this ledger is a file."""
        return self.url.drivername.startswith("sqlite")

    @property
    def is_there(self) -> bool:
        """Whether there is something to look into; using a file makes it."""
        return not self.is_sqlite or Path(str(self.url.database)).exists()

    @property
    def engine(self) -> Engine:
        """This process's engine: a pool must not cross a fork."""
        if self._engine is None or self._engine[0] != os.getpid():
            self._engine = (os.getpid(), self._connect())
        return self._engine[1]

    def close(self) -> None:
        """Close pooled connections."""
        if self._engine is not None and self._engine[0] == os.getpid():
            self._engine[1].dispose()
        self._engine = None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a connection for looking: one consistent snapshot, nothing is written."""
        with _clear(self), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def write(self, lock: str = "") -> Iterator[Connection]:
        """Open one short write transaction, committed at the end of the block.

        :param lock: a name; whoever writes under the same one waits.
        """
        with _clear(self), self.engine.connect().execution_options(porting_write=True) as connection:
            with connection.begin():
                if lock:
                    self.lock(connection, lock)
                yield connection

    def breathe(self) -> None:
        """Let others in, between two of many write transactions: they ask for the lock every 2 ms."""
        if self.is_sqlite:
            time.sleep(_PAUSE)

    def _connect(self) -> Engine:
        return open_file(self.url, durable=self.durable) if self.is_sqlite else open_server(self.url)

    # -- schema ------------------------------------------------------------------------------------------------------

    def upgrade(self) -> None:
        """Bring the schema to this version, under a lock; harmless when it already is.

        An older SQLite file is first copied beside itself.

        :raises LedgerError: when the ledger is newer than this package, or cannot be written.
        """
        from alembic import command
        from alembic.config import Config

        config = Config()
        folder = Path(__file__).parent / "migrations"
        config.set_main_option("script_location", str(folder).replace("%", "%%"))  # it knows %(variables)s
        config.set_main_option("path_separator", "os")
        found = self.version()
        self._check_not_newer(found)
        if found is not None and found < HEAD and self.is_sqlite:
            self.back_up(Path(f"{self.url.database}.{found}.bak"))
        with self.write() as connection:
            if not self.is_sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(7021150315)"))
            config.attributes["connection"] = connection
            command.upgrade(config, "head")
            if self.is_sqlite:
                write_statistics(connection)
        self.close()  # a connection plans by the counts it found when it was opened

    def ready(self) -> Ledger:
        """Return self once the schema is this package's; SQLite upgrades itself, PostgreSQL says what to run.

        :raises LedgerError: naming the version found and the command or version needed.
        """
        found = self.version()
        if found == HEAD:
            return self
        self._check_not_newer(found)
        if not self.is_sqlite:
            raise LedgerError(f"the ledger is at version {found or 'none'}, this package needs {HEAD}: {_UPGRADE}")
        self.upgrade()
        return self

    def version(self) -> str | None:
        """Return the schema's version, or None where no ledger is."""
        with self.read() as connection:
            if not inspect(connection).has_table(VERSION_TABLE):
                return None
            return connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}")).scalar()

    def _check_not_newer(self, found: str | None) -> None:
        if found is not None and found > HEAD:
            raise LedgerError(f"the ledger is at version {found}, newer than this package's {HEAD}: update the package")

    # -- writing -----------------------------------------------------------------------------------------------------

    def upsert(
        self,
        connection: Connection,
        table: Table,
        rows: Sequence[Mapping[str, Any]],
        change: Mapping[str, Any] | None = None,
        *,
        fresh: bool = False,
    ) -> None:
        """Insert rows; where the key exists apply `change` (column -> value or SQL), or do nothing when it is None.

        Rows are de-duplicated (the last wins) and sorted by key: no deadlock between two writers, no row twice in one
        statement. All rows have the same columns. Inside `change`, use :func:`excluded` for the new row's values.
        With `fresh` none of them was held a moment ago, so that writing them all as new ones is tried first.
        """
        if not rows:
            return
        key = [column.name for column in table.primary_key]
        unique = {tuple(row[name] for name in key): row for row in rows}
        ordered = [unique[identity] for identity in sorted(unique)]
        statement: Any = sqlite.insert(table) if self.is_sqlite else postgresql.insert(table)
        if len(ordered) >= MANY:
            write_many(
                connection, table, ordered, statement, lambda insert: _on_conflict(insert, key, change), fresh=fresh
            )
        else:
            connection.execute(_on_conflict(statement, key, change), [dict(row) for row in ordered])

    def among(self, column: ColumnElement[str], values: Sequence[str]) -> ColumnElement[bool]:
        """Return SQL for `column IN values` with one bound value, however many there are."""
        texts = self._written(column, values)
        if self.is_sqlite:
            each = func.json_each(literal(json.dumps(texts), Text())).table_valued("value")
            return column.in_(select(each.c.value))
        return column == any_(literal(texts, postgresql.ARRAY(Text)))

    def held(
        self, connection: Connection, table: Table, account: str, ids: Sequence[str], columns: tuple[Any, ...]
    ) -> Sequence[Row[Any]]:
        """Return what a table with the key (account, id) holds of some ids."""
        written = self._written(table.c.id, ids)
        given = {"account": account, "ids": json.dumps(written) if self.is_sqlite else written}
        return connection.execute(_held(self.is_sqlite, table, columns), given).all()

    def _written(self, column: ColumnElement[str], values: Sequence[str]) -> list[Any]:
        prepare = column.type.dialect_impl(self.engine.dialect).bind_processor(self.engine.dialect)
        return list(values) if prepare is None else [prepare(value) for value in values]

    def greatest(self, *values: Any) -> ColumnElement[Any]:
        """Return SQL for the largest of several values (SQLite spells it ``max``)."""
        return func.max(*values) if self.is_sqlite else func.greatest(*values)

    def lock(self, connection: Connection, name: str) -> None:
        """Hold a named lock until the transaction ends; a SQLite write transaction is one already."""
        if not self.is_sqlite:
            connection.execute(select(func.pg_advisory_xact_lock(func.hashtext(name))))

    # -- care --------------------------------------------------------------------------------------------------------

    def size(self) -> int:
        """Return the ledger's size on disk in bytes."""
        query = (
            "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()"
            if self.is_sqlite
            else "SELECT coalesce(sum(pg_total_relation_size(oid)), 0) FROM pg_class"
            " WHERE relname LIKE 'porting\\_%' AND relkind = 'r'"
        )
        with self.read() as connection:
            return int(connection.execute(text(query)).scalar_one())

    def vacuum(self, pages: int) -> int:
        """Give unused pages of a SQLite file back, a few at a time; PostgreSQL does so by itself.

        :return: pages still unused.
        """
        if not self.is_sqlite:
            return 0
        with self.write() as connection:
            driver: Any = connection.connection.dbapi_connection
            driver.execute(f"PRAGMA incremental_vacuum({int(pages)})").fetchall()  # one page for each row fetched
            return int(driver.execute("PRAGMA freelist_count").fetchone()[0])

    def back_up(self, target: Path) -> None:
        """Copy a SQLite ledger while it is in use; the copy appears whole or not at all.

        :raises LedgerError: for PostgreSQL, which has tools of its own, and where the file cannot be written.
        """
        if not self.is_sqlite:
            raise LedgerError("a PostgreSQL ledger is backed up with PostgreSQL's own tools, such as pg_dump")
        with self.read() as connection:
            copy_to(connection.connection.dbapi_connection, target)


@cache
def _held(is_sqlite: bool, table: Table, columns: tuple[Any, ...]) -> Select[Any]:
    """Select by ids, with one look at the key for each: built once, since such a statement is garbage in a cycle.

    A PostgreSQL that has never analysed the table would rather read all rows of the account, so it is not asked.
    """
    mine = table.c.account == bindparam("account")
    if is_sqlite:
        each = func.json_each(bindparam("ids", type_=Text())).table_valued("value")
        return select(*columns).where(mine, table.c.id.in_(select(each.c.value)))
    wanted = func.unnest(bindparam("ids", type_=postgresql.ARRAY(Text))).table_valued("id").render_derived("wanted")
    row = select(*columns).where(mine, table.c.id == wanted.c.id).limit(1).lateral("held")
    return select(*row.c).select_from(wanted.join(row, true()))


@cache
def excluded(name: str) -> ColumnElement[Any]:
    """Return SQL for the value that the conflicting insert wanted to write."""
    return TableClause("excluded", ColumnClause(name)).c[name]


def _on_conflict(statement: Any, key: list[str], change: Mapping[str, Any] | None) -> Any:
    if change is None:
        return statement.on_conflict_do_nothing(index_elements=key)
    return statement.on_conflict_do_update(index_elements=key, set_=dict(change))


@contextmanager
def _clear(ledger: Ledger) -> Iterator[None]:
    """Say in one sentence which ledger could not be used, without its password."""
    try:
        yield
    except (DataError, IntegrityError, ProgrammingError):
        raise
    except DatabaseError as error:
        reason = str(error.orig).strip().splitlines()
        raise LedgerError(f"{ledger!r} cannot be used: {reason[0] if reason else type(error.orig).__name__}") from error
