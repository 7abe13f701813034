"""Every night: yesterday's port-in events as JSON Lines, to a folder or a bucket."""

from __future__ import annotations

import os

import pendulum
from airflow.sdk import DAG

from telnyx_porting.operators.porting import TelnyxListPortingEventsOperator, telnyx_task_defaults

TODAY = "{{ dag_run.run_after.strftime('%Y-%m-%d') }}"
YESTERDAY = "{{ (dag_run.run_after - macros.timedelta(days=1)).strftime('%Y-%m-%d') }}"

with DAG(
    dag_id="telnyx_events_to_storage",
    schedule="15 0 * * *",
    start_date=pendulum.datetime(2026, 1, 1, tz="UTC"),
    tags=["telnyx", "example"],
    default_args=telnyx_task_defaults(owner="porting"),
):
    # The file appears only when the list is proved complete, and a repeated run writes the same file again.
    TelnyxListPortingEventsOperator(
        task_id="list_events",
        created_at_gte=f"{YESTERDAY}T00:00:00Z",
        created_at_lte=f"{TODAY}T00:00:00Z",
        output_path=os.environ.get("EVENTS_FOLDER", "file:///tmp/telnyx") + f"/{YESTERDAY}.jsonl",
    )
