"""Read the Port In Events API into the ledger, for every account."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG

from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.operators.porting import SCANNED, TelnyxScanPortingEventsOperator, watch_task_defaults

configured = load_settings()

with DAG(
    dag_id="porting_scan",
    dag_display_name="Port-in: read events",
    schedule=configured.scan_every,
    catchup=False,
    max_active_runs=1,
    tags=["telnyx", "porting"],
    default_args=watch_task_defaults(execution_timeout=timedelta(minutes=30)),
    doc_md="""
### Read port-in events into the ledger
**Seen in** *Port-in > Health*: how far it is complete, and what is open and why.
Reads the window since the last sealed one (plus an overlap) and seals it once it is **proved complete**: the counts
before the first and after the last page are equal, and equal the distinct ids. A window that could not be proved stays
open with its reason. When rows changed, the asset `telnyx_porting_events` wakes the other DAGs.
""",
) as dag:
    TelnyxScanPortingEventsOperator.partial(
        task_id="scan", outlets=[SCANNED], map_index_template="{{ task.telnyx_conn_id }}"
    ).expand(telnyx_conn_id=list(configured.accounts))
