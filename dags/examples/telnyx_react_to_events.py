"""Within a minute: run for what is new at Telnyx, without a webhook receiver."""

from __future__ import annotations

from typing import Any

from airflow.sdk import DAG, Asset, AssetWatcher, task

from telnyx_porting.operators.porting import TelnyxGetPortingEventOperator, telnyx_task_defaults
from telnyx_porting.triggers.porting import TelnyxPortingEventsTrigger

trigger = TelnyxPortingEventsTrigger(asset_name="telnyx_events_seen", poll_interval=60)
events = Asset("telnyx_events_seen", watchers=[AssetWatcher(name="telnyx", trigger=trigger)])

with DAG(
    dag_id="telnyx_react_to_events",
    schedule=[events],
    tags=["telnyx", "example"],
    default_args=telnyx_task_defaults(owner="porting"),
):

    @task
    def new_event_ids(triggering_asset_events: Any = None) -> list[str]:
        """One run may stand for several polls, and an event may be told twice: take all, each once."""
        told = (event.extra["payload"]["event_ids"] for event in triggering_asset_events[events])
        return sorted({event_id for ids in told for event_id in ids})

    @task
    def react(event: dict[str, Any]) -> None:
        """Put your own work here."""
        print(event["event_type"], "of order", event["porting_order_id"])

    react.expand(event=TelnyxGetPortingEventOperator.partial(task_id="get").expand(event_id=new_event_ids()).output)
