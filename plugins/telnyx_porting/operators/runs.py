"""The last task of a run: it fails when a task before it failed, so that the run's state is the truth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

if TYPE_CHECKING:
    from airflow.sdk import Context


class TelnyxFailRunOperator(BaseOperator):
    """Fail the run when a task before this one failed; skipped otherwise, without a worker.

    Airflow looks only at the last tasks of a run. One that runs whatever happened before it (``all_done``) would let
    a run with a failed task end as a success, unseen by callbacks, filters and deadlines. Put this one after all
    tasks whose failure counts. What failed is told by its own callbacks; this task tells nobody.
    """

    def __init__(self, **kwargs: Any) -> None:
        quiet = {"on_failure_callback": None, "on_success_callback": None, "pool": "default_pool"}
        super().__init__(**{**kwargs, **quiet, "trigger_rule": "one_failed", "retries": 0})

    def execute(self, context: Context) -> None:
        raise AirflowFailException("a task of this run failed; its own log says why")
