"""Find events whose payload should exist by now, and tell people."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task_group

from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.operators.porting import (
    POOL,
    TelnyxReconcilePortingFindingsOperator,
    TelnyxSendPortingAlertsOperator,
    watch_task_defaults,
)

configured = load_settings()

with DAG(
    dag_id="porting_stuck_events",
    dag_display_name="Port-in: find stuck events",
    schedule=configured.look_every,
    catchup=False,
    max_active_runs=1,
    tags=["telnyx", "porting"],
    default_args=watch_task_defaults(execution_timeout=timedelta(minutes=15), pool="default_pool"),
    doc_md="""
### Which events are stuck?
**Seen in** *Port-in*, first page, and in your alert channels.
An event that can be told by webhook and still has no payload after `TELNYX_PORTING_STUCK_AFTER` (30 min) is **stuck**:
nobody was notified, and republishing it does nothing. It is severe after 4 hours, and resolves by itself when the
payload appears. Types that are e-mail only never have a payload and are no news. Reads the ledger that `porting_scan`
fills.

Nothing to do here. When an alert names an event for hours, ask Telnyx support about it.
""",
) as dag:

    @task_group
    def look(telnyx_conn_id: str) -> None:
        """Look at one account."""
        find = TelnyxReconcilePortingFindingsOperator(task_id="find", telnyx_conn_id=telnyx_conn_id)
        tell = TelnyxSendPortingAlertsOperator(task_id="tell", telnyx_conn_id=telnyx_conn_id, pool=POOL)
        find >> tell

    look.expand(telnyx_conn_id=list(configured.accounts))
