"""The operators that read evidence and decide, each as Airflow runs it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowSkipException
from sqlalchemy import select

from telnyx_porting.errors import SettingsError
from telnyx_porting.ledger.tables import findings
from telnyx_porting.operators.evidence import table_rows
from telnyx_porting.operators.porting import (
    TelnyxReadPortingDeliveriesOperator,
    TelnyxReadPortingTableOperator,
    TelnyxSettlePortingDeliveriesOperator,
)
from telnyx_porting.settings import load
from tests.support.rows import ACCOUNT

if TYPE_CHECKING:
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.airflow
CONTEXT: dict[str, Any] = {}


def test_evidence_and_verdicts(ledger: Ledger, sandbox: RunningSandbox) -> None:
    read = TelnyxReadPortingDeliveriesOperator(task_id="evidence")
    assert read.execute(CONTEXT)["records"] == 0  # type: ignore[arg-type]
    settle = TelnyxSettlePortingDeliveriesOperator(task_id="decide").execute(CONTEXT)  # type: ignore[arg-type]
    assert settle["account"] == ACCOUNT


def _table_settings() -> tuple[str, Any]:
    knobs = load(ACCOUNT).require_valid()
    return knobs.evidence_query, knobs.evidence_columns


def test_a_table_of_your_own(ledger: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = tmp_path / "crm.db"
    with closing(sqlite3.connect(database, isolation_level=None)) as mine:
        mine.execute("CREATE TABLE hooks (nr INTEGER, at TEXT, payload TEXT)")
        mine.execute("INSERT INTO hooks VALUES (1, datetime('now'), '{}'), (2, '2020-01-01 00:00:00', '{}')")
    skipped = TelnyxReadPortingTableOperator(task_id="table")
    with pytest.raises(AirflowSkipException, match="evidence_connection is empty"):
        skipped.execute(CONTEXT)  # type: ignore[arg-type]
    hook = SimpleNamespace(get_conn=lambda: sqlite3.connect(database))  # any provider's SQL hook has this
    found = {"crm": SimpleNamespace(get_hook=lambda: hook)}
    real = BaseHook.get_connection
    either = staticmethod(lambda name: found.get(name) or real(name))
    monkeypatch.setattr("telnyx_porting.operators.evidence.BaseHook.get_connection", either)
    monkeypatch.setenv("TELNYX_PORTING_EVIDENCE_CONNECTION", "crm")
    with pytest.raises(SettingsError, match="evidence_query"):
        table_rows("crm", *_table_settings())
    monkeypatch.setenv("TELNYX_PORTING_EVIDENCE_QUERY", "SELECT nr, at, payload FROM hooks WHERE at >= '{since}'")
    monkeypatch.setenv("TELNYX_PORTING_EVIDENCE_COLUMNS", '{"id": "nr", "received_at": "at", "body": "payload"}')
    rows = table_rows("crm", *_table_settings())
    assert [row["id"] for row in rows(datetime.now(UTC) - timedelta(days=7))] == [1]
    with ledger.read() as connection:
        told = select(findings.c.subject, findings.c.absent_since.is_(None))
        for body, is_open in (("{}", True), ('{"event_type": "porting_order.deleted"}', False)):
            with closing(sqlite3.connect(database, isolation_level=None)) as mine:
                mine.execute("UPDATE hooks SET payload = ?", [body])
            TelnyxReadPortingTableOperator(task_id="table").execute(CONTEXT)  # type: ignore[arg-type]
            assert ("evidence_table", is_open) in connection.execute(told).all()
            connection.rollback()
