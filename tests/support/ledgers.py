"""Ledgers for tests: the same test on a SQLite file and on a real PostgreSQL server carried by a wheel.

A ledger is upgraded once per test process; each test gets a copy. The handle is used again by the next test, since its
engine keeps the statements it has compiled, and compiling them costs more than most tests do.
"""

from __future__ import annotations

import atexit
import shutil
import tempfile
import uuid
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import SQLAlchemyError

from include.demo.homes import home
from include.demo.ports import reserve
from include.demo.postgres import Server, start
from include.demo.processes import Processes
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import metadata
from telnyx_porting.ledger.urls import normalise
from tests.support.places import BUILD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Engine


class OpenLedger(Protocol):
    """Opens the ledger in a file, as it is."""

    def __call__(self, path: Path, *, durable: bool = False) -> Ledger: ...


# -- SQLite ------------------------------------------------------------------------------------------------------------

_files: list[Ledger] = []  # handles on files that are gone


@contextmanager
def new_file() -> Iterator[Ledger]:
    """An empty, upgraded ledger in a file of its own."""
    handle = _files.pop() if _files else _forgetful(f"sqlite:///{_folder() / uuid.uuid4().hex}.db")
    path = Path(str(handle.url.database))
    shutil.copy(upgraded_file(), path)
    try:
        yield handle
    finally:
        handle.engine.dispose()
        for suffix in ("", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
        _files.append(handle)


def _forgetful(url: str) -> Ledger:
    """A handle that does not wait for the disk: no test survives a power cut."""
    handle = Ledger(url)
    event.listen(handle.engine, "connect", lambda connection, _: connection.execute("PRAGMA synchronous=OFF"))
    return handle


@cache
def _folder() -> Path:
    (BUILD / "tmp").mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix="ledger-", dir=BUILD / "tmp"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@cache
def upgraded_file() -> Path:
    """An empty, upgraded ledger to be copied."""
    path = _folder() / "upgraded.db"
    _upgrade(f"sqlite:///{path}")
    return path


def _upgrade(url: str) -> None:
    handle = Ledger(url)
    handle.upgrade()
    handle.close()


# -- PostgreSQL --------------------------------------------------------------------------------------------------------


@cache
def shared_server() -> Server | None:
    """The PostgreSQL server of this test process, started when first asked for; None where the wheel has no build."""
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(home(BUILD / "tmp", "postgres"))
    ports = stack.enter_context(reserve(usual=False))
    return start(stack.enter_context(Processes(folder)), ports.postgres)


@pytest.fixture(scope="session")
def postgres_server() -> str:
    """A PostgreSQL server for this run, as a URL; skipped where its wheel is not installed."""
    server = shared_server()
    if server is None:
        pytest.skip("the PostgreSQL wheel is not installed, or has no build for this platform")
    return server.url()


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """A fresh database on that server."""
    name = f"porting_{uuid.uuid4().hex[:12]}"
    with _database(postgres_server, name, "template1"):
        yield _url(postgres_server, name)


_databases: list[tuple[Ledger, str]] = []  # handles on empty ones, and the schema they came with


@contextmanager
def new_database(server: str) -> Iterator[Ledger]:
    """An empty, upgraded ledger in a database of its own.

    It is emptied and used again, which takes a tenth of the time of making one, unless the test has touched more than
    its rows.
    """
    handle, schema = _databases.pop() if _databases else _made(server)
    try:
        yield handle
    finally:
        handle.engine.dispose()
        if _emptied(handle, schema):
            _databases.append((handle, schema))
        else:
            handle.close()
            _order(server, f"DROP DATABASE {handle.url.database} WITH (FORCE)")


def _made(server: str) -> tuple[Ledger, str]:
    name = f"porting_{uuid.uuid4().hex[:12]}"
    _order(server, f"CREATE DATABASE {name} TEMPLATE {_upgraded_database(server)}")
    handle = Ledger(_url(server, name))
    return handle, _schema(handle)


def _emptied(handle: Ledger, schema: str) -> bool:
    try:
        with handle.engine.begin() as connection:
            connection.execute(text(OTHERS))
            for table in reversed(metadata.sorted_tables):
                connection.execute(table.delete())
            connection.execute(text(COUNTERS))
        return _schema(handle) == schema
    except SQLAlchemyError:
        return False


def _schema(handle: Ledger) -> str:
    """A digest of all tables, columns, rights, statistics and settings."""
    with handle.engine.connect() as connection:
        return str(connection.execute(text(SCHEMA)).scalar_one())


OTHERS = """
SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()
"""
COUNTERS = "SELECT setval(format('%I.%I', schemaname, sequencename), 1, false) FROM pg_sequences"
SCHEMA = """
SELECT md5(string_agg(line, '' ORDER BY line)) FROM (
    SELECT c::text FROM pg_class c WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT a::text FROM pg_attribute a JOIN pg_class c ON c.oid = attrelid
        WHERE relnamespace = 'public'::regnamespace
    UNION ALL SELECT s::text FROM pg_db_role_setting s
    UNION ALL SELECT t::text FROM pg_trigger t
    UNION ALL SELECT k::text FROM pg_constraint k WHERE connamespace = 'public'::regnamespace
    UNION ALL SELECT v::text FROM porting_ledger_version v
) all_of_it (line)
"""


@contextmanager
def _database(server: str, name: str, template: str) -> Iterator[None]:
    _order(server, f"CREATE DATABASE {name} TEMPLATE {template}")
    try:
        yield
    finally:
        _order(server, f"DROP DATABASE {name} WITH (FORCE)")


@cache
def _upgraded_database(server: str) -> str:
    _order(server, "CREATE DATABASE porting_upgraded")
    _upgrade(_url(server, "porting_upgraded"))
    return "porting_upgraded"


def _url(server: str, database: str) -> str:
    return normalise(server).set(database=database).render_as_string(hide_password=False)


@cache
def _admin(server: str) -> Engine:
    return create_engine(normalise(server), isolation_level="AUTOCOMMIT")


def _order(server: str, statement: str) -> None:
    with _admin(server).connect() as connection:
        connection.execute(text(statement))


# -- either ------------------------------------------------------------------------------------------------------------


def both_databases(scope: Any = "function") -> Any:
    """A fixture: an empty, upgraded ledger on each supported database, as long as the scope lasts."""

    @pytest.fixture(scope=scope, params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
    def ledger(request: pytest.FixtureRequest) -> Iterator[Ledger]:
        sqlite = request.param == "sqlite"
        with new_file() if sqlite else new_database(request.getfixturevalue("postgres_server")) as handle:
            yield handle

    return ledger


ledger = both_databases()


def plan_of(ledger: Ledger, query: Any) -> str:
    """How the database would answer a query, in its own words."""
    sql = query if isinstance(query, str) else str(query.compile(ledger.engine, compile_kwargs={"literal_binds": True}))
    with ledger.read() as connection:
        if ledger.is_sqlite:
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}").all()
            return "\n".join(str(row[3]) for row in rows)
        connection.execute(text("SET LOCAL enable_seqscan = off"))
        return "\n".join(row[0] for row in connection.exec_driver_sql("EXPLAIN " + sql.replace("%", "%%")))
