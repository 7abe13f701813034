"""Execute exactly one republish plan of one account: approve, send in waves, look whether it arrived, report."""

from __future__ import annotations

from datetime import timedelta

from airflow.providers.standard.operators.python import BranchPythonOperator
from airflow.sdk import DAG

from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.operators.porting import (
    TelnyxApprovePortingPlanOperator,
    TelnyxClosePortingPlanOperator,
    TelnyxExecutePortingPlanOperator,
    TelnyxFailRunOperator,
    TelnyxPlanPortingRepublishOperator,
    TelnyxPreviewPortingRepublishOperator,
    TelnyxReportPortingPlanOperator,
    asked_by_form,
    republish_form,
    watch_task_defaults,
)

configured = load_settings()
PLAN_ID = "{{ (ti.xcom_pull(task_ids='plan') or {}).get('plan_id', '') }}"
NO_PLAN = (
    "{{ ti.xcom_pull(task_ids=['plan', 'preview', 'close'], key='outcome') | select | first | default(none) | tojson }}"
)

with DAG(
    dag_id="porting_republish",
    dag_display_name="Port-in: republish notifications",
    schedule=None,
    max_active_runs=16,
    tags=["telnyx", "porting"],
    default_args=watch_task_defaults(),
    params=republish_form(configured),
    doc_md="""
### Republish port-in notifications, and look whether they arrive
**Seen in** *Port-in > Plans*, report included.
Leave everything empty to send what the watch found missed. Try a dry run first: it says in words what would go where.
What came of a run is the XCom of its task `report`: `outcome`, and `text` in words.

Nothing leaves before the plan is approved: by a person, or by policy when `republish_mode` and its caps allow. Events
go out in waves of 1, 10 and the rest; a wave in which nothing arrived stops the plan. *Accepted* is never called
*arrived*.
""",
) as dag:
    choose = BranchPythonOperator(task_id="choose", python_callable=asked_by_form, pool="default_pool")
    account = {"telnyx_conn_id": dag.param("account")}
    form = account | {name: dag.param(name) for name in dag.params if name not in ("account", "dry_run", "close")}
    plan = TelnyxPlanPortingRepublishOperator(task_id="plan", **form)
    preview = TelnyxPreviewPortingRepublishOperator(task_id="preview", **form)
    close = TelnyxClosePortingPlanOperator(task_id="close", plan_id=dag.param("plan_id"), **account)
    one_plan = account | {"plan_id": PLAN_ID}
    approve = TelnyxApprovePortingPlanOperator(task_id="approve", execution_timeout=None, **one_plan)
    execute = TelnyxExecutePortingPlanOperator(task_id="execute", execution_timeout=timedelta(hours=6), **one_plan)
    report = TelnyxReportPortingPlanOperator(task_id="report", trigger_rule="all_done", otherwise=NO_PLAN, **one_plan)
    choose >> plan >> approve >> execute >> report
    choose >> [preview, close] >> report
    [choose, plan, preview, close, approve, execute, report] >> TelnyxFailRunOperator(task_id="any_failed")
