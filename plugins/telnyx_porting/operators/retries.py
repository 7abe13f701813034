"""When a task that talks to Telnyx is worth another try, and the defaults of such tasks: yours, and the watch's own."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

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
