"""The recipes of dags/examples run as they stand, and the README prints them as they stand."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from tests.support.places import ROOT

if TYPE_CHECKING:
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox

EXAMPLES = sorted((ROOT / "dags" / "examples").glob("*.py"))
pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("examples")]


def load(name: str) -> Any:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(ROOT / "dags" / "examples" / f"{name}.py"))
    assert bag.import_errors == {}
    (dag,) = bag.dags.values()
    assert dag.dag_id == name
    assert {"telnyx", "example"} <= set(dag.tags)
    return dag


def run(name: str, **arguments: Any) -> Any:
    """Run a DAG to its end in this process, as ``airflow dags test`` does."""
    from airflow.dag_processing.dagbag import DagBag, sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    bag = DagBag(dag_folder=str(ROOT / "dags" / "examples" / f"{name}.py"), bundle_name="examples")
    with create_session() as session:
        session.merge(DagBundleModel(name="examples"))
    sync_bag_to_db(bag, "examples", None)
    finished = bag.dags[name].test(**arguments)
    assert finished.state == "success"
    return finished


def test_there_are_three() -> None:
    assert len(EXAMPLES) == 3


def test_a_deployment_does_not_load_them() -> None:
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(ROOT / "dags"))
    assert bag.import_errors == {}
    assert not {path.stem for path in EXAMPLES} & set(bag.dags)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_the_readme_prints_it_as_it_stands(path: Path) -> None:
    readme = (ROOT / "README.md").read_text()
    if path.name in readme:
        assert path.read_text() in readme


def test_events_to_storage(
    sandbox: RunningSandbox, conn_id: str, airflow_db: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("EVENTS_FOLDER", tmp_path.as_uri())
    sandbox.clock(now="2026-10-01T12:00:00Z", frozen=True)
    made = sandbox.act(sandbox.order(), "comment")
    run("telnyx_events_to_storage", run_after=datetime(2026, 10, 2, 0, 15, tzinfo=UTC))
    (line,) = (tmp_path / "2026-10-01.jsonl").read_text().splitlines()
    assert json.loads(line)["id"] == made[0]["id"]


def test_resend_order(sandbox: RunningSandbox, conn_id: str, airflow_db: Path) -> None:
    order = sandbox.order(status="submitted")
    sandbox.act(order, "status", value="foc-date-confirmed")
    finished = run("telnyx_resend_order", run_conf={"order": order})
    told = finished.get_task_instance("resend").xcom_pull(task_ids="resend")
    asked = [call["event_id"] for call in sandbox.republishes()]
    assert told["counts"] == {"accepted": len(asked)}
    assert sorted(told["outcomes"]) == sorted(asked)
    assert asked


def test_react_to_events(conn_id: str) -> None:
    """The run itself, with a real triggerer, is in tests/e2e/test_watcher.py."""
    dag = load("telnyx_react_to_events")
    (asset,) = dag.timetable.asset_condition.objects
    (watcher,) = asset.watchers
    assert watcher.trigger.serialize()[1]["asset_name"] == asset.name
    told = [{"event_ids": ["b", "a"]}, {"event_ids": ["a"]}]
    triggering = {asset: [SimpleNamespace(extra={"from_trigger": True, "payload": payload}) for payload in told]}
    assert dag.get_task("new_event_ids").python_callable(triggering_asset_events=triggering) == ["a", "b"]
