"""What Airflow 3.2 lacks, in one place. Nothing is emulated: fewer comforts there, never a second send.

The oldest supported version is 3.2.2. Retry policies, state stores, the state of waiting for an answer, a connection's
``aextra_dejson`` and the module ``stats`` came with 3.3: when that is the oldest supported version, this file goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

try:
    from airflow.sdk import RetryDecision, RetryPolicy
    from airflow.sdk.exceptions import TaskAwaitingInput
    from airflow.sdk.execution_time.context import NEVER_EXPIRE
    from airflow.sdk.observability import stats
except ImportError:  # Airflow 3.2
    from airflow.sdk.exceptions import TaskDeferred
    from airflow.sdk.observability.stats import Stats as stats  # type: ignore[no-redef]

    RetryDecision, RetryPolicy, NEVER_EXPIRE = Any, object, None  # type: ignore[misc,assignment]
    TaskAwaitingInput = TaskDeferred  # type: ignore[misc,assignment]  # how an approval waits there
    IS_3_3 = False
else:
    IS_3_3 = True

if TYPE_CHECKING:
    from airflow.sdk import Connection, Context

__all__ = ["IS_3_3", "NEVER_EXPIRE", "RetryDecision", "RetryPolicy", "TaskAwaitingInput", "stats"]


def retried_by(policy: RetryPolicy) -> dict[str, Any]:
    """Return the argument of a task for its retry policy; before 3.3 ``retries`` alone count."""
    return {"retry_policy": policy} if IS_3_3 else {}


def task_state(context: Context) -> Any:
    """Return the task's state store, or None: before 3.3 nothing outlives a try."""
    return context.get("task_state_store")


def asset_state(trigger: Any) -> Any:
    """Return the asset's state store of a watcher, or None: it watches no asset, or this is before 3.3."""
    return getattr(trigger, "asset_state_store", None)


async def extra_of(connection: Connection) -> dict[str, Any]:
    """Return a connection's extra fields, from an event loop."""
    extra: dict[str, Any] = await connection.aextra_dejson() if IS_3_3 else connection.extra_dejson
    return extra
