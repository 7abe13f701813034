"""On demand: wait until an order has its date, then let Telnyx send the order's notifications again."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from telnyx_porting.operators.porting import (
    TelnyxListPortingEventsOperator,
    TelnyxRepublishPortingEventsOperator,
    refuse_unknown_keys,
    telnyx_task_defaults,
)
from telnyx_porting.sensors.porting import TelnyxPortingOrderStatusSensor

with DAG(
    dag_id="telnyx_resend_order",
    schedule=None,
    tags=["telnyx", "example"],
    params={"order": Param(type="string", format="uuid", title="Porting order")},
    default_args=telnyx_task_defaults(owner="porting", pre_execute=refuse_unknown_keys),
):
    # Waits without a worker; fails at once when the order is cancelled, ported or deleted.
    dated = TelnyxPortingOrderStatusSensor(
        task_id="wait_for_date",
        porting_order_id="{{ params.order }}",
        statuses=["foc-date-confirmed"],
        timeout=timedelta(days=30),
        execution_timeout=None,
        deferrable=True,
    )
    events = TelnyxListPortingEventsOperator(
        task_id="list_events", porting_order_id="{{ params.order }}", event_type="porting_order.status_changed"
    )
    # One outcome per event; a retry never sends one twice, and says `unknown` where it cannot know.
    resend = TelnyxRepublishPortingEventsOperator(task_id="resend", event_ids=events.output)
    dated >> events >> resend
