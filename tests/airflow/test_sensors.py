"""Sensors: they look once, defer, and tell an end that cannot come from one that has not come yet."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import time_machine
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from telnyx_porting.errors import AuthenticationError, RateLimitedError, SettingsError, TelnyxPortingError
from telnyx_porting.sensors.porting import TelnyxPortingEventSensor, TelnyxPortingOrderStatusSensor
from telnyx_porting.triggers.polling import error_event

if TYPE_CHECKING:
    from include.sandbox.testing import RunningSandbox

NOBODY = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"


def status_sensor(order: str, statuses: Any, **arguments: Any) -> TelnyxPortingOrderStatusSensor:
    return TelnyxPortingOrderStatusSensor(
        task_id="wait", porting_order_id=order, statuses=statuses, poke_interval=0.01, timeout=60, **arguments
    )


def resume(sensor: Any, context: dict[str, Any], deferred: TaskDeferred) -> Any:
    """What triggerer and worker do with a deferral."""

    async def first() -> Any:
        async for event in deferred.trigger.run():
            return event.payload
        return None

    event = asyncio.run(asyncio.wait_for(first(), 20))
    return sensor.resume_execution(deferred.method_name, {"event": event}, context)


def test_already_there(sandbox: RunningSandbox, conn_id: str, context: dict[str, Any]) -> None:
    order = sandbox.order(status="exception")
    sensor = status_sensor(order, ["ported", "exception"], deferrable=True)
    assert sensor.execute(context) == {"porting_order_id": order, "status": "exception"}


@pytest.mark.parametrize("deferrable", [False, True], ids=["poke", "deferrable"])
def test_waits(sandbox: RunningSandbox, conn_id: str, context: dict[str, Any], deferrable: bool) -> None:
    order = sandbox.order(status="submitted")
    sensor = status_sensor(order, "foc-date-confirmed", deferrable=deferrable)
    if not deferrable:
        assert not sensor.poke(context)
        sandbox.act(order, "status", value="foc-date-confirmed")
        assert sensor.execute(context)["status"] == "foc-date-confirmed"
        return
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(context)
    sandbox.act(order, "status", value="foc-date-confirmed")
    assert resume(sensor, context, caught.value)["status"] == "foc-date-confirmed"


@pytest.mark.parametrize("status", ["cancelled", "ported"])
def test_fails_fast_when_it_can_no_longer_come(
    sandbox: RunningSandbox, conn_id: str, context: dict[str, Any], status: str
) -> None:
    order = sandbox.order(status=status)
    with pytest.raises(AirflowFailException, match=rf"is {status} and can no longer become foc-date-confirmed"):
        status_sensor(order, "foc-date-confirmed", deferrable=True).execute(context)


def test_deleted_order(sandbox: RunningSandbox, conn_id: str, context: dict[str, Any]) -> None:
    order = sandbox.order(status="draft")
    sandbox.act(order, "delete", force=True)
    with pytest.raises(AirflowFailException, match="is deleted"):
        status_sensor(order, "ported").execute(context)
    assert status_sensor(order, ["deleted"]).execute(context)["status"] == "deleted"


@pytest.mark.parametrize("status", ["exception", "cancel-pending", "a-status-of-tomorrow"])
def test_waits_on_what_can_be_mended(
    sandbox: RunningSandbox, conn_id: str, context: dict[str, Any], status: str
) -> None:
    order = sandbox.order(status=status)
    with pytest.raises(TaskDeferred):
        status_sensor(order, "ported", deferrable=True).execute(context)


def test_ended_while_deferred_is_skipped_with_soft_fail(
    sandbox: RunningSandbox, conn_id: str, context: dict[str, Any]
) -> None:
    order = sandbox.order(status="submitted")
    sensor = status_sensor(order, "ported", deferrable=True, soft_fail=True)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(context)
    sandbox.act(order, "status", value="cancelled", force=True)
    with pytest.raises(AirflowSkipException):
        resume(sensor, context, caught.value)


def test_soft_fail_does_not_hide_a_refused_key(sandbox: RunningSandbox, conn_id: str, context: dict[str, Any]) -> None:
    """Airflow skips on any of its own errors; ours are not its own."""
    order = sandbox.order(status="submitted")
    sensor = status_sensor(order, "ported", deferrable=True, soft_fail=True)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(context)
    sandbox.fault("status", status=401)
    with pytest.raises(AuthenticationError):
        resume(sensor, context, caught.value)


@pytest.mark.usefixtures("comms")  # what an earlier try did is known
def test_deadline_is_the_first_tries(sandbox: RunningSandbox, conn_id: str, context: dict[str, Any]) -> None:
    order = sandbox.order(status="submitted")
    with time_machine.travel("2026-10-01T00:00:00Z", tick=False) as clock:
        with pytest.raises(TaskDeferred) as caught:
            status_sensor(order, "ported", deferrable=True).execute(context)
        assert caught.value.timeout.total_seconds() == 60
        clock.shift(45)
        with pytest.raises(TaskDeferred) as caught:
            status_sensor(order, "ported", deferrable=True).execute(context)
        assert caught.value.timeout.total_seconds() == 15
        clock.shift(16)
        with pytest.raises(AirflowSensorTimeout):
            status_sensor(order, "ported", deferrable=True).execute(context)
        with pytest.raises(AirflowSkipException):
            status_sensor(order, "ported", deferrable=True, soft_fail=True).execute(context)
        context["ti"] = SimpleNamespace(max_tries=5)
        with pytest.raises(TaskDeferred) as caught:
            status_sensor(order, "ported", deferrable=True).execute(context)
        assert caught.value.timeout.total_seconds() == 60, "a clear begins anew"


def test_event(sandbox: RunningSandbox, conn_id: str, context: dict[str, Any]) -> None:
    order = sandbox.order()
    sensor = TelnyxPortingEventSensor(
        task_id="wait",
        porting_order_id=order,
        event_type="porting_order.new_comment",
        deferrable=True,
        timeout=60,
        poke_interval=0.01,
    )
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(context)
    made = [sandbox.act(order, "comment")[0]["id"] for _ in range(2)]
    told = resume(sensor, context, caught.value)
    assert told["count"] == 2
    assert set(told["event_ids"]) == set(made)


def test_event_since(sandbox: RunningSandbox, conn_id: str, context: dict[str, Any]) -> None:
    order = sandbox.order()
    sandbox.act(order, "comment")
    sensor = TelnyxPortingEventSensor(task_id="wait", created_at_gte="2100-01-01T00:00:00Z", deferrable=True)
    with pytest.raises(TaskDeferred):
        sensor.execute(context)


@pytest.mark.parametrize(
    "sensor",
    [
        pytest.param(lambda: status_sensor("12", "ported"), id="order"),
        pytest.param(lambda: status_sensor(NOBODY, []), id="no status"),
        pytest.param(lambda: TelnyxPortingEventSensor(task_id="wait"), id="no filter"),
        pytest.param(lambda: TelnyxPortingEventSensor(task_id="wait", created_at_gte="soon"), id="no time"),
    ],
)
def test_impossible_arguments(conn_id: str, context: dict[str, Any], sensor: Any) -> None:
    with pytest.raises(SettingsError):
        sensor().execute(context)


@pytest.mark.parametrize("event", [None, {}, {"status": "success"}, "done"])
def test_malformed_event_is_no_success(context: dict[str, Any], event: Any) -> None:
    """The event crosses Airflow's database: what is not understood must fail."""
    with pytest.raises(TelnyxPortingError, match="malformed"):
        status_sensor(NOBODY, "ported").execute_complete(context, event)


def test_error_crosses_with_what_a_retry_policy_reads(context: dict[str, Any]) -> None:
    sent = RateLimitedError("too many", method="GET", path="/porting/events", status=429, retry_after=7.0)
    with pytest.raises(RateLimitedError) as caught:
        status_sensor(NOBODY, "ported").execute_complete(context, error_event(sent))
    assert caught.value.retry_after == 7.0
    assert str(caught.value) == str(sent)
