"""Where the ledger is, as an Airflow connection says it."""

from __future__ import annotations

import asyncio
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from telnyx_porting.errors import LedgerError
from telnyx_porting.hooks.ledger import TelnyxLedgerHook
from telnyx_porting.ledger.urls import normalise
from tests.support.stores import BrokenSecrets

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

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
            json.dumps({"conn_type": "postgres", "host": "db", "schema": "p", "extra": {"sslmode": "require", "x": 1}}),
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
    ],
)
def test_a_connection_that_cannot_be_is_one_sentence(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, str], sentence: str
) -> None:
    with pytest.raises(LedgerError, match=sentence):
        url(monkeypatch, json.dumps(connection))


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
@pytest.mark.parametrize("secrets", ["", "tests.support.stores.BrokenSecrets"], ids=["", "secrets that fail"])
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
    for secrets in ("", "tests.support.stores.BrokenSecrets"):
        monkeypatch.setenv("AIRFLOW__SECRETS__BACKEND", secrets)
        assert url(monkeypatch, "postgresql://me@db/porting") == said.replace("sqlite", "sqlite+pysqlite")
    told = both_ways(TelnyxLedgerHook("another"))
    assert all("no connection 'another'" in each and "LEDGER_URL" not in each for each in told)
