"""A real Airflow watches for new events, and goes on where it was after being killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from include.sandbox.testing import running_sandbox
from tests.support.places import ROOT
from tests.support.running import RunningAirflow, running_airflow

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]
RECIPE = "telnyx_react_to_events"


def told(airflow: RunningAirflow) -> set[str]:
    """The ids for which runs were started, as the first task of each returned them."""
    rows = airflow.api.get(f"/dags/{RECIPE}/dagRuns/~/taskInstances", task_id="new_event_ids", state="success")
    runs = [row["dag_run_id"] for row in rows["task_instances"]]
    path = f"/dags/{RECIPE}/dagRuns/{{}}/taskInstances/new_event_ids/xcomEntries/return_value"
    return {each for run in runs for each in airflow.api.get(path.format(run), deserialize=True)["value"]}


def test_watcher_survives_a_kill(tmp_path: Path) -> None:
    with running_sandbox() as sandbox, running_airflow(sandbox, tmp_path) as airflow:
        recipe = (ROOT / "dags" / "examples" / f"{RECIPE}.py").read_text()
        assert "poll_interval=60" in recipe
        (airflow.dags / f"{RECIPE}.py").write_text(recipe.replace("poll_interval=60", "poll_interval=1"))
        sandbox.order()
        airflow.start()
        airflow.api.make_pool("telnyx_api", 4)
        # The first poll is a count; the requests after it show that the first cursor is kept.
        airflow.processes.wait_for("the watcher", lambda: sandbox.requests()["total"] >= 3, 90)

        made = set(sandbox.burst(3))
        airflow.processes.wait_for("a run for the first events", lambda: made <= told(airflow), 120)
        airflow.processes.wait_for("its success", lambda: "success" in airflow.api.runs(RECIPE).values(), 90)

        airflow.kill()
        missed = set(sandbox.burst(3))
        airflow.start()
        airflow.processes.wait_for("a run for what came meanwhile", lambda: missed <= told(airflow), 120)
        assert airflow.api.import_errors() == []
