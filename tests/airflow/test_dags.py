"""Every DAG, as Airflow's processor sees it: with nothing configured, and with everything configured wrongly."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from telnyx_porting.settings import Settings
from tests.support.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
SCHEDULED = {"porting_scan", "porting_stuck_events", "porting_exception_alerts", "porting_missed_notifications"}
NEVER_CALL_TELNYX = {  # what they do is in the ledger, or in Airflow
    "BranchPythonOperator",
    "TelnyxApprovePortingPlanOperator",
    "TelnyxFailRunOperator",
    "TelnyxMaintainPortingLedgerOperator",
    "TelnyxReadPortingTableOperator",
    "TelnyxReconcilePortingFindingsOperator",
    "TelnyxReportPortingPlanOperator",
    "TelnyxSettlePortingDeliveriesOperator",
    "TriggerDagRunOperator",
}
LOOK = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from telnyx_porting.notifications.failure import PortingAlertNotifier
from telnyx_porting.compat import retried_by
from telnyx_porting.operators.retries import TelnyxRetryPolicy
bag = DagBag(dag_folder=sys.argv[1])
def listens(callbacks, over):
    return any(isinstance(each, PortingAlertNotifier) and each.over is over for each in callbacks)
facts = {dag.dag_id: {"title": dag.dag_display_name, "doc": dag.doc_md, "tags": sorted(dag.tags),
         "catchup": dag.catchup,
         "max_active_runs": dag.max_active_runs, "scheduled": dag.timetable.can_be_scheduled,
         "owners": sorted({task.owner for task in dag.tasks}),
         "endless": sorted(t.task_id for t in dag.tasks if t.execution_timeout is None),
         "tasks": {task.task_id: {"operator": task.operator_name, "pool": task.pool,
             "policy": retried_by(None) == {} or isinstance(task.retry_policy, TelnyxRetryPolicy),
             "told": listens(task.on_failure_callback, False), "taken_back": listens(task.on_success_callback, True)}
             for task in dag.tasks}}
         for dag in bag.dags.values()}
print("FACTS" + json.dumps({"errors": bag.import_errors, "dags": facts}))
"""


def look(environ: dict[str, str]) -> dict[str, object]:
    """Parse all DAGs in a fresh process and return what came out."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("TELNYX_PORTING_")}
    command = [sys.executable, "-c", LOOK, str(ROOT / "dags")]
    run = subprocess.run(command, env=env | environ, capture_output=True, text=True, timeout=120, check=False)
    line = next((line for line in run.stdout.splitlines() if line.startswith("FACTS")), None)
    assert line is not None, run.stderr[-2000:]
    return json.loads(line.removeprefix("FACTS"))


IMPORT = """
import runpy, sys
for path in sys.argv[1:]:
    runpy.run_path(path)
print([name for name in ("aiohttp", "requests", "fastapi", "airflow.providers.http.hooks.http") if name in sys.modules])
"""


@pytest.fixture(scope="module")
def plain() -> dict[str, object]:
    """What the DAGs look like on a machine without any connection or setting."""
    return look({})


def test_dags_parse_without_any_connection_or_setting(plain: dict[str, object]) -> None:
    assert plain["errors"] == {}
    assert set(plain["dags"]) == {path.stem for path in DAG_FILES}


def test_a_dag_says_what_it_does_and_who_looks_after_it(plain: dict[str, object]) -> None:
    for dag_id, facts in plain["dags"].items():
        assert facts["title"].startswith("Port-in: "), dag_id
        assert facts["doc"].strip().splitlines()[1].startswith("**Seen in** *Port-in"), f"{dag_id}: where to look"
        assert facts["tags"] == ["porting", "telnyx"], dag_id
        assert facts["owners"] == ["porting"], dag_id
        assert facts["catchup"] is False, dag_id
        assert set(facts["endless"]) <= {"approve"}, f"{dag_id}: {facts['endless']} may run for ever"
    for dag_id in SCHEDULED:
        assert plain["dags"][dag_id]["scheduled"], dag_id
        assert plain["dags"][dag_id]["max_active_runs"] == 1, dag_id


def test_every_task_that_fails_for_good_becomes_a_finding_until_it_works(plain: dict[str, object]) -> None:
    tasks = {(dag_id, name): task for dag_id, dag in plain["dags"].items() for name, task in dag["tasks"].items()}
    assert len(tasks) > 15
    repeats = {name: task for name, task in tasks.items() if task["operator"] == "TelnyxFailRunOperator"}
    assert {task["told"] or task["taken_back"] for task in repeats.values()} == {False}, "one failure is told once"
    causes = {name: task for name, task in tasks.items() if name not in repeats}
    assert [name for name, task in causes.items() if not (task["told"] and task["taken_back"])] == []


def test_every_task_that_calls_telnyx_shares_its_pool_and_knows_when_to_try_again(plain: dict[str, object]) -> None:
    tasks = {(dag_id, name): task for dag_id, dag in plain["dags"].items() for name, task in dag["tasks"].items()}
    calling = {name: task for name, task in tasks.items() if task["operator"] not in NEVER_CALL_TELNYX}
    assert len(calling) > 8
    assert [name for name, task in calling.items() if task["pool"] != "telnyx_api" or not task["policy"]] == []


def test_preflight_looks_at_every_account_each_night(plain: dict[str, object]) -> None:
    nightly = plain["dags"]["porting_maintenance"]
    assert nightly["scheduled"]
    assert nightly["tasks"]["preflight"]["operator"] == "TelnyxPreflightPortingOperator"


def test_invalid_settings_never_stop_a_dag_from_parsing(plain: dict[str, object]) -> None:
    """Each setting wrong at once: the same DAGs, with their defaults; the first task tells (see test_bad_input)."""
    wrong = {f"TELNYX_PORTING_{name.upper()}": "]wrong[" for name in Settings.model_fields if name != "accounts"}
    assert look(wrong | {"TELNYX_PORTING_ACCOUNT_SETTINGS": "{"}) == plain


def test_parsing_dags_loads_no_http_client_of_the_channels() -> None:
    """The DAG processor parses again and again, each time in a fresh process; every task parses its file, too."""
    command = [sys.executable, "-c", IMPORT, *map(str, DAG_FILES)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("path", DAG_FILES, ids=lambda path: path.stem)
def test_a_dag_file_is_wiring_only(path: Path) -> None:
    text = path.read_text()
    assert len(text.splitlines()) <= 90, f"{path.name}: move logic into an operator or flow"
    assert "def execute" not in text
