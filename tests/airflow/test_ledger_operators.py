"""The operators that keep the ledger, each as Airflow runs it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow import sdk
from sqlalchemy import select, update

from telnyx_porting.compat import IS_3_3
from telnyx_porting.errors import WrongAccountError
from telnyx_porting.ledger.tables import accounts, events, findings
from telnyx_porting.operators.porting import (
    TelnyxAlertPortingOrdersOperator,
    TelnyxAuditPortingLedgerOperator,
    TelnyxBackfillPortingEventsOperator,
    TelnyxExecutePortingPlanOperator,
    TelnyxPlanPortingRepublishOperator,
    TelnyxReadPortingDeliveriesOperator,
    TelnyxScanPortingEventsOperator,
    TelnyxSyncPortingOrdersOperator,
)
from telnyx_porting.operators.retries import TelnyxRetryPolicy

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.airflow


def test_that_telnyx_let_old_events_go_is_said_once(ledger: Ledger, sandbox: RunningSandbox) -> None:
    order, now = sandbox.order(), datetime.now(UTC)
    at = [now - timedelta(hours=hours) for hours in range(1, 24 * 10)]
    sandbox.insert(*[{"order_id": order, "created_at": moment.isoformat()} for moment in at])
    context: dict[str, Any] = {}
    TelnyxScanPortingEventsOperator(task_id="scan").execute(context)  # type: ignore[arg-type]

    def told(subject: str = "horizon") -> str | None:
        TelnyxAuditPortingLedgerOperator(task_id="audit").execute(context)  # type: ignore[arg-type]
        with ledger.read() as connection:
            query = findings.select().where(findings.c.subject == subject, findings.c.absent_since.is_(None))
            row = connection.execute(query).one_or_none()
        return row and row.detail["text"]

    assert told() is None
    sandbox.switches(event_retention_days=5)
    assert "Telnyx no longer has events before" in (told() or "")
    assert told() is None
    with ledger.read() as connection:
        spoiled = connection.execute(select(events.c.id).order_by(events.c.created_at.desc()).limit(1)).scalar_one()
    sandbox.fault("odd_row", row_id=spoiled, path="/v2/porting/events*", instead="no object")
    assert "could not be compared with Telnyx's" in (told("audit") or "")
    sandbox.clear_faults()
    assert told("audit") is None


@pytest.mark.parametrize(
    "operator",
    [
        TelnyxScanPortingEventsOperator(task_id="scan"),
        TelnyxAuditPortingLedgerOperator(task_id="audit"),
        TelnyxReadPortingDeliveriesOperator(task_id="evidence"),
        TelnyxSyncPortingOrdersOperator(task_id="orders"),
        TelnyxAlertPortingOrdersOperator(task_id="alerts"),
        TelnyxBackfillPortingEventsOperator(task_id="fill", since="2026-01-01T00:00:00Z", until="2026-01-02T00:00:00Z"),
        TelnyxPlanPortingRepublishOperator(task_id="plan"),
        TelnyxExecutePortingPlanOperator(task_id="execute", plan_id="any"),
    ],
    ids=lambda operator: operator.task_id,
)
def test_a_connection_that_leads_elsewhere_fails_every_task_at_once_and_its_clock_is_not_ours(
    ledger: Ledger, sandbox: RunningSandbox, connect: Callable[..., str], operator: Any
) -> None:
    sandbox.order()
    TelnyxScanPortingEventsOperator(task_id="scan").execute({})  # type: ignore[arg-type]
    sandbox.switches(clock_skew_seconds=400)
    sandbox.forget_requests()
    connect(host=sandbox.base_url.replace("127.0.0.1", "localhost"), password=sandbox.api_key)
    with pytest.raises(WrongAccountError, match="was first seen at") as caught:
        operator.execute({})
    assert not IS_3_3 or TelnyxRetryPolicy().evaluate(caught.value, 1, 3).action == sdk.RetryAction.FAIL
    assert sandbox.requests()["total"] == 0
    connect(host=sandbox.base_url, password=sandbox.api_key)
    with ledger.write() as connection:
        connection.execute(update(accounts).values(user_id="somebody else", key_fingerprint="of another key"))
    with pytest.raises(WrongAccountError, match="belongs to Telnyx user somebody else"):
        operator.execute({})
    with ledger.read() as connection:
        told = connection.execute(findings.select().where(findings.c.subject == "clock_skew")).all()
    assert told == []
