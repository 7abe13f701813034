"""Republishing without a ledger: one outcome per id, and never a blind second request."""

from __future__ import annotations

import time
from collections import Counter
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.errors import (
    AuthenticationError,
    ConnectError,
    NotFoundError,
    PermissionDeniedError,
    ServerError,
    SettingsError,
)
from telnyx_porting.flows.republish.batch import IN_A_ROW
from tests.support.republishing import asked, events, pace, republish

if TYPE_CHECKING:
    from collections.abc import Callable

    from include.sandbox.testing import RunningSandbox

__all__ = ["events", "pace"]
pytestmark = pytest.mark.usefixtures("pace")
NOBODY = "182bd5e5-6e1a-4fe4-a799-aa6d9a6ab2{:02x}"
REPUBLISH = "/v2/porting/events/*/republish"


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
@pytest.mark.usefixtures("comms")  # what an earlier try did is known
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


@pytest.mark.usefixtures("comms")  # what an earlier try did is known
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


@pytest.mark.usefixtures("comms")  # what an earlier try did is known
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


@pytest.mark.usefixtures("comms")  # what an earlier try did is known
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


@pytest.mark.parametrize("arguments", [{}, {"force": True}], ids=["", "force"])
@pytest.mark.parametrize("map_index", [-1, 3])
def test_without_a_state_store_no_later_try_sends(
    sandbox: RunningSandbox, events: list[str], conn_id: str, map_index: int, arguments: dict[str, Any]
) -> None:
    """Airflow 3.2 has none: what an earlier try sent is not known, so that nothing is, and the outcome says so."""
    first, later = ({"ti": SimpleNamespace(max_tries=2, map_index=map_index, try_number=number)} for number in (1, 2))
    assert republish(first, events[:3], **arguments)["counts"] == {"accepted": 3}
    assert republish(later, events[:5], **arguments)["counts"] == {"unknown": 5}
    assert asked(sandbox) == Counter(events[:3])
    assert republish(later, events[3:5], resend_unknown=True)["counts"] == {"accepted": 2}
