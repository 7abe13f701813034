"""DAGs of this repository, run in real Airflow in this process, as ``airflow dags test`` does."""

from __future__ import annotations

import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from telnyx_porting.compat import IS_3_3
from tests.support.places import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from telnyx_porting.ledger.engine import Ledger

FILES = {path.stem: path for folder in ("dags", "dags/examples") for path in sorted((ROOT / folder).glob("*.py"))}


@dataclass(frozen=True)
class Scene:
    """A scanned account with one missed event, which the watch may send by itself."""

    ledger: Ledger
    order: str
    event: str
    right: dict[str, dict[str, Any]]  # what each DAG is rightly started with


def read(path: Path) -> Any:
    """The bag of one file, read anew: a run in this process writes what it is given into the DAG's params."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(path), bundle_name="watch")
    assert bag.import_errors == {}
    return bag


def known(name: str) -> Any:
    """A DAG, which Airflow's database knows."""
    from airflow.dag_processing.dagbag import sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    bag = read(FILES[name])
    if not IS_3_3:  # there a task tries again, for minutes, what another try cannot change
        for task in bag.dags[name].tasks:
            if task.is_mapped:
                task.partial_kwargs["retries"] = 0
            else:
                task.retries = 0
    with create_session() as session:
        session.merge(DagBundleModel(name="watch"))
    sync_bag_to_db(bag, "watch", None)
    return bag.dags[name]


def run(scene: Scene, name: str, conf: dict[str, Any] | None = None) -> Any:
    """Run a DAG to its end, by default as it is rightly started; what it starts is known to Airflow, too."""
    if name == "porting_missed_notifications":
        known("porting_republish")
    dag = known(name)
    if name == "telnyx_react_to_events":  # the run itself, with a real triggerer, is in tests/e2e/test_watcher.py
        dag.get_task("new_event_ids").python_callable = lambda: [scene.event]
    with _at_once():
        return dag.test(run_conf=scene.right.get(name, {}) if conf is None else conf)


@contextmanager
def _at_once() -> Iterator[None]:
    """Keep Airflow from writing all DAGs into its database once more for each run, and from sleeping between tasks."""
    from airflow.dag_processing.bundles.manager import DagBundlesManager
    from airflow.sdk.execution_time import task_runner

    sleep, finalize = time.sleep, task_runner.finalize

    def told_why(ti: Any, state: Any, context: Any, log: Any, error: Any) -> None:
        context["exception"] = error  # as for every real task; only dag.test() of Airflow 3.2 leaves it out
        finalize(ti, state, context, log, error)

    with (
        patch.object(task_runner, "finalize", told_why),
        patch.object(DagBundlesManager, "get_all_dag_bundles", return_value=()),
        patch("time.sleep", lambda seconds: sleep(min(seconds, 0.05))),
    ):
        yield


def states(ended: Any) -> dict[str, str]:
    """How each task of a run ended; of a mapped one, its last instance."""
    return {instance.task_id: str(instance.state) for instance in ended.get_task_instances()}


def tries(ended: Any) -> int:
    """How often a task of the run was tried at most."""
    return max(each.try_number for each in ended.get_task_instances())


def told(ended: Any, task_id: str, key: str = "return_value") -> Any:
    """What a task left in XCom."""
    return ended.get_task_instance(task_id).xcom_pull(task_ids=task_id, key=key)
