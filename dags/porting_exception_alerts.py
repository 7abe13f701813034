"""Find orders in exception, read the orders first, and tell people."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task_group

from telnyx_porting import settings
from telnyx_porting.operators.alerts import (
    TelnyxReconcilePortingFindingsOperator,
    TelnyxSendPortingAlertsOperator,
    TelnyxSyncPortingOrdersOperator,
)
from telnyx_porting.operators.retries import POOL, watch_task_defaults

knobs = settings.load()

with DAG(
    dag_id="porting_exception_alerts",
    schedule=knobs.look_every,
    catchup=False,
    max_active_runs=1,
    tags=["telnyx", "porting"],
    default_args=watch_task_defaults(execution_timeout=timedelta(minutes=15), pool="default_pool"),
    doc_md="""
### Which orders need somebody?
Takes the events into the orders, reads the orders that are due from the API (an exception may hide in an event that is
stuck), and tells what is new, changed or over. Each exception is told once per turn; a new rejection is a new turn.
Channels: `TELNYX_PORTING_ALERT_CHANNELS`. None configured: findings are kept, nobody is told, the log says so.
""",
) as dag:

    @task_group
    def look(telnyx_conn_id: str) -> None:
        """Look at one account."""
        orders = TelnyxSyncPortingOrdersOperator(task_id="orders", telnyx_conn_id=telnyx_conn_id, pool=POOL)
        find = TelnyxReconcilePortingFindingsOperator(
            task_id="find", telnyx_conn_id=telnyx_conn_id, trigger_rule="all_done"
        )
        tell = TelnyxSendPortingAlertsOperator(task_id="tell", telnyx_conn_id=telnyx_conn_id, pool=POOL)
        orders >> find >> tell

    look.expand(telnyx_conn_id=list(knobs.accounts))
