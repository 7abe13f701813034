"""Republishing without a ledger: one outcome per id, and never a blind second request."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from contextlib import suppress
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
from telnyx_porting.flows.republish.batch import IN_A_ROW
from telnyx_porting.operators.porting import TelnyxRepublishPortingEventsOperator

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.sandbox.testing import RunningSandbox
    from tests.support.stores import Comms

NOBODY = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab2{:02x}"
REPUBLISH = "/v2/porting/events/*/republish"


@pytest.fixture(autouse=True)
def pace(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TELNYX_PORTING_REPUBLISH_PER_SECOND", "100")


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


def asked_of(sandbox: RunningSandbox, ids: list[str]) -> Counter[str]:
    return Counter({each: times for each, times in asked(sandbox).items() if each in ids})


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
    assert len(sandbox.republishes()) == 6, "the batch went on after the refusal"
    sandbox.clear_faults()
    assert republish(context, events)["counts"] == {"accepted": 50}
    assert asked(sandbox) == Counter(events)


def test_repeated_404_stops_the_batch(
    sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any]
) -> None:
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
    assert counts == {"unknown": IN_A_ROW, "accepted": 50 - IN_A_ROW}, "what may have been processed stays unknown"


def test_unreachable_host_sends_nothing_and_says_so(
    connect: Callable[..., str], context: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from telnyx_porting.flows.republish import batch as module

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


def test_one_after_the_other_and_paced(
    sandbox: RunningSandbox,
    events: list[str],
    conn_id: str,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever gets the webhooks is protected by the account's own setting, and by default."""
    monkeypatch.setenv("TELNYX_PORTING_REPUBLISH_PER_SECOND", "10")
    begun = time.monotonic()
    republish(context, events[:6])
    assert time.monotonic() - begun >= 0.5
    assert [call["event_id"] for call in sandbox.republishes()] == events[:6], "the order given is the order sent"


class Killed(BaseException):
    """The worker is gone: nothing after this line ran."""


def killed_at(comms: Comms, message: int, *, applied: bool) -> Callable[[Any], Any]:
    """Let the worker vanish at its n-th word with the state store, before or after that acted on it."""
    send, said = comms.send, iter(range(1, 10_000))

    def dying(msg: Any) -> Any:
        here = "TaskStateStore" in type(msg).__name__ and next(said) == message
        if here and not applied:
            raise Killed
        answer = send(msg)
        if here:
            raise Killed
        return answer

    return dying


