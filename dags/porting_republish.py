"""Execute exactly one republish plan of one account: approve, send in waves, look whether it arrived, report."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, Param

from telnyx_porting import settings
from telnyx_porting.flows.plan import CONSENTS
from telnyx_porting.models import EVENT_TYPES
from telnyx_porting.operators.porting import (
    TelnyxApprovePortingPlanOperator,
    TelnyxExecutePortingPlanOperator,
    TelnyxPlanPortingRepublishOperator,
    TelnyxReportPortingPlanOperator,
)
from telnyx_porting.operators.retries import telnyx_task_defaults

knobs = settings.load()
UUID = "^[0-9a-fA-F]{8}-([0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$"
PLAN_ID = "{{ (ti.xcom_pull(task_ids='plan') or {}).get('plan_id', '') }}"

with DAG(
    dag_id="porting_republish",
    schedule=None,
    max_active_runs=16,
    tags=["telnyx", "porting"],
    default_args=telnyx_task_defaults(owner="porting"),
    params={
        "account": Param(knobs.accounts[0], enum=list(knobs.accounts), title="Account", section="Which account"),
        "event_ids": Param(
            [],
            type="array",
            items={"type": "string", "pattern": UUID},
            title="Event ids",
            section="What",
            description="One id a line.",
        ),
        "porting_order_id": Param(
            None, type=["null", "string"], pattern=UUID, title="Or: all events of this order", section="What"
        ),
        "event_type": Param(
            None,
            type=["null", "string"],
            enum=[None, *sorted(EVENT_TYPES)],
            title="Or: all events of this type",
            section="What",
        ),
        "created_from": Param(
            None, type=["null", "string"], format="date-time", title="... created from", section="What"
        ),
        "created_to": Param(None, type=["null", "string"], format="date-time", title="... created to", section="What"),
        "consents": Param(
            [],
            type="array",
            items={"type": "string", "enum": list(CONSENTS)},
            examples=list(CONSENTS),
            title="Also send events that are",
            section="Care",
            description="Kinds the watch never sends by itself. Republishing also mails every subscribed address.",
        ),
        "dry_run": Param(
            False, type="boolean", title="Dry run", section="Care", description="Say what would be sent; send nothing."
        ),
        "reason": Param("asked for by a person", type="string", maxLength=200, title="Reason", section="Care"),
        "plan_id": Param(None, type=["null", "string"], pattern=UUID, title="Continue this plan", section="Resume"),
    },
    doc_md="""
### Republish port-in notifications, and look whether they arrive
Leave everything empty to send what the watch found missed. Nothing leaves before the plan is approved: by a person, or by
policy when `republish_mode` and its caps allow. Events go out in waves of 1, 10 and the rest; a wave in which nothing
arrived stops the plan. *Accepted* is never called *arrived*.
""",
) as dag:
    plan = TelnyxPlanPortingRepublishOperator(
        task_id="plan",
        telnyx_conn_id=dag.param("account"),
        plan_id=dag.param("plan_id"),
        event_ids=dag.param("event_ids"),
        porting_order_id=dag.param("porting_order_id"),
        event_type=dag.param("event_type"),
        created_from=dag.param("created_from"),
        created_to=dag.param("created_to"),
        consents=dag.param("consents"),
        reason=dag.param("reason"),
        preview=dag.param("dry_run"),
    )
    one_plan = {"telnyx_conn_id": dag.param("account"), "plan_id": PLAN_ID}
    approve = TelnyxApprovePortingPlanOperator(task_id="approve", execution_timeout=None, **one_plan)
    execute = TelnyxExecutePortingPlanOperator(task_id="execute", execution_timeout=timedelta(hours=6), **one_plan)
    report = TelnyxReportPortingPlanOperator(task_id="report", trigger_rule="all_done", **one_plan)
    plan >> approve >> execute >> report
