"""Find orders in exception, read the orders first, and tell people: on a schedule, and when there is news."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, AssetOrTimeSchedule, DeltaTriggerTimetable

from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.operators.porting import EVENTS, WEBHOOKS, TelnyxAlertPortingOrdersOperator, watch_task_defaults

configured = load_settings()

with DAG(
    dag_id="porting_exception_alerts",
    dag_display_name="Port-in: find and tell what needs somebody",
    schedule=AssetOrTimeSchedule(timetable=DeltaTriggerTimetable(configured.look_every), assets=WEBHOOKS | EVENTS),
    catchup=False,
    max_active_runs=1,
    tags=["telnyx", "porting"],
    default_args=watch_task_defaults(execution_timeout=timedelta(minutes=15)),
    doc_md="""
### Which orders need somebody?
**Seen in** *Port-in*, first page, and in your alert channels.
Takes the events into the orders, reads the orders that are due from the API (an exception may hide in an event that is
stuck), and tells what is new, changed or over. Each exception is told once per occurrence; a new rejection
is a new one.

Runs on its schedule, when a scan changed rows (asset `telnyx_porting_events`), and within seconds when the receiver has
verified a webhook about an exception, or a message is due (asset `telnyx_porting_webhooks`): the order itself is read,
and what the body of a webhook says counts for nothing.

Channels: `TELNYX_PORTING_ALERT_CHANNELS`. None configured: findings are kept, nobody is told, the log says so.
""",
) as dag:
    TelnyxAlertPortingOrdersOperator.partial(task_id="look", map_index_template="{{ task.telnyx_conn_id }}").expand(
        telnyx_conn_id=list(configured.accounts)
    )
