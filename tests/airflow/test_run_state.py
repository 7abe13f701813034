"""A run's state is the truth: whichever task fails, the run has failed; and a run in which none failed has not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from tests.support.runs import FILES, read, run, states

if TYPE_CHECKING:
    from tests.support.runs import Scene

pytestmark = [pytest.mark.airflow, pytest.mark.xdist_group("run_state")]

CHOSEN_BY: dict[tuple[str, str], dict[str, Any]] = {  # what a form has to ask for, that a task is reached
    ("porting_republish", "preview"): {"dry_run": True},
    ("porting_republish", "close"): {"plan_id": "5796a670-482c-490e-8d97-82bfcdc83011", "close": True},
}


def tasks() -> list[tuple[str, str]]:
    """Every task of every DAG, but the one that only repeats that another one failed."""
    found = []
    for name, path in FILES.items():
        (dag,) = read(path).dags.values()
        found += [(name, each) for each in dag.task_ids if each.rpartition(".")[2] != "any_failed"]
    return found


@pytest.mark.parametrize("name", FILES)
def test_a_run_in_which_no_task_failed_is_a_success(name: str, scene: Scene) -> None:
    ended = run(scene, name)
    assert ended.state == "success"
    assert set(states(ended).values()) <= {"success", "skipped"}


@pytest.mark.parametrize(("name", "task_id"), tasks())
def test_a_run_in_which_a_task_failed_has_failed(
    name: str, task_id: str, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    (dag,) = read(FILES[name]).dags.values()
    task = dag.get_task(task_id)
    operator = getattr(task, "operator_class", type(task))

    def fail(self: Any, context: Any) -> None:
        if self.task_id == task_id:
            raise AirflowFailException("it is broken")

    monkeypatch.setattr(operator, "pre_execute", fail)
    ended = run(scene, name, CHOSEN_BY.get((name, task_id)))
    assert states(ended)[task_id] == "failed", "the task was reached, and failed"
    assert ended.state == "failed"
