"""Republishing without a ledger, cut short: what was sent, or may have been, is remembered by every later try."""

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
    TelnyxPortingError,
)
from telnyx_porting.operators.porting import TelnyxRepublishPortingEventsOperator
from tests.support.republishing import asked, asked_of, events, pace, republish

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.sandbox.testing import RunningSandbox
    from tests.support.stores import Comms

__all__ = ["events", "pace"]
pytestmark = pytest.mark.usefixtures("pace", "comms")
REPUBLISH = "/v2/porting/events/*/republish"


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
