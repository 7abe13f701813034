"""Where the ledger is, as an Airflow connection says it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from psycopg.pq import Conninfo
from sqlalchemy import create_engine

from telnyx_porting.errors import LedgerError
from telnyx_porting.hooks.ledger import TelnyxLedgerHook
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.urls import normalise
from tests.support.vaults import BrokenSecrets

pytestmark = pytest.mark.airflow
VARIABLE = "AIRFLOW_CONN_TELNYX_PORTING_LEDGER"


def url(monkeypatch: pytest.MonkeyPatch, connection: str) -> str:
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
            json.dumps({"conn_type": "postgres", "host": "db", "schema": "p", "extra": {"sslmode": "require"}}),
            "postgresql+psycopg://db/p?sslmode=require",
        ),
    ],
)
def test_connections_of_every_kind(monkeypatch: pytest.MonkeyPatch, connection: str, expected: str) -> None:
    assert url(monkeypatch, connection) == expected

    async def looked_at() -> Ledger:
        async with TelnyxLedgerHook().aget_ledger() as ledger:
            return ledger

    assert asyncio.run(looked_at()).url.render_as_string(hide_password=False) == expected


@pytest.mark.parametrize(
    ("connection", "sentence"),
    [
        ({"conn_type": "sqlite", "host": "ledger.db"}, "expected the absolute path"),
        ({"conn_type": "mysql", "host": "db"}, "type is 'mysql', expected postgres or sqlite"),
        ({"conn_type": "postgres", "host": "db", "extra": {"ssl_mode": "require"}}, "the option 'ssl_mode'"),
    ],
)
def test_a_connection_that_cannot_be_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(LedgerError, match=sentence):
        url(monkeypatch, json.dumps(connection))


@pytest.mark.parametrize("option", [each.keyword.decode() for each in Conninfo.get_defaults()])
def test_every_option_reaches_the_server_by_a_connection_as_by_a_url(
    monkeypatch: pytest.MonkeyPatch, option: str
) -> None:
    """Those of this libpq, whatever its version; an option that is only dropped may be the one that protects."""
    spoken = {"port": "5433", "channel_binding": "require", "sslmode": "verify-full"}
    value = spoken.get(option, "some/value")
    where = {"conn_type": "postgres", "host": "db", "schema": "p"}
    ways = {
        "extra": json.dumps(where | {"extra": {option: value}}),
        "uri": f"postgres://db/p?{option}={quote(value, safe='')}",
        "url": "",
    }
    told = {}
    for way, connection in ways.items():
        address = Ledger(f"postgresql://db/p?{option}={quote(value)}").url
        if connection:
            monkeypatch.setenv(VARIABLE, connection)
            address = Ledger(TelnyxLedgerHook().get_url()).url
        told[way] = create_engine(address).dialect.create_connect_args(address)[1]
        del told[way]["context"]  # the driver's adapters, new each time
    assert told["url"][option] == value
    assert told["extra"] == told["uri"] == told["url"]


@pytest.mark.parametrize(("said", "meant"), [(True, "1"), (False, "0"), (5, "5"), (None, None), ("", None)])
def test_an_option_is_written_as_the_server_reads_it(
    monkeypatch: pytest.MonkeyPatch, said: object, meant: str | None
) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "postgres", "host": "db", "extra": {"keepalives": said}}))
    assert Ledger(TelnyxLedgerHook().get_url()).url.query.get("keepalives") == meant


@given(
    st.text(st.characters(codec="utf-8", exclude_characters="/\0", exclude_categories=["Cs"]), min_size=1, max_size=9)
)
@example("feature%2Fporting")
@example("what?no=#1")
@example("100% sure; a:b@c")
def test_a_file_is_where_its_path_says(name: str) -> None:
    """By connection and by URL, whatever is in the path."""
    path = f"/srv/{name}/ledger.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, json.dumps({"conn_type": "sqlite", "host": path}))
        assert Ledger(TelnyxLedgerHook().get_url()).url.database == path
    assert Ledger(f"sqlite:///{quote(path)}").url.database == path


def test_a_ledger_by_that_connection_works(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(VARIABLE, json.dumps({"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")}))
    with TelnyxLedgerHook().get_ledger() as ledger:
        assert ledger.version()


def both_ways(hook: TelnyxLedgerHook) -> list[str]:
    """What a task and what a trigger is told instead of a ledger."""

    async def look() -> None:
        async with hook.aget_ledger():
            pass

    told = []
    for ask in (lambda: hook.get_ledger().__enter__(), lambda: asyncio.run(look())):
        with pytest.raises(LedgerError) as caught:
            ask()
        told.append(str(caught.value))
    return told


@pytest.mark.parametrize("executor", ["LocalExecutor", "SequentialExecutor", "CeleryExecutor", "KubernetesExecutor"])
@pytest.mark.parametrize("secrets", ["", "tests.support.vaults.BrokenSecrets"], ids=["", "secrets that fail"])
def test_nothing_is_guessed_about_where_the_ledger_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, executor: str, secrets: str
) -> None:
    """Airflow says "not found" of a connection whose secrets backend failed, and of one that was never made."""
    monkeypatch.chdir(tmp_path)
    for name, value in {"CORE__EXECUTOR": executor, "SECRETS__BACKEND": secrets}.items():
        monkeypatch.setenv(f"AIRFLOW__{name}", value)
    BrokenSecrets.asked.clear()
    before = set(Path(os.environ["AIRFLOW_HOME"]).iterdir())
    task, trigger = both_ways(TelnyxLedgerHook())
    assert BrokenSecrets.asked == ["telnyx_porting_ledger"] * (2 if secrets else 0)
    assert task == trigger
    assert "\n" not in task
    assert "no connection 'telnyx_porting_ledger'" in task
    assert "TELNYX_PORTING_LEDGER_URL is not set: set one of them" in task
    assert "a secrets backend failed" in task
    assert {*tmp_path.iterdir(), *Path(os.environ["AIRFLOW_HOME"]).iterdir()} == before


def test_a_setting_decides_before_any_connection_is_looked_up(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """So nothing that Airflow finds, or fails to find, takes a task to another ledger."""
    said = f"sqlite:///{tmp_path / 'said.db'}"
    monkeypatch.setenv("TELNYX_PORTING_LEDGER_URL", said)
    for secrets in ("", "tests.support.vaults.BrokenSecrets"):
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", secrets)
        assert url(monkeypatch, "postgresql://me@db/porting") == said.replace("sqlite", "sqlite+pysqlite")
    told = both_ways(TelnyxLedgerHook("another"))
    assert all("no connection 'another'" in each and "LEDGER_URL" not in each for each in told)
