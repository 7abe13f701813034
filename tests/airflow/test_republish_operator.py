"""Republishing without a ledger: one outcome per id, and never a blind second request."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.errors import (
    AuthenticationError,
    ConnectError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    SettingsError,
    TelnyxPortingError,
)
from telnyx_porting.operators.porting import TelnyxRepublishPortingEventsOperator
from telnyx_porting.operators.republish import BLOCK, IN_A_ROW

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.sandbox.testing import RunningSandbox
    from tests.support.stores import Comms

NOBODY = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab2{:02x}"
REPUBLISH = "/v2/porting/events/*/republish"


@pytest.fixture
def events(sandbox: RunningSandbox) -> list[str]:
    """Fifty events that can be republished."""
    sandbox.order()
    return sandbox.burst(50)


def republish(context: dict[str, Any], event_ids: Any, **arguments: Any) -> dict[str, Any]:
    operator = TelnyxRepublishPortingEventsOperator(task_id="republish", event_ids=event_ids, **arguments)
    return operator.execute(context)


def asked(sandbox: RunningSandbox) -> Counter[str]:
    """How often each event was asked for, leaving out what Telnyx refused for certain."""
    refusals = {401, 403, 404, 422, 429}
    return Counter(call["event_id"] for call in sandbox.republishes() if call["status"] not in refusals)


def test_each_id_once(sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any]) -> None:
    told = republish(context, [*events, *events])
    assert told["counts"] == {"accepted": 50}
    assert set(told["outcomes"]) == set(events)
    assert asked(sandbox) == Counter(events)


@pytest.mark.parametrize(
    "shape",
    [
        pytest.param(lambda ids: [{"id": each, "event_type": "x"} for each in ids], id="facts of the list operator"),
        pytest.param(str, id="a list rendered by a template"),
        pytest.param(", ".join, id="separated by commas"),
        pytest.param(lambda ids: [each.upper() for each in ids], id="upper case"),
    ],
)
def test_shapes_of_ids(
    sandbox: RunningSandbox,
    events: list[str],
    conn_id: str,
    context: dict[str, Any],
    shape: Callable[[list[str]], Any],
) -> None:
    assert republish(context, shape(events[:3]))["counts"] == {"accepted": 3}
    assert asked(sandbox) == Counter(events[:3])


@pytest.mark.parametrize(
    "ids", [["12"], [None], "not-an-id", 7, [{"event": "x"}]], ids=["short", "none", "text", "number", "no id"]
)
def test_malformed_id_sends_nothing(
    sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any], ids: Any
) -> None:
    mixed = [*events, *ids] if isinstance(ids, list) else ids
    with pytest.raises(SettingsError, match="event_ids"):
        republish(context, mixed)
    assert asked(sandbox) == Counter()


def test_nothing_to_do(conn_id: str, context: dict[str, Any]) -> None:
    assert republish(context, []) == {"counts": {}, "outcomes": {}}


def test_one_bad_id_does_not_stop_the_rest(
    sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any]
) -> None:
    sandbox.fault("status", status=422, event_id=events[3], path=f"/v2/porting/events/{events[3]}/republish")
    told = republish(context, [*events[:10], NOBODY.format(0), *events[10:]])
    assert told["counts"] == {"accepted": 49, "refused": 1, "not_found": 1}
    assert told["outcomes"][events[3]] == "refused"


@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationError), (403, PermissionDeniedError)], ids=["401", "403"]
)
def test_refused_key_stops_the_batch_and_a_retry_goes_on(
    sandbox: RunningSandbox,
    events: list[str],
    conn_id: str,
    context: dict[str, Any],
    status: int,
    error: type[Exception],
) -> None:
    sandbox.fault("status", status=status, skip=5, path=REPUBLISH)
    with pytest.raises(error):
        republish(context, events)
    assert len(sandbox.republishes()) < 20, "the batch went on after the refusal"
    sandbox.clear_faults()
    assert republish(context, events)["counts"] == {"accepted": 50}
    assert asked(sandbox) == Counter(events)


def test_repeated_404_stops_the_batch(
    sandbox: RunningSandbox, events: list[str], connect: Callable[..., str], context: dict[str, Any]
) -> None:
    connect(host=sandbox.base_url, password=sandbox.api_key, extra={"max_concurrency": 1})
    strangers = [NOBODY.format(number) for number in range(20)]
    with pytest.raises(NotFoundError):
        republish(context, [*strangers, *events])
    assert asked(sandbox) == Counter()
    assert sandbox.requests()["total"] == IN_A_ROW


def test_429_is_waited_for_and_not_counted_as_sent(
    sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any]
) -> None:
    sandbox.rate_limit(100)
    sandbox.fault("rate_limited", times=3, seconds=0.2, path=REPUBLISH)
    assert republish(context, events[:10])["counts"] == {"accepted": 10}
    assert asked(sandbox) == Counter(events[:10])


@pytest.mark.parametrize("when", ["before", "after"])
def test_server_error_is_unknown_and_never_repeated(
    sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any], when: str
) -> None:
    sandbox.fault("status", status=500, when=when, path=f"/v2/porting/events/{events[0]}/republish")
    told = republish(context, events[:5])
    assert told["outcomes"][events[0]] == "unknown"
    assert asked(sandbox)[events[0]] == 1


def test_outage_stops_the_batch(
    sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any]
) -> None:
    sandbox.fault("status", status=503, path=REPUBLISH)
    with pytest.raises(ServerError):
        republish(context, events)
    sandbox.clear_faults()
    counts = republish(context, events)["counts"]
    assert counts["unknown"] + counts["accepted"] == 50
    assert IN_A_ROW <= counts["unknown"] < 20, "what may have been processed stays unknown, the rest is sent"


def test_unreachable_host_sends_nothing_and_says_so(
    connect: Callable[..., str], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from telnyx_porting.operators import republish as module

    monkeypatch.setattr(module, "TRIES", 2)
    connect(host="http://127.0.0.1:9", password="KEY_any")
    with pytest.raises(ConnectError):
        republish(context, [NOBODY.format(0)])


def test_cleared_finished_task_sends_nothing(
    sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any]
) -> None:
    first = republish(context, events)
    assert republish(context, events) == first
    assert asked(sandbox) == Counter(events)


def test_force_sends_a_finished_task_again(
    sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any]
) -> None:
    republish(context, events[:2], force=True)
    republish(context, events[:2], force=True)
    assert asked(sandbox) == Counter(dict.fromkeys(events[:2], 2))


def test_ids_that_are_new_after_a_clear_are_sent(
    sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any]
) -> None:
    republish(context, events[:2])
    assert republish(context, events[:3])["counts"] == {"accepted": 3}
    assert asked(sandbox) == Counter(events[:3])


def killed_worker(sandbox: RunningSandbox, events: list[str], comms: Comms, context: dict[str, Any]) -> None:
    """Let a worker vanish in the middle: what it had not written down is lost."""
    operator = TelnyxRepublishPortingEventsOperator(task_id="republish", event_ids=events)
    operator._wind_up = lambda *_: comms.__setattr__("broken", True)  # type: ignore[method-assign]

    def vanish(*_: Any) -> None:
        raise SystemExit("killed")

    announced = comms.send

    def send(msg: Any) -> Any:
        answer = announced(msg)
        if len(comms.task) == 2:
            vanish()
        return answer

    comms.send = send  # type: ignore[method-assign]
    with pytest.raises(SystemExit):
        operator.execute(context)
    comms.send = announced  # type: ignore[method-assign]
    comms.broken = False


def test_crash_leaves_unknown_and_never_sends_twice(
    sandbox: RunningSandbox, events: list[str], conn_id: str, comms: Comms, context: dict[str, Any]
) -> None:
    killed_worker(sandbox, events, comms, context)
    told = republish(context, events)
    assert max(asked(sandbox).values()) == 1
    assert told["counts"]["unknown"] <= 2 * BLOCK
    assert told["counts"]["unknown"] + told["counts"]["accepted"] == 50
    again = republish(context, events, resend_unknown=True)
    assert again["counts"] == {"accepted": 50}
    assert set(asked(sandbox)) == set(events)


def test_sigterm_records_within_three_seconds(
    sandbox: RunningSandbox, events: list[str], conn_id: str, comms: Comms, context: dict[str, Any]
) -> None:
    """As Airflow does it: a signal handler calls on_kill while execute runs; five seconds later comes SIGKILL."""
    sandbox.fault("timeout", seconds=20, skip=25, path=REPUBLISH)
    operator = TelnyxRepublishPortingEventsOperator(task_id="republish", event_ids=events)
    killed_at: list[float] = []

    def on_term(*_: Any) -> None:
        killed_at.append(time.monotonic())
        operator.on_kill()

    before = signal.signal(signal.SIGTERM, on_term)

    def kill_when_stuck() -> None:
        while len(sandbox.republishes()) < 25:
            time.sleep(0.02)
        os.kill(os.getpid(), signal.SIGTERM)

    killer = threading.Thread(target=kill_when_stuck)
    killer.start()
    try:
        with pytest.raises(TelnyxPortingError, match="stopped from outside"):
            operator.execute(context)
    finally:
        killer.join()
        signal.signal(signal.SIGTERM, before)
    assert time.monotonic() - killed_at[0] < 3
    sandbox.clear_faults()
    counts = republish(context, events)["counts"]
    assert 1 <= counts["unknown"] <= 8, "only what was really on its way is unknown"
    assert counts["accepted"] == 50 - counts["unknown"]
    assert max(asked(sandbox).values()) == 1


def test_few_writes(
    sandbox: RunningSandbox, events: list[str], conn_id: str, comms: Comms, context: dict[str, Any]
) -> None:
    republish(context, events)
    assert comms.writes <= 2 * (50 // BLOCK + 1) + 1
