"""Triggers: patient with bad polls, clear when they give up, the same after a restart."""

from __future__ import annotations

import asyncio
import json
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import Asset
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.execution_time import context as runtime
from airflow.sdk.serde import deserialize, serialize

from telnyx_porting.compat import IS_3_3
from telnyx_porting.triggers import polling, watching
from telnyx_porting.triggers.porting import (
    TelnyxPortingEventsTrigger,
    TelnyxPortingEventTrigger,
    TelnyxPortingOrderStatusTrigger,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.sandbox.testing import RunningSandbox
    from tests.support.stores import Comms

NOBODY = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab26e"
ASSET = "port_in_events"


def order_trigger(order: str = NOBODY) -> TelnyxPortingOrderStatusTrigger:
    return TelnyxPortingOrderStatusTrigger(
        porting_order_id=order, statuses=["ported"], telnyx_conn_id="telnyx_default", poll_interval=0.01
    )


def event_trigger() -> TelnyxPortingEventTrigger:
    return TelnyxPortingEventTrigger(
        filters={"event_type": "porting_order.split"}, telnyx_conn_id="telnyx_default", poll_interval=0.01
    )


def watcher(**arguments: Any) -> TelnyxPortingEventsTrigger:
    # Without overlap every event that a cursor leaves behind is lost.
    return TelnyxPortingEventsTrigger(asset_name=ASSET, **{"poll_interval": 0.01, "overlap": 0.0, **arguments})


async def collect(trigger: Any, count: int = 1, seconds: float = 20) -> list[Any]:
    """Take so many events of a trigger, and close it."""
    payloads: list[Any] = []

    async def take() -> None:
        async with aclosing(trigger.run()) as events:
            async for event in events:
                payloads.append(event.payload)
                if len(payloads) == count:
                    return

    await asyncio.wait_for(take(), seconds)
    return payloads


@pytest.mark.parametrize("make", [order_trigger, event_trigger, watcher])
def test_round_trip(make: Callable[[], Any]) -> None:
    """A trigger lives on in Airflow's database as a class path and arguments."""
    trigger = make()
    path, arguments = trigger.serialize()
    assert import_string(path) is type(trigger)
    carried = deserialize(serialize(arguments))
    assert carried == arguments
    assert type(trigger)(**carried).serialize() == (path, arguments)
    json.dumps(arguments)


def test_the_triggerer_reaches_run() -> None:
    """Any other key would make it call the shared stream instead."""
    assert not IS_3_3 or watcher().shared_stream_key() is None


@pytest.mark.parametrize("fault", [{"status": 500}, {"status": 503}, {"kind": "truncated_json"}, {"kind": "html"}])
async def test_bad_polls_are_survived(
    sandbox: RunningSandbox, conn_id: str, fault: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(polling, "MAX_PAUSE", 0.01)
    order = sandbox.order(status="ported")
    sandbox.fault(**{"kind": "status", "times": 3, **fault})
    assert await collect(order_trigger(order)) == [{"status": "done", "order_status": "ported"}]


@pytest.mark.parametrize(
    ("status", "name"), [(401, "AuthenticationError"), (403, "PermissionDeniedError"), (422, "InvalidRequestError")]
)
async def test_gives_up_at_once_when_another_poll_cannot_help(
    sandbox: RunningSandbox, conn_id: str, status: int, name: str
) -> None:
    sandbox.fault("status", status=status)
    (event,) = await collect(order_trigger(sandbox.order()))
    assert (event["status"], event["error_type"]) == ("error", name)
    assert sandbox.api_key not in json.dumps(event)
    assert sandbox.requests()["total"] == 1


async def test_gives_up_after_many_bad_polls(conn_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polling, "MAX_PAUSE", 0.001)
    monkeypatch.setattr(polling, "MAX_FAILURES", 3)
    polls = 0

    async def fail(self: Any, client: Any) -> None:
        nonlocal polls
        polls += 1
        raise polling.TelnyxError("no")

    monkeypatch.setattr(TelnyxPortingEventTrigger, "look", fail)
    (event,) = await collect(event_trigger())
    assert (event["status"], event["error_type"], polls) == ("error", "TelnyxError", 3)


async def test_impossible_connection_is_told(connect: Callable[..., str]) -> None:
    connect(password="")
    (event,) = await collect(event_trigger())
    assert event["error_type"] == "SettingsError"


def test_pauses_grow_and_end() -> None:
    pauses = [polling.pause_after(failures, 60) for failures in range(6)]
    assert pauses == [60, 120, 240, 480, 600, 600]
    assert polling.pause_after(3, 3600) == 3600, "never faster than asked"


# -- the watcher ---------------------------------------------------------------------------------------


@pytest.fixture
def started(comms: Comms, monkeypatch: pytest.MonkeyPatch) -> Callable[..., TelnyxPortingEventsTrigger]:
    """Start a watcher as the triggerer does, each time anew from its arguments, with the state that has survived."""
    monkeypatch.setattr(watching, "PERSISTED_AFTER", 0.0)

    def start(**arguments: Any) -> TelnyxPortingEventsTrigger:
        path, kwargs = watcher(**arguments).serialize()
        trigger: TelnyxPortingEventsTrigger = import_string(path)(**kwargs)
        trigger.asset_state_store = runtime.AssetStateStoreAccessors(inlets=[Asset(name=ASSET), Asset(name="another")])
        return trigger

    return start


def ids(payloads: list[dict[str, Any]]) -> list[str]:
    return [each for payload in payloads for each in payload["event_ids"]]


async def has_begun(comms: Comms) -> None:
    while not comms.asset:
        await asyncio.sleep(0.005)


async def test_tells_new_events_in_one_batch_without_payload(
    sandbox: RunningSandbox, conn_id: str, comms: Comms, started: Callable[..., Any]
) -> None:
    sandbox.order()
    telling = asyncio.create_task(collect(started()))
    await has_begun(comms)
    made = await asyncio.to_thread(sandbox.burst, 30)
    (payload,) = await telling
    assert payload["count"] == len(payload["event_ids"])
    assert set(payload) == {"count", "event_ids", "since", "until"}
    assert set(payload["event_ids"]) <= set(made)


async def test_an_event_is_told_once_per_run(
    sandbox: RunningSandbox, conn_id: str, comms: Comms, started: Callable[..., Any]
) -> None:
    order = sandbox.order()
    telling = asyncio.create_task(collect(started(), 2))
    await has_begun(comms)
    first = (await asyncio.to_thread(sandbox.act, order, "comment"))[0]["id"]
    while sandbox.requests()["total"] < 12:
        await asyncio.sleep(0.01)
    second = (await asyncio.to_thread(sandbox.act, order, "comment"))[0]["id"]
    assert ids(await telling) == [first, second]


async def test_nothing_is_lost_over_crashes(
    sandbox: RunningSandbox, conn_id: str, comms: Comms, started: Callable[..., Any]
) -> None:
    """The triggerer dies again and again, right after a round trip; all that survives is the asset's state."""
    sandbox.order()
    await _until(has_begun(comms), started())
    made: set[str] = set()
    told: set[str] = set()

    async def run(trigger: Any) -> None:
        async with aclosing(trigger.run()) as events:
            async for event in events:
                told.update(event.payload["event_ids"])

    for number in range(12):
        made.update(await asyncio.to_thread(sandbox.burst, 3))
        comms.crash_after = number % 4
        with pytest.raises(asyncio.CancelledError):
            await asyncio.wait_for(run(started()), 10)
    comms.crash_after = None
    made.update(await asyncio.to_thread(sandbox.burst, 1))
    told.update(ids(await collect(started())))
    assert told == made


async def _until(condition: Any, trigger: Any) -> None:
    task = asyncio.create_task(collect(trigger, 1, 60))
    await condition
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_what_was_told_but_not_persisted_is_told_again(
    sandbox: RunningSandbox, conn_id: str, comms: Comms, monkeypatch: pytest.MonkeyPatch, started: Callable[..., Any]
) -> None:
    """Between leaving the trigger and reaching the database an event can be lost: the cursor waits for it."""
    monkeypatch.setattr(watching, "PERSISTED_AFTER", 3600.0)
    order = sandbox.order()
    telling = asyncio.create_task(collect(started()))
    await has_begun(comms)
    kept = dict(comms.asset)
    (made,) = await asyncio.to_thread(sandbox.act, order, "comment")
    assert ids(await telling) == [made["id"]]
    assert comms.asset == kept
    assert ids(await collect(started())) == [made["id"]]


async def test_events_before_a_restart_of_the_first_run_are_told(
    sandbox: RunningSandbox, conn_id: str, comms: Comms, started: Callable[..., Any]
) -> None:
    """The first run begins now and keeps that at once, else a restart would begin later."""
    order = sandbox.order()
    await _until(has_begun(comms), started(poll_interval=3600.0))
    (made,) = await asyncio.to_thread(sandbox.act, order, "comment")
    assert ids(await collect(started())) == [made["id"]]


async def test_a_bad_poll_never_leaves_run(
    sandbox: RunningSandbox, conn_id: str, comms: Comms, started: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Airflow restarts a watcher that raises every 2 s."""
    monkeypatch.setattr(polling, "MAX_PAUSE", 0.01)
    order = sandbox.order()
    telling = asyncio.create_task(collect(started(), 1, 30))
    await has_begun(comms)
    sandbox.fault("status", status=401, times=4)
    (made,) = await asyncio.to_thread(sandbox.act, order, "comment")
    assert ids(await telling) == [made["id"]]


async def test_a_store_that_is_away_is_waited_for(
    sandbox: RunningSandbox, conn_id: str, comms: Comms, started: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beginning anew because the cursor cannot be read would leave events out."""
    monkeypatch.setattr(polling, "MAX_PAUSE", 0.01)
    order = sandbox.order()
    await _until(has_begun(comms), started())
    comms.broken = True
    telling = asyncio.create_task(collect(started(), 1, 30))
    (made,) = await asyncio.to_thread(sandbox.act, order, "comment")
    comms.broken = False
    assert ids(await telling) == [made["id"]]


async def test_the_overlap_finds_rows_that_show_up_late(
    sandbox: RunningSandbox, conn_id: str, comms: Comms, started: Callable[..., Any]
) -> None:
    order = sandbox.order()
    telling = asyncio.create_task(collect(started(overlap=60.0)))
    await has_begun(comms)
    sandbox.fault("late_row", seconds=0.3)
    (made,) = await asyncio.to_thread(sandbox.act, order, "comment")
    assert ids(await telling) == [made["id"]]


async def test_the_cursor_never_passes_the_providers_clock(
    sandbox: RunningSandbox, conn_id: str, comms: Comms, started: Callable[..., Any]
) -> None:
    """Our clock is an hour ahead: what Telnyx writes next must not lie behind the cursor."""
    sandbox.switches(clock_skew_seconds=-3600)
    sandbox.order()
    telling = asyncio.create_task(collect(started(), 1, 5))
    await has_begun(comms)
    (stored,) = comms.asset.values()
    telling.cancel()
    await asyncio.gather(telling, return_exceptions=True)
    assert datetime.fromisoformat(json.loads(stored)) < datetime.now(UTC) - timedelta(minutes=50)


async def test_many_events_come_in_parts(
    sandbox: RunningSandbox, conn_id: str, comms: Comms, started: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "MAX_IDS", 10)
    sandbox.order()
    await _until(has_begun(comms), started())
    made = await asyncio.to_thread(sandbox.burst, 25)
    payloads = await collect(started(), 3)
    assert [payload["count"] for payload in payloads] == [10, 10, 5]
    assert sorted(ids(payloads)) == sorted(made)
