"""The operators that keep the ledger, each as Airflow runs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.ledger.tables import findings
from telnyx_porting.operators.porting import TelnyxAuditPortingLedgerOperator, TelnyxScanPortingEventsOperator

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger
    from tests.conftest import OpenLedger

pytestmark = pytest.mark.airflow


@pytest.fixture
def ledger(
    tmp_path: Path,
    conn_id: str,
    connect: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    open_ledger: OpenLedger,
) -> Ledger:
    monkeypatch.setenv("TELNYX_PORTING_REQUESTS_PER_SECOND", "1000")
    connect("telnyx_porting_ledger", conn_type="sqlite", host=str(tmp_path / "ledger.db"))
    return open_ledger(tmp_path / "ledger.db").ready()


def test_that_telnyx_let_old_events_go_is_said_once(ledger: Ledger, sandbox: RunningSandbox) -> None:
    order, now = sandbox.order(), datetime.now(UTC)
    at = [now - timedelta(hours=hours) for hours in range(1, 24 * 10)]
    sandbox.insert(*[{"order_id": order, "created_at": moment.isoformat()} for moment in at])
    context: dict[str, Any] = {}
    TelnyxScanPortingEventsOperator(task_id="scan").execute(context)  # type: ignore[arg-type]

    def told() -> str | None:
        TelnyxAuditPortingLedgerOperator(task_id="audit").execute(context)  # type: ignore[arg-type]
        with ledger.read() as connection:
            query = findings.select().where(findings.c.subject == "horizon", findings.c.absent_since.is_(None))
            row = connection.execute(query).one_or_none()
        return row and row.detail["text"]

    assert told() is None
    sandbox.switches(event_retention_days=5)
    assert "Telnyx no longer has events before" in (told() or "")
    assert told() is None