@pytest.mark.parametrize("applied", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("tried", ["first", "resend"])
def test_a_crash_at_any_word_loses_nothing_and_repeats_nothing(
    sandbox: RunningSandbox,
    events: list[str],
    conn_id: str,
    comms: Comms,
    context: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    applied: bool,
    tried: str,
) -> None:
    message, ended = 0, False
    while not ended:
        ids = events[3 * message : 3 * message + 3]
        message += 1
        comms.task.clear()
        with monkeypatch.context() as patch:
            patch.setattr(comms, "send", killed_at(comms, message, applied=applied))
            try:
                republish(context, ids)
            except Killed:
                pass
            else:
                ended = True
        sent = asked_of(sandbox, ids)
        told = republish(context, ids)
        unsure = [event_id for event_id, outcome in told["outcomes"].items() if outcome == "unknown"]
        assert len(unsure) <= 1, "one is on its way at a time"
        assert all(told["outcomes"][event_id] == "accepted" for event_id in ids if event_id not in unsure)
        assert asked_of(sandbox, ids) == Counter(ids) - Counter(each for each in unsure if not sent[each])
        if tried == "resend":
            assert republish(context, ids, resend_unknown=True)["counts"] == {"accepted": 3}
            assert asked_of(sandbox, ids) == Counter(ids) + Counter(each for each in unsure if sent[each])
    assert message == 2 + 3 + 2 * 3 + 1 + 1, "each word was the last one once"


def test_what_was_unknown_stays_unknown_until_telnyx_takes_it(
    sandbox: RunningSandbox, events: list[str], conn_id: str, context: dict[str, Any]
) -> None:
    """A second request that was refused for certain says nothing about the first, which may have been processed."""
    for event, status in zip(events, (401, 404, 422), strict=False):
        path = f"/v2/porting/events/{event}/republish"
        context["task_state_store"].clear()
        sandbox.fault("status", status=500, when="after", path=path)
        assert republish(context, [event])["counts"] == {"unknown": 1}
        sandbox.clear_faults()
        sandbox.fault("status", status=status, path=path)
        with suppress(AuthenticationError):
            republish(context, [event], resend_unknown=True)
        sandbox.clear_faults()
        assert republish(context, [event])["counts"] == {"unknown": 1}, status
        assert asked(sandbox)[event] == 1
        assert republish(context, [event], resend_unknown=True)["counts"] == {"accepted": 1}


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ([[0], [1]], [[1], [0]]),  # the items changed places
        ([[0], [1]], [[2], [0]]),  # one more came before them
        ([[0], [1, 2]], [[0, 1], [2]]),  # they were cut elsewhere
        ([[0], [1], [2]], [[1], [2]]),  # the first is gone
    ],
    ids=["swapped", "shifted", "cut", "gone"],
)
def test_a_mapped_task_that_is_expanded_anew_repeats_nothing(
    sandbox: RunningSandbox,
    events: list[str],
    conn_id: str,
    comms: Comms,
    context: dict[str, Any],
    before: list[list[int]],
    after: list[list[int]],
) -> None:
    """Airflow keeps a task's state by map index: what item 0 finds there may be another item's."""
    kept: dict[int, dict[str, Any]] = {}

    def expanded(items: list[list[int]], **arguments: Any) -> list[dict[str, Any]]:
        told = []
        for index, item in enumerate(items):
            comms.task = kept.setdefault(index, {})
            context["ti"].map_index = index
            told.append(republish(context, [events[each] for each in item], **arguments))
        return told

    expanded(before)
    assert expanded(before) == [{**each} for each in expanded(before)]
    told = expanded(after)
    assert asked(sandbox).most_common(1)[0][1] == 1
    assert any("unknown" in each["counts"] for each in told), "and it is said"
    for each in expanded(after, resend_unknown=True):
        assert set(each["counts"]) == {"accepted"}


def test_sigterm_begins_nothing_more(
    sandbox: RunningSandbox, events: list[str], connect: Callable[..., str], comms: Comms, context: dict[str, Any]
) -> None:
    """As Airflow does it: a signal handler calls on_kill while execute runs; five seconds later comes SIGKILL.

    There is nothing to write down then: that the one on its way is unknown was kept before its request.
    """
    connect(host=sandbox.base_url, password=sandbox.api_key, extra={"timeout": 1})
    sandbox.fault("timeout", seconds=20, skip=5, path=REPUBLISH)
    operator = TelnyxRepublishPortingEventsOperator(task_id="republish", event_ids=events)
    at_once: list[dict[str, Any]] = []

    def on_term(*_: Any) -> None:
        operator.on_kill()
        at_once.append(dict(comms.task))

    before = signal.signal(signal.SIGTERM, on_term)

    def kill_when_stuck() -> None:
        while len(sandbox.republishes()) < 5 or len(comms.task) < 7:
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
    assert len(sandbox.republishes()) <= 6
    sandbox.clear_faults()
    assert comms.task == at_once[0], "SIGKILL in that moment had lost nothing"
    assert republish(context, events)["counts"] == {"unknown": 1, "accepted": 49}
    assert max(asked(sandbox).values()) == 1


def test_few_writes(
    sandbox: RunningSandbox, events: list[str], conn_id: str, comms: Comms, context: dict[str, Any]
) -> None:
    republish(context, events)
    assert comms.writes == 2 * 50 + 2, "before and after each request, and around the list"
