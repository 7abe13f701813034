"""Find missed notifications and hand a plan over. This DAG only looks; it never sends."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG, task_group

from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.operators.porting import (
    TelnyxFailRunOperator,
    TelnyxPlanPortingRepublishOperator,
    TelnyxReadPortingDeliveriesOperator,
    TelnyxReadPortingTableOperator,
    TelnyxSettlePortingDeliveriesOperator,
    watch_task_defaults,
)

configured = load_settings()
PLAN = "ti.xcom_pull(task_ids='look.plan', map_indexes=ti.map_index)"

with DAG(
    dag_id="porting_missed_notifications",
    dag_display_name="Port-in: find missed notifications",
    schedule=configured.look_every,
    catchup=False,
    max_active_runs=1,
    tags=["telnyx", "porting"],
    default_args=watch_task_defaults(execution_timeout=timedelta(minutes=15)),
    doc_md="""
### Did every notification arrive?
**Seen in** *Port-in > Missed*; the plan it makes in *Port-in > Plans*.
Reads the evidence (Telnyx's delivery records, and a table of yours if one is set; the receiver writes its own),
decides event by event, and makes a plan of what was missed, unless nothing could be sent now anyway. The plan is
executed by `porting_republish` (run id `plan__<plan id>`), where a person approves it unless mode and caps allow it
to go by itself.
""",
) as dag:

    @task_group
    def look(telnyx_conn_id: str) -> None:
        """Look at one account."""
        evidence = TelnyxReadPortingDeliveriesOperator(task_id="evidence", telnyx_conn_id=telnyx_conn_id)
        table = TelnyxReadPortingTableOperator(task_id="table", telnyx_conn_id=telnyx_conn_id)
        decide = TelnyxSettlePortingDeliveriesOperator(
            task_id="decide", telnyx_conn_id=telnyx_conn_id, trigger_rule="all_done"
        )
        plan = TelnyxPlanPortingRepublishOperator(task_id="plan", telnyx_conn_id=telnyx_conn_id)
        hand_over = TriggerDagRunOperator(
            task_id="hand_over",
            trigger_dag_id="porting_republish",
            trigger_run_id=f"plan__{{{{ {PLAN}['plan_id'] }}}}",
            conf={"account": f"{{{{ {PLAN}['account'] }}}}", "plan_id": f"{{{{ {PLAN}['plan_id'] }}}}"},
            skip_when_already_exists=True,
        )
        [evidence, table] >> decide >> plan >> hand_over
        [evidence, table, decide, plan, hand_over] >> TelnyxFailRunOperator(task_id="any_failed")

    look.expand(telnyx_conn_id=list(configured.accounts))
