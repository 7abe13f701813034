"""Every night: look whether everything is in place, prove the ledger complete, let go of what is over."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.operators.porting import (
    TelnyxAuditPortingLedgerOperator,
    TelnyxFailRunOperator,
    TelnyxMaintainPortingLedgerOperator,
    TelnyxPreflightPortingOperator,
    watch_task_defaults,
)

configured = load_settings()

with DAG(
    dag_id="porting_maintenance",
    dag_display_name="Port-in: prove complete and tidy up",
    schedule="17 3 * * *",
    catchup=False,
    max_active_runs=1,
    tags=["telnyx", "porting"],
    default_args=watch_task_defaults(execution_timeout=timedelta(hours=6)),
    params={
        "from": Param(None, type=["null", "string"], format="date-time", title="Audit from", section="Only a part"),
        "to": Param(None, type=["null", "string"], format="date-time", title="Audit to", section="Only a part"),
        "by_ids": Param(
            False, type="boolean", title="Compare every id", section="Only a part", description="Instead of counting."
        ),
    },
    doc_md="""
### Prove the ledger complete, and keep it small
**Seen in** *Port-in > Health*.
All of history is proved by count (two requests when nothing is missing), and a rotating part of it id by id; what turns
out to be missing is read. Payloads and texts of what is over go after `retention_days`; facts stay.

Preflight looks at what the watch needs (key, endpoints, subscriptions, receiver, clock, connections), line by line in
its log; what is to do becomes a finding.
""",
) as dag:
    TelnyxPreflightPortingOperator.partial(task_id="preflight", map_index_template="{{ task.telnyx_conn_id }}").expand(
        telnyx_conn_id=list(configured.accounts)
    )
    audit = TelnyxAuditPortingLedgerOperator.partial(
        task_id="audit",
        since=dag.param("from"),
        until=dag.param("to"),
        by_ids=dag.param("by_ids"),
        map_index_template="{{ task.telnyx_conn_id }}",
    ).expand(telnyx_conn_id=list(configured.accounts))
    maintain = TelnyxMaintainPortingLedgerOperator.partial(
        task_id="maintain", trigger_rule="all_done", map_index_template="{{ task.telnyx_conn_id }}"
    ).expand(telnyx_conn_id=list(configured.accounts))
    audit >> maintain
    [audit, maintain] >> TelnyxFailRunOperator(task_id="any_failed")
