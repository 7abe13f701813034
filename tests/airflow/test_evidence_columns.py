"""A table of one's own, in every type of column that the documents name, whatever the zone of its database session."""

from __future__ import annotations

import sqlite3
import uuid
from contextlib import closing
from datetime import timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.table import read_table
from telnyx_porting.ledger.urls import normalise
from telnyx_porting.operators.evidence import table_rows
from telnyx_porting.settings import Settings
from tests.support.ledgers import new_file, shared_server
from tests.support.rows import ACCOUNT, NOW, body, stored

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime
    from pathlib import Path

pytestmark = pytest.mark.airflow
SOURCE = "table:crm"
PLAIN = "'{since}'"
SQLITE_SECONDS = "CAST(strftime('%s', '{since}') AS INTEGER)"
SECONDS = "extract(epoch FROM timestamptz '{since}')"


def _iso(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%SZ}"


def _naive(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M:%S}"


SQLITE = [
    ("TEXT", _iso, PLAIN),
    ("TEXT", _naive, PLAIN),
    ("INTEGER", lambda at: int(at.timestamp()), SQLITE_SECONDS),
    ("REAL", lambda at: at.timestamp() + 0.25, SQLITE_SECONDS),
]
POSTGRES = [
    ("timestamptz", lambda at: at, PLAIN),
    ("timestamp", _naive, PLAIN),
    ("text", _iso, PLAIN),
    ("text", _naive, PLAIN),
    ("text", lambda at: f"{at.timestamp():.3f}", f"({SECONDS})::text"),
    ("bigint", lambda at: int(at.timestamp()), SECONDS),
    ("numeric(20, 6)", lambda at: at.timestamp(), SECONDS),
    ("double precision", lambda at: at.timestamp() + 0.25, SECONDS),
]


def _looks(monkeypatch: pytest.MonkeyPatch, connect: Callable[[], Any], mark: str, at: Any, bound: str) -> None:
    """Two looks, five minutes apart; a webhook came before each."""
    hook = SimpleNamespace(get_conn=connect)  # any provider's SQL hook has this
    found = {"crm": SimpleNamespace(get_hook=lambda: hook)}
    monkeypatch.setattr("telnyx_porting.operators.evidence.BaseHook.get_connection", found.__getitem__)
    rows = table_rows("crm", f"SELECT id, received_at, body FROM hooks WHERE received_at >= {bound}", {})
    with new_file() as ledger:
        came: list[datetime] = []
        for minute in (0, 5):
            now = NOW + timedelta(minutes=minute)
            came.append(now - timedelta(minutes=2))
            with closing(connect()) as mine:
                row = (minute, at(came[-1]), body(str(uuid.uuid4()), _iso(came[-1])))
                mine.execute(f"INSERT INTO hooks VALUES ({mark}, {mark}, {mark})", row)
                mine.commit()
            settings = Settings()
            result = read_table(Account(ledger, ACCOUNT, settings, lambda now=now: now), SOURCE, rows)
            assert (result.trouble, result.proved, result.covered_until) == (None, True, now - settings.settle)
        held = sorted(stored(ledger, SOURCE), key=lambda row: row.stored_at)
        assert [row.stored_at.replace(microsecond=0) for row in held] == came
        assert {row.type for row in held} == {"porting_order.status_changed"}


@pytest.mark.parametrize(("column", "at", "bound"), SQLITE, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize("body_column", ["TEXT", "BLOB"])
def test_on_sqlite(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, column: str, at: Any, bound: str, body_column: str
) -> None:
    def connect() -> sqlite3.Connection:
        return sqlite3.connect(tmp_path / "crm.db")

    with closing(connect()) as mine:
        mine.execute(f"CREATE TABLE hooks (id INTEGER, received_at {column}, body {body_column})")
    _looks(monkeypatch, connect, "?", at, bound)


@pytest.fixture(scope="module")
def database() -> str:
    """A database of theirs, as psycopg wants it."""
    if (server := shared_server()) is None:
        pytest.skip("the PostgreSQL wheel is not installed, or has no build for this platform")
    url = normalise(server.url())
    return f"host={url.host} port={url.port} user={url.username} password={url.password or ''} dbname={url.database}"


@pytest.mark.postgres
@pytest.mark.parametrize(("column", "at", "bound"), POSTGRES, ids=lambda value: value if isinstance(value, str) else "")
@pytest.mark.parametrize(
    ("zone", "body_column"),
    [("UTC", "text"), ("America/New_York", "jsonb"), ("Asia/Tokyo", "json"), ("Pacific/Chatham", "bytea")],
)
def test_on_postgres(
    monkeypatch: pytest.MonkeyPatch, database: str, column: str, at: Any, bound: str, zone: str, body_column: str
) -> None:
    def connect() -> psycopg.Connection[Any]:
        return psycopg.connect(f"{database} options='-c timezone={zone} -c search_path=crm'")

    with psycopg.connect(database, autocommit=True) as mine:
        mine.execute("DROP SCHEMA IF EXISTS crm CASCADE")
        mine.execute("CREATE SCHEMA crm")
        mine.execute(f"CREATE TABLE crm.hooks (id int, received_at {column}, body {body_column})")
    _looks(monkeypatch, connect, "%s", at, bound)
