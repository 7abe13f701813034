"""Where the ledger is, as an Airflow connection says it."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

import pytest

from telnyx_porting.errors import LedgerError

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.airflow
VARIABLE = "AIRFLOW_CONN_TELNYX_PORTING_LEDGER"


def url(monkeypatch: pytest.MonkeyPatch, connection: str) -> str:
    from telnyx_porting.hooks.ledger import TelnyxLedgerHook
    from telnyx_porting.ledger.engine import normalise

    monkeypatch.setenv(VARIABLE, connection)
    return normalise(TelnyxLedgerHook().get_url()).render_as_string(hide_password=False)


@pytest.mark.parametrize(
    ("connection", "expected"),
    [
        ("sqlite:////srv/ledger.db", "sqlite+pysqlite:////srv/ledger.db"),
        (json.dumps({"conn_type": "sqlite", "host": "/srv/ledger.db"}), "sqlite+pysqlite:////srv/ledger.db"),
        ("postgresql://me:p%40ss@db:5433/porting", "postgresql+psycopg://me:p%40ss@db:5433/porting"),
        ("postgresql+psycopg://me@db/porting", "postgresql+psycopg://me@db/porting"),
        (
            json.dumps({"conn_type": "postgres", "host": "db", "schema": "p", "extra": {"sslmode": "require", "x": 1}}),
            "postgresql+psycopg://db/p?sslmode=require",
        ),
    ],
)
def test_connections_of_every_kind(monkeypatch: pytest.MonkeyPatch, connection: str, expected: str) -> None:
    from telnyx_porting.hooks.ledger import TelnyxLedgerHook

    assert url(monkeypatch, connection) == expected
    ledger = asyncio.run(TelnyxLedgerHook().aget_ledger())
    assert ledger.url.render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    ("connection", "sentence"),
    [
        ({"conn_type": "sqlite", "host": "ledger.db"}, "expected the absolute path"),
        ({"conn_type": "mysql", "host": "db"}, "type is 'mysql', expected postgres or sqlite"),
    ],
)
def test_a_connection_that_cannot_be_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, str], sentence: str
) -> None:
    with pytest.raises(LedgerError, match=sentence):
        url(monkeypatch, json.dumps(connection))


def test_a_ledger_by_that_connection_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from telnyx_porting.hooks.ledger import TelnyxLedgerHook

    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}))
    assert TelnyxLedgerHook().get_ledger().version()
