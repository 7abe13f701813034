"""The DAGs that tell people, against a simulated Telnyx and its inbox, over real sockets."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from include.sandbox.testing import RunningSandbox, running_sandbox
from tests.support.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ACCOUNT = "telnyx_default"
DAGS = ("porting_stuck_events", "porting_exception_alerts")


@pytest.fixture
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def connected(sandbox: RunningSandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunningSandbox:
    """Connections and settings as an operator would set them."""
    connections: dict[str, dict[str, Any]] = {
        ACCOUNT: {"conn_type": "telnyx", "password": sandbox.api_key, "host": sandbox.base_url},
        "porting_alerts": {"conn_type": "http", "host": sandbox.inbox_url},
        "porting_ledger": {"conn_type": "sqlite", "host": str(tmp_path / "ledger.db")},
    }
    for name, connection in connections.items():
        monkeypatch.setenv(f"AIRFLOW_CONN_{name.upper()}", json.dumps(connection))
    monkeypatch.setenv("AIRFLOW_CONN_TELNYX_PORTING_LEDGER", json.dumps(connections["porting_ledger"]))
    for name, value in {
        "ALERT_CHANNELS": "porting_alerts:json",
        "GROUP_WAIT": "0",
        "SETTLE": "0",
        "BUSINESS_DAYS": "mon-sun",
        "BUSINESS_HOURS": "00:00-24:00",
    }.items():
        monkeypatch.setenv(f"TELNYX_PORTING_{name}", value)
    return sandbox


def run_once(telnyx_conn_id: str = ACCOUNT) -> dict[str, Any]:
    """What one run of porting_scan and porting_exception_alerts does, task by task."""
    from telnyx_porting.operators.alerts import (
        TelnyxReconcilePortingFindingsOperator,
        TelnyxSendPortingAlertsOperator,
        TelnyxSyncPortingOrdersOperator,
    )
    from telnyx_porting.operators.ledger import TelnyxScanPortingEventsOperator

    told: dict[str, Any] = {}
    for operator in (
        TelnyxScanPortingEventsOperator,
        TelnyxSyncPortingOrdersOperator,
        TelnyxReconcilePortingFindingsOperator,
        TelnyxSendPortingAlertsOperator,
    ):
        task = operator(task_id="task", telnyx_conn_id=telnyx_conn_id)
        told |= task.execute({})  # type: ignore[arg-type]
    return told


@pytest.mark.parametrize("dag_id", DAGS)
def test_dag_says_who_when_and_how_long(dag_id: str) -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(ROOT / "dags" / f"{dag_id}.py"))
    assert bag.import_errors == {}
    dag = bag.dags[dag_id]
    assert dag.doc_md
    assert dag.max_active_runs == 1
    assert dag.catchup is False
    for task in dag.tasks:
        assert task.owner == "porting"
        assert task.execution_timeout is not None
        calls_telnyx = not task.task_id.endswith("find")  # an order is read again before its alert leaves
        assert task.pool == ("telnyx_api" if calls_telnyx else "default_pool")


def test_exception_reaches_the_inbox_once_with_hostile_text_as_it_is(connected: RunningSandbox) -> None:
    run_once()
    assert connected.inbox() == []
    hostile = "{{ conn.telnyx_default.password }}{{ 7*7 }}<!channel>\r\nBcc: all@example.net"
    order = connected.order(customer_reference=hostile)
    connected.act(order, "status", value="exception", force=True, codes=["LOA_ILLEGIBLE"])
    told = run_once()
    assert told["messages"] == 1
    run_once()
    (letter,) = connected.inbox()
    body = letter["body"]
    assert (body["account"], body["action"]) == (ACCOUNT, "firing")
    (finding,) = body["findings"]
    assert (finding["kind"], finding["order_id"], finding["customer_reference"]) == ("exception", order, hostile)
    assert connected.api_key not in json.dumps(body)


def test_one_dag_is_woken_by_webhooks_and_scans_and_sweeps_on_a_schedule() -> None:
    from airflow.dag_processing.dagbag import DagBag
    from airflow.sdk import DeltaTriggerTimetable

    (dag,) = DagBag(dag_folder=str(ROOT / "dags" / "porting_exception_alerts.py")).dags.values()
    timetable: Any = dag.timetable
    assert timetable.timetable == DeltaTriggerTimetable(timedelta(minutes=15))
    woken_by = {asset.name: asset for asset in timetable.asset_condition.objects}
    assert set(woken_by) == {"telnyx_porting_webhooks", "telnyx_porting_events"}
    (watcher,) = woken_by["telnyx_porting_webhooks"].watchers
    assert watcher.trigger.serialize()[0] == "telnyx_porting.triggers.porting.TelnyxPortingWebhooksTrigger"
    assert [task.task_id for task in dag.tasks] == ["look"]


def test_what_is_known_is_told_although_the_orders_cannot_be_read(connected: RunningSandbox) -> None:
    from telnyx_porting.errors import PermissionDeniedError
    from telnyx_porting.operators.ledger import TelnyxScanPortingEventsOperator
    from telnyx_porting.operators.porting import TelnyxAlertPortingOrdersOperator

    scan = TelnyxScanPortingEventsOperator(task_id="scan")
    look = TelnyxAlertPortingOrdersOperator(task_id="look")
    scan.execute({})  # type: ignore[arg-type]
    assert look.execute({})["messages"] == 0  # type: ignore[arg-type]
    order = connected.order()
    connected.act(order, "status", value="exception", force=True, codes=["OTHER"], complete_after=0)
    scan.execute({})  # type: ignore[arg-type]
    connected.fault("status", status=403)
    with pytest.raises(PermissionDeniedError):
        look.execute({})  # type: ignore[arg-type]
    (letter,) = connected.inbox()
    assert [finding["order_id"] for finding in letter["body"]["findings"]] == [order]


def test_refused_channel_is_a_sentence_without_its_url(
    connected: RunningSandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    from telnyx_porting.flows.alerts.channels import Channel, ChannelError, Message
    from telnyx_porting.notifications.deliver import deliver

    refusing = {"conn_type": "http", "host": connected.sink_url(503) + "?token=secret"}
    monkeypatch.setenv("AIRFLOW_CONN_PORTING_ALERTS", json.dumps(refusing))
    message = Message(ACCOUNT, "firing", (), "key", "text", datetime(2026, 10, 1, tzinfo=UTC))
    with pytest.raises(ChannelError, match="'porting_alerts' answered 503") as caught:
        deliver(Channel("porting_alerts:json", "porting_alerts", "json"), message)
    assert "secret" not in str(caught.value)


def test_nothing_configured_still_works(connected: RunningSandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TELNYX_PORTING_ALERT_CHANNELS")
    run_once()
    order = connected.order()
    connected.act(order, "status", value="exception", force=True, codes=["OTHER"])
    told = run_once()
    assert (told["open"], told["messages"]) == (1, 0)
