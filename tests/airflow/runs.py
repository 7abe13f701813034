"""DAGs of this repository, run in real Airflow in this process, as ``airflow dags test`` does."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from tests.conftest import ROOT

if TYPE_CHECKING:
    from pathlib import Path

DAG_FILES = sorted((ROOT / "dags").glob("*.py"))
EXAMPLES = sorted((ROOT / "dags" / "examples").glob("*.py"))


@cache
def loaded(path: Path) -> Any:
    """The one DAG of a file."""
    from airflow.dag_processing.dagbag import DagBag

    bag = DagBag(dag_folder=str(path), bundle_name="watch")
    assert bag.import_errors == {}
    return bag


def known(path: Path) -> Any:
    """The one DAG of a file, which Airflow's database knows."""
    from airflow.dag_processing.dagbag import sync_bag_to_db
    from airflow.models.dagbundle import DagBundleModel
    from airflow.utils.session import create_session

    bag = loaded(path)
    with create_session() as session:
        session.merge(DagBundleModel(name="watch"))
    sync_bag_to_db(bag, "watch", None)
    (dag,) = bag.dags.values()
    return dag


def states(run: Any) -> dict[str, str]:
    """How each task of a run ended; of a mapped one, its last instance."""
    return {instance.task_id: str(instance.state) for instance in run.get_task_instances()}


def tries(run: Any) -> dict[str, int]:
    """How often each task that failed was tried."""
    return {each.task_id: each.try_number for each in run.get_task_instances() if each.state == "failed"}
