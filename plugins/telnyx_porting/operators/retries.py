"""What tasks share: when one is worth another try, defaults, yours and the watch's own, and the last task of a run."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from telnyx_porting.compat import RetryDecision, RetryPolicy, retried_by
from telnyx_porting.errors import FOR_GOOD, RateLimitedError
from telnyx_porting.notifications.failure import PortingAlertNotifier
from telnyx_porting.operators.forms import refuse_unknown_keys

if TYPE_CHECKING:
    from airflow.sdk import Context

POOL = "telnyx_api"


class TelnyxRetryPolicy(RetryPolicy):
    """
    Fail at once on what another try cannot change; wait as long as Telnyx asks after a 429.

    A refused key, a forbidden or invalid request, an unknown id, an impossible argument and a plan that cannot be
    made or continued fail the task at the first try. Anything else follows the task's ``retries`` and ``retry_delay``.
    Airflow 3.2 has no retry policies: there ``retries`` and ``retry_delay`` alone count.
    """

    def evaluate(
        self, exception: BaseException, try_number: int, max_tries: int, context: Context | None = None
    ) -> RetryDecision:
        if isinstance(exception, FOR_GOOD):
            return RetryDecision.fail(reason=str(exception))
        if isinstance(exception, RateLimitedError) and exception.retry_after:
            return RetryDecision.retry(
                delay=timedelta(seconds=exception.retry_after), reason="Telnyx asks to wait (429)"
            )
        return RetryDecision.default()


def telnyx_task_defaults(**overrides: Any) -> dict[str, Any]:
    """
    Return ``default_args`` for tasks that call Telnyx: the pool, retries with back-off, a time limit.

    :param overrides: arguments to add or replace
    """
    return {
        "pool": POOL,
        "retries": 3,
        "retry_delay": timedelta(seconds=30),
        "retry_exponential_backoff": 2,
        "max_retry_delay": timedelta(minutes=10),
        "execution_timeout": timedelta(minutes=30),
        **retried_by(TelnyxRetryPolicy()),
        **overrides,
    }


def watch_task_defaults(**overrides: Any) -> dict[str, Any]:
    """
    Return ``default_args`` for the watch's own DAGs, which have a ledger: a task that fails for good becomes a finding.

    A run whose configuration has a key that its DAG does not know is refused, task by task.

    :param overrides: arguments to add or replace
    """
    ours: dict[str, Any] = {
        "owner": "porting",
        "pre_execute": refuse_unknown_keys,
        "on_failure_callback": PortingAlertNotifier(),
        "on_success_callback": PortingAlertNotifier(over=True),
    }
    return telnyx_task_defaults(**(ours | overrides))


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
