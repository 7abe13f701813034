"""A ledger is opened once by whoever uses one, and closed however that ends."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred
from sqlalchemy import event
from sqlalchemy.pool import Pool

from telnyx_porting.compat import TaskAwaitingInput
from telnyx_porting.errors import AuthenticationError, LedgerError, PlanError, SettingsError
from telnyx_porting.notifications.failure import PortingAlertNotifier
from telnyx_porting.operators import execution, porting
from telnyx_porting.operators.base import PortingLedgerOperator
from telnyx_porting.triggers.porting import TelnyxPortingWebhooksTrigger
from tests.support.rows import ACCOUNT, add_event, add_feed, add_watch

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.airflow
NOBODY = "5796a670-482c-490e-8d97-82bfcdc83011"
INSTANCE = SimpleNamespace(id="1", dag_id="dag", task_id="task", run_id="run", map_index=-1, xcom_push=lambda **_: None)
CONTEXT: Any = {"dag_run": SimpleNamespace(triggering_user_name="ann"), "ti": INSTANCE, "task_instance": INSTANCE}
CONTEXT["task"] = SimpleNamespace(telnyx_conn_id=ACCOUNT)


class Ledgers:
    """Connections to the ledger's file: those that a pool made first, and those that are open."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.opened = 0
        self.left: set[int] = set()

    def first_connect(self, connection: Any, _record: Any) -> None:
        self.opened += self._ours(connection)

    def connect(self, connection: Any, _record: Any) -> None:
        if self._ours(connection):
            self.left.add(id(connection))

    def close(self, connection: Any, _record: Any) -> None:
        self.left.discard(id(connection))

    def _ours(self, connection: Any) -> bool:
        return connection.execute("PRAGMA database_list").fetchone()[2] == self.path


