"""Read older history of one account into the ledger, on request."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.operators.porting import TelnyxBackfillPortingEventsOperator, watch_task_defaults

configured = load_settings()

with DAG(
    dag_id="porting_backfill",
    dag_display_name="Port-in: read older history",
    schedule=None,
    max_active_runs=1,
    tags=["telnyx", "porting"],
    default_args=watch_task_defaults(execution_timeout=timedelta(hours=12)),
    params={
        "account": Param(configured.accounts[0], enum=list(configured.accounts), title="Account"),
        "from": Param(None, type=["null", "string"], format="date-time", title="From", description="Earliest event."),
        "to": Param(None, type=["null", "string"], format="date-time", title="To", description="Latest event."),
    },
    doc_md="""
### Read older port-in events into the ledger
**Seen in** *Port-in > Orders*, and how far it is in its log.
Only reads from Telnyx: nothing old is alerted or republished. The time is read in proved parts; a run that stops, for
whatever reason, is started again with the same form and goes on where it stopped. The log says how far it is and how
long it will take. Times in UTC, such as 2024-01-01T00:00:00Z.
""",
) as dag:
    TelnyxBackfillPortingEventsOperator(
        task_id="backfill", telnyx_conn_id=dag.param("account"), since=dag.param("from"), until=dag.param("to")
    )
