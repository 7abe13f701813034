"""A task that fails for good is told through the watch's own channels, and taken back when it works."""

from __future__ import annotations

import json
import sqlite3
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.files import LOCK_WAIT
from telnyx_porting.ledger.tables import findings
from tests.support.runs import known

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox

ACCOUNT = "telnyx_default"


@pytest.fixture
def home(
    sandbox: RunningSandbox,
    conn_id: str,
    connect: Callable[..., str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> RunningSandbox:
    """Telnyx, one channel and a ledger; alerts go at once, whatever the hour."""
    sandbox.control("DELETE", "/inbox")
    connect("alerts", conn_type="http", host=sandbox.inbox_url)
    connect("telnyx_porting_ledger", conn_type="sqlite", host=str(tmp_path / "ledger.db"))
    told_at_once = {
        "ALERT_CHANNELS": "alerts:json",
        "GROUP_WAIT": "0",
        "GROUP_INTERVAL": "0",
        "RESOLVE_HOLD": "0",
        "BUSINESS_DAYS": "mon-sun",
        "BUSINESS_HOURS": "00:00-24:00",
    }
    for name, value in told_at_once.items():
        monkeypatch.setenv(f"TELNYX_PORTING_{name}", value)
    return sandbox


def context(account: str | None = ACCOUNT, map_index: int = -1, task_id: str = "scan") -> Any:
    """What Airflow hands to a callback, as far as it is used."""
    instance = SimpleNamespace(dag_id="porting_scan", task_id=task_id, run_id="manual__1", map_index=map_index)
    return {"ti": instance, "task": SimpleNamespace(telnyx_conn_id=account) if account else SimpleNamespace()}


def open_findings(tmp_path: Path) -> set[tuple[str, str]]:
    """Account and key of what is open and not taken back."""
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger, ledger.read() as connection:
        rows = connection.execute(findings.select()).mappings().all()
    return {(row["account"], row["key"]) for row in rows if row["resolved_at"] is None and row["absent_since"] is None}


def fail(*arguments: Any) -> None:
    from telnyx_porting.notifications.failure import PortingAlertNotifier

    PortingAlertNotifier().notify(context(*arguments))


def succeed(*arguments: Any) -> None:
    from telnyx_porting.notifications.failure import PortingAlertNotifier

    PortingAlertNotifier(over=True).notify(context(*arguments))


def test_failed_task_is_told_once_and_taken_back_when_it_works(home: RunningSandbox) -> None:
    from telnyx_porting.notifications.failure import PortingAlertNotifier
    from telnyx_porting.operators.porting import TelnyxReconcilePortingFindingsOperator, TelnyxSendPortingAlertsOperator

    assert tuple(PortingAlertNotifier.template_fields) == ()
    for _ in range(2):
        fail()
    (letter,) = home.inbox()
    assert letter["body"]["findings"][0]["key"] == "health:dag:porting_scan.scan"
    assert "task scan of DAG porting_scan failed (run manual__1)" in letter["body"]["text"]
    succeed()
    for operator in (TelnyxReconcilePortingFindingsOperator, TelnyxSendPortingAlertsOperator):
        operator(task_id="task", telnyx_conn_id=ACCOUNT).execute(context())
    assert [letter["body"]["action"] for letter in home.inbox()] == ["firing", "resolved"]


def test_invalid_setting_is_told_once_for_all_tasks_and_taken_back(
    home: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telnyx_porting.operators.porting import TelnyxReconcilePortingFindingsOperator, TelnyxSendPortingAlertsOperator

    monkeypatch.setenv("TELNYX_PORTING_GRACE", "soon")
    for task_id in ("scan", "evidence", "find"):
        fail(ACCOUNT, -1, task_id)
    (letter,) = home.inbox()
    assert [entry["key"] for entry in letter["body"]["findings"]] == ["health:settings"]
    assert "TELNYX_PORTING_GRACE = 'soon'" in letter["body"]["text"]
    monkeypatch.delenv("TELNYX_PORTING_GRACE")
    for task_id in ("scan", "evidence", "find"):
        succeed(ACCOUNT, -1, task_id)
    for operator in (TelnyxReconcilePortingFindingsOperator, TelnyxSendPortingAlertsOperator):
        operator(task_id="task", telnyx_conn_id=ACCOUNT).execute(context())
    told = [(letter["body"]["action"], letter["body"]["findings"][0]["key"]) for letter in home.inbox()]
    assert told == [("firing", "health:settings"), ("resolved", "health:settings")]


def test_notifier_never_raises(home: RunningSandbox, connect: Callable[..., str]) -> None:
    from telnyx_porting.notifications.failure import PortingAlertNotifier

    connect("telnyx_porting_ledger", conn_type="sqlite", host="/no/such/folder/ledger.db")
    fail()
    PortingAlertNotifier().notify({})  # type: ignore[typeddict-item]


def test_success_with_nothing_to_take_back_waits_for_nobody(home: RunningSandbox, tmp_path: Path) -> None:
    """It runs after every task: somebody who writes a long time must not hold it up."""
    fail(None, 1)  # something else is open
    before = open_findings(tmp_path)
    writer = sqlite3.connect(tmp_path / "ledger.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    begin = time.monotonic()
    try:
        succeed()
    finally:
        writer.close()
    assert time.monotonic() - begin < LOCK_WAIT / 2
    assert open_findings(tmp_path) == before


def test_one_of_several_that_works_does_not_take_back_anothers_failure(home: RunningSandbox, tmp_path: Path) -> None:
    """A mapped task without an account of its own: all its instances tell the first account."""
    fail(None, 1)
    succeed(None, 0)
    assert open_findings(tmp_path) == {(ACCOUNT, "health:dag:porting_scan.scan[1]")}
    succeed(None, 1)
    assert open_findings(tmp_path) == set()


@pytest.mark.airflow
@pytest.mark.xdist_group("outcomes")
def test_run_of_a_dag_that_fails_is_told_and_one_that_works_takes_it_back(
    home: RunningSandbox, airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No DAG of the watch says so itself: its defaults do."""
    scan = known("porting_scan")
    told = (ACCOUNT, "health:dag:porting_scan.scan")
    monkeypatch.setenv("TELNYX_PORTING_SETTLE", "soon")
    assert scan.test().state == "failed"
    assert told in open_findings(tmp_path)
    assert "TELNYX_PORTING_SETTLE" in json.dumps(home.inbox()), "the cause is told, not each task that it fails"
    monkeypatch.delenv("TELNYX_PORTING_SETTLE")
    assert scan.test().state == "success"
    assert told not in open_findings(tmp_path)