@pytest.fixture
def ledger(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    """A ledger in which one event is missed, and may be sent again by policy."""
    for name, value in {
        "CONSUMER_OF_RECORD": "receiver",
        "REPUBLISH_MODE": "auto",
        "CONSUMER_IS_IDEMPOTENT": "true",
    }.items():
        monkeypatch.setenv(f"TELNYX_PORTING_{name}", value)
    now = datetime.now(UTC)
    add_feed(ledger, heartbeat=now, covers_from=now - timedelta(days=7), proved_at=now - timedelta(days=7))
    add_watch(ledger, now - timedelta(days=7))
    return ledger


@pytest.fixture
def missed(ledger: Ledger, sandbox: RunningSandbox) -> str:
    found = sandbox.act(sandbox.order(), "comment", complete_after=0)[0]["id"]
    return add_event(ledger, id=found, created_at=datetime.now(UTC) - timedelta(hours=1), delivery="missed")


@pytest.fixture
def ledgers(missed: str, tmp_path: Path) -> Iterator[Ledgers]:
    seen = Ledgers(tmp_path / "ledger.db")
    heard = {name: getattr(seen, name) for name in ("first_connect", "connect", "close")}
    for name, hear in heard.items():
        event.listen(Pool, name, hear)
    yield seen
    for name, hear in heard.items():
        event.remove(Pool, name, hear)


def run(operator: str, **arguments: Any) -> Any:
    return getattr(porting, operator)(task_id="task", **arguments).execute(CONTEXT)


def planned(approved: bool) -> str:
    plan_id: str = run("TelnyxPlanPortingRepublishOperator")["plan_id"]
    if approved:
        run("TelnyxApprovePortingPlanOperator", plan_id=plan_id)
    return plan_id


AUDIT = "TelnyxAuditPortingLedgerOperator"
BACKFILL = "TelnyxBackfillPortingEventsOperator"
DAY = {"since": "2026-10-01T00:00:00Z", "until": "2026-10-02T00:00:00Z"}
DELIVERIES = "TelnyxReadPortingDeliveriesOperator"
EXECUTE = "TelnyxExecutePortingPlanOperator"
PLAN = "TelnyxPlanPortingRepublishOperator"
REPORT = "TelnyxReportPortingPlanOperator"
TABLE = "TelnyxReadPortingTableOperator"

WAYS: list[tuple[str, dict[str, Any], type[BaseException] | None]] = [
    ("TelnyxAlertPortingOrdersOperator", {}, None),
    (AUDIT, {}, None),
    (AUDIT, {"since": "yesterday"}, SettingsError),
    (BACKFILL, DAY, None),
    (BACKFILL, {**DAY, "since": "yesterday"}, SettingsError),
    ("TelnyxMaintainPortingLedgerOperator", {}, None),
    ("TelnyxPreflightPortingOperator", {}, None),
    (PLAN, {}, None),
    ("TelnyxPreviewPortingRepublishOperator", {}, None),
    (PLAN, {"event_ids": [NOBODY]}, PlanError),
    (DELIVERIES, {}, None),
    (TABLE, {}, AirflowSkipException),
    ("TelnyxReconcilePortingFindingsOperator", {}, None),
    (REPORT, {"plan_id": ""}, AirflowSkipException),
    ("TelnyxScanPortingEventsOperator", {}, None),
    ("TelnyxSendPortingAlertsOperator", {}, None),
    ("TelnyxSettlePortingDeliveriesOperator", {}, None),
    ("TelnyxSyncPortingOrdersOperator", {}, None),
]
WITH_A_PLAN: list[tuple[str, bool, type[BaseException] | None]] = [
    ("TelnyxApprovePortingPlanOperator", False, None),
    ("TelnyxClosePortingPlanOperator", False, None),
    (EXECUTE, True, TaskDeferred),
    (EXECUTE, False, PlanError),
    (REPORT, True, None),
]


def ends(operator: str, arguments: dict[str, Any], ending: type[BaseException] | None, ledgers: Ledgers) -> None:
    """Run an operator; it ends as expected, with one ledger opened and none left open."""
    ledgers.opened = 0
    if ending is None:
        run(operator, **arguments)
    else:
        with pytest.raises(ending):
            run(operator, **arguments)
    assert ledgers.opened == 1
    assert not ledgers.left


@pytest.mark.parametrize(("operator", "arguments", "ending"), WAYS, ids=lambda value: getattr(value, "__name__", None))
def test_a_task_opens_its_ledger_once_and_closes_it(
    ledgers: Ledgers, operator: str, arguments: dict[str, Any], ending: type[BaseException] | None
) -> None:
    ends(operator, arguments, ending, ledgers)


@pytest.mark.parametrize(("operator", "approved", "ending"), WITH_A_PLAN)
def test_a_task_with_a_plan_does_too(
    ledgers: Ledgers,
    monkeypatch: pytest.MonkeyPatch,
    operator: str,
    approved: bool,
    ending: type[BaseException] | None,
) -> None:
    monkeypatch.setattr(execution, "WAIT_HERE", timedelta(0))
    ends(operator, {"plan_id": planned(approved)}, ending, ledgers)


@pytest.mark.parametrize("operator", ["TelnyxScanPortingEventsOperator", AUDIT, DELIVERIES])
def test_a_task_that_telnyx_refuses_does_too(ledgers: Ledgers, sandbox: RunningSandbox, operator: str) -> None:
    sandbox.fault("status", status=401)
    ends(operator, {}, AuthenticationError, ledgers)


def test_every_operator_with_a_ledger_is_tried() -> None:
    def below(kind: type[Any]) -> set[str]:
        return {kind.__name__}.union(*(below(each) for each in kind.__subclasses__()))

    ours = {name for name in below(PortingLedgerOperator) if name in porting.__all__}
    assert ours <= {operator for operator, *_ in (*WAYS, *WITH_A_PLAN)}


def test_asking_a_person_and_their_answer(ledgers: Ledgers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **_: None)
    monkeypatch.setenv("TELNYX_PORTING_REPUBLISH_MODE", "approve")
    operator = porting.TelnyxApprovePortingPlanOperator(task_id="approve", plan_id=planned(approved=False))
    with pytest.raises(TaskAwaitingInput) as waits:
        operator.execute(CONTEXT)
    answer = {"chosen_options": ["Approve"], "params_input": {}, "responded_at": datetime.now(UTC)}
    operator.execute_complete(CONTEXT, {**answer, "responded_by_user": None}, **(waits.value.kwargs or {}))
    assert not ledgers.left


@pytest.mark.parametrize("over", [False, True])
def test_callback(ledgers: Ledgers, over: bool) -> None:
    PortingAlertNotifier(over=over).notify(CONTEXT)
    assert ledgers.opened == 1
    assert not ledgers.left


async def test_trigger_that_is_cancelled_while_it_looks(ledgers: Ledgers) -> None:
    """Airflow cancels a trigger whenever it likes; a look under way is waited for."""

    async def watch() -> None:
        async for _ in TelnyxPortingWebhooksTrigger(poll_interval=0.001).run():
            pass

    for _ in range(10):
        watching, seen = asyncio.create_task(watch()), ledgers.opened
        while ledgers.opened == seen:
            await asyncio.sleep(0)
        watching.cancel()
        await asyncio.gather(watching, return_exceptions=True)
        assert not ledgers.left


def test_a_ledger_that_is_refused_is_closed_too(ledgers: Ledgers, ledger: Ledger) -> None:
    with ledger.write() as connection:
        connection.exec_driver_sql("UPDATE porting_ledger_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match="update the package"):
        run("TelnyxScanPortingEventsOperator")
    assert not ledgers.left
