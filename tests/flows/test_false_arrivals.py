"""What did not arrive is never said to have arrived, whatever came instead of it; on both databases."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.ledger.tables import events
from tests.support.arrivals import (
    MESSAGING,
    ORDER,
    SETTINGS,
    SPLIT,
    STATUS,
    ago,
    generate,
    happened,
    read_until,
    sent,
    states,
    told,
    verdict,
)
from tests.support.rows import ACCOUNT, NOW, add_delivery, add_event, event_row

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

pytestmark = pytest.mark.usefixtures("others_arrived")
ALIKE = pytest.mark.parametrize("kind", [MESSAGING, SPLIT])


@pytest.fixture
def once(ledger: Ledger) -> None:
    """Another notification came, and once: that as many came as were promised means something."""
    add_delivery(ledger, type=STATUS, webhook_id=add_event(ledger, created_at=ago(600)))


ONCE = pytest.mark.usefixtures("once")


# -- another event's webhook ---------------------------------------------------------------------------------------


@ALIKE
@pytest.mark.parametrize("apart", [0.2, 10, 120])
def test_the_younger_is_still_read_as_created(ledger: Ledger, kind: str, apart: float) -> None:
    elder = happened(ledger, kind, 90 + apart)
    younger = happened(ledger, kind, 90, generated=False)
    told(ledger, kind, 90)
    assert states(ledger, elder, younger)[0] != "arrived"
    generate(ledger, younger, kind)
    expected = ["missed", "arrived"] if apart > 1 else ["undetermined", "undetermined"]
    assert states(ledger, elder, younger) == expected


@ALIKE
def test_the_younger_is_listed_late(ledger: Ledger, kind: str) -> None:
    """Events are read past the webhook, and again later: between the two its own event was not listed."""
    elder = happened(ledger, kind, 130)
    told(ledger, kind, 120)
    read_until(ledger, 115)
    assert states(ledger, elder) == ["pending"]
    read_until(ledger, 95)
    assert states(ledger, elder) == ["pending"]
    younger = happened(ledger, kind, 120)
    read_until(ledger, 60)
    assert states(ledger, elder, younger) == ["missed", "arrived"]


@ALIKE
def test_a_swallowed_republish_and_the_same_again_two_hours_later(ledger: Ledger, kind: str) -> None:
    elder = happened(ledger, kind, 260)
    sent(ledger, elder, 240)
    read_until(ledger, 120)
    told(ledger, kind, 120)
    assert states(ledger, elder) == ["pending"]
    younger = happened(ledger, kind, 120, generated=False)
    read_until(ledger, 0)
    assert "arrived" not in states(ledger, elder, younger)
    generate(ledger, younger, kind)
    assert states(ledger, elder)[0] != "arrived"
    assert verdict(ledger, elder)[0] != "arrived"


@ALIKE
def test_a_republish_that_is_70_minutes_late(ledger: Ledger, kind: str) -> None:
    """It says that it happened now, and in the meantime there is another of the kind, whose webhook was lost."""
    elder, younger = happened(ledger, kind, 200), happened(ledger, kind, 95)
    sent(ledger, elder, 160)
    told(ledger, kind, 90)
    assert "arrived" not in states(ledger, elder, younger)


@ALIKE
def test_the_only_one_is_taken_only_when_it_is_near(ledger: Ledger, kind: str) -> None:
    event = happened(ledger, kind, 300)
    told(ledger, kind, 240)
    assert states(ledger, event) == ["undetermined"]


@ALIKE
@pytest.mark.parametrize("off", [-20, -0.1, 0.0, 1, 29])
def test_without_a_rival_what_is_near_arrived(ledger: Ledger, kind: str, off: float) -> None:
    event = happened(ledger, kind, 120)
    told(ledger, kind, 120 - off)
    assert states(ledger, event) == ["arrived"]


@ALIKE
@pytest.mark.parametrize("late", [0.1, 10, 29])
def test_without_a_rival_a_republish_that_says_now_arrived(ledger: Ledger, kind: str, late: float) -> None:
    event = happened(ledger, kind, 200)
    sent(ledger, event, 120)
    told(ledger, kind, 120 - late)
    assert states(ledger, event) == ["arrived"]
    assert verdict(ledger, event) == ("arrived", None)


# -- times that were rounded -----------------------------------------------------------------------------------------


def status(ledger: Ledger, at: datetime, *, written: str | None = None, **more: Any) -> str:
    key = {"natural_key": status_key(at), "natural_at": written or at.isoformat(timespec="microseconds")}
    return add_event(ledger, order_id=ORDER, created_at=at, **key | more)


def status_key(at: datetime) -> str:
    return f"status_changed:{ORDER}:submitted:{at:%Y-%m-%dT%H:%M:%S}"


def told_status(ledger: Ledger, at: datetime, written: str) -> None:
    given = {"order_id": ORDER, "natural_key": status_key(at), "natural_at": written}
    add_delivery(ledger, type=STATUS, occurred_at=at, signed_at=at, stored_at=at, **given)


SECOND = ago(90).replace(second=44, microsecond=0)
COARSE = {
    "cut": (SECOND, SECOND.strftime("%Y-%m-%dT%H:%M:%SZ")),
    "zeros": (SECOND, SECOND.strftime("%Y-%m-%dT%H:%M:%S.000Z")),
    "rounded up": (SECOND + timedelta(seconds=1), (SECOND + timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S+00:00")),
}


@pytest.mark.parametrize("how", COARSE)
@pytest.mark.parametrize("known", ["both", "younger generated later", "younger listed later"])
def test_two_changes_of_one_status_in_one_second(ledger: Ledger, how: str, known: str) -> None:
    at, written = COARSE[how]
    elder = status(ledger, SECOND + timedelta(milliseconds=600))
    second = SECOND + timedelta(milliseconds=900)
    unknown = {"natural_key": None, "natural_at": None, "payload_status": "created"}
    younger = ""
    if known == "younger listed later":
        read_until(ledger, 80)
    else:
        younger = status(ledger, second, **(unknown if known != "both" else {}))
    told_status(ledger, at, written)
    assert "arrived" not in states(ledger, elder, *filter(None, [younger]))
    if known == "younger listed later":
        younger = status(ledger, second)
        read_until(ledger, 0)
    elif known == "younger generated later":
        with ledger.write() as connection:
            now_known = {"natural_key": status_key(second), "natural_at": second.isoformat()}
            mine = events.update().where(events.c.id == younger)
            connection.execute(mine.values(payload_status="completed", **now_known))
    assert states(ledger, elder, younger) == ["undetermined", "undetermined"]


@pytest.mark.parametrize("how", COARSE)
def test_the_only_change_within_what_was_rounded_away_arrived(ledger: Ledger, how: str) -> None:
    event = status(ledger, SECOND + timedelta(milliseconds=600))
    later = status(ledger, SECOND + timedelta(minutes=30))
    told_status(ledger, *COARSE[how])
    assert states(ledger, event, later) == ["arrived", "missed"]


# -- more webhooks than promised -------------------------------------------------------------------------------------


@ONCE
@pytest.mark.parametrize(("copies", "came", "expected"), [
    (3, 2, "missed"), (3, 3, "arrived"), (3, 4, "undetermined"), (3, 5, "undetermined"), (3, 6, "undetermined"),
    (1, 1, "arrived"), (1, 2, "arrived"),
])  # fmt: skip
def test_more_webhooks_than_numbers_prove_nothing(ledger: Ledger, copies: int, came: int, expected: str) -> None:
    event = happened(ledger, SPLIT, 90, copies=copies)
    for _ in range(came):
        told(ledger, SPLIT, 90)
    assert states(ledger, event) == [expected]


def test_more_webhooks_than_splits_prove_nothing(ledger: Ledger) -> None:
    """The same, told as one event per number."""
    splits = [happened(ledger, SPLIT, 90) for _ in range(3)]
    for _ in range(4):
        told(ledger, SPLIT, 90)
    assert states(ledger, *splits) == ["undetermined"] * 3


@ONCE
def test_as_many_as_splits_prove_them_all(ledger: Ledger) -> None:
    splits = [happened(ledger, SPLIT, 90) for _ in range(3)]
    for _ in range(3):
        told(ledger, SPLIT, 90)
    assert states(ledger, *splits) == ["arrived"] * 3


def test_where_a_notification_came_twice_counting_proves_nothing(ledger: Ledger) -> None:
    """Two subscriptions to one URL, and one number of two is lost: as many came as there are numbers."""
    twice = happened(ledger, MESSAGING, 200)
    told(ledger, MESSAGING, 200)
    told(ledger, MESSAGING, 200)
    assert states(ledger, twice) == ["arrived"]
    event = happened(ledger, SPLIT, 90, copies=2)
    told(ledger, SPLIT, 90)
    told(ledger, SPLIT, 90)
    assert states(ledger, event) == ["undetermined"]


LATELY, LONG_AGO = 600, 60 * 24 * 8
OTHERS: list[tuple[list[Any], str]] = [
    ([], "undetermined"),
    ([(LATELY, 1, {})], "arrived"),
    ([(LATELY, 2, {})], "undetermined"),
    ([(LATELY, 1, {}), (LATELY - 1, 2, {})], "undetermined"),  # a second subscription since, seen in the same look
    ([(LONG_AGO, 1, {})], "undetermined"),
    ([(LATELY, 1, {"copies": 2})], "undetermined"),  # half of it, or all
    ([(LATELY, 1, {"sends": 1})], "undetermined"),  # it came late, or its republish did
    ([(LATELY, 1, {"source": "deliveries"})], "undetermined"),  # that says nothing of the one that decides
]


@pytest.mark.parametrize(("others", "expected"), OTHERS)
def test_as_many_as_promised_prove_something_where_it_was_seen_that_they_come_once(
    ledger: Ledger, others: list[Any], expected: str
) -> None:
    """Else two may be one number's, by two subscriptions to one URL: of one event, and of a split told as two."""
    for minutes, times, more in others:
        at, key = ago(minutes), f"status_changed:other:submitted:{ago(minutes):%Y-%m-%dT%H:%M:%S}"
        other = add_event(ledger, created_at=at, copies=more.get("copies", 1), order_id="other", natural_key=key)
        if "sends" in more:
            sent(ledger, other, minutes - 1, state="not_arrived", settled_at=NOW)
        given = {"signed_at": at, "stored_at": at, "occurred_at": at, "natural_at": at.isoformat(), "natural_key": key}
        for _ in range(times):
            add_delivery(ledger, type=STATUS, order_id="other", source=more.get("source", "receiver"), **given)
    event = happened(ledger, SPLIT, 300, copies=2)
    pair = [happened(ledger, SPLIT, 90) for _ in range(2)]
    for when in (300, 300, 90, 90):
        told(ledger, SPLIT, when)
    assert states(ledger, event, *pair) == [expected] * 3


@pytest.mark.parametrize(("copies", "expected"), [(0, "undetermined"), (1, "arrived"), (3, "undetermined")])
def test_how_many_a_split_promises_only_its_payload_tells(ledger: Ledger, copies: int, expected: str) -> None:
    """The webhook has the event's id, so it is found while the event is read as `created`; 0: no number is listed."""
    event = happened(ledger, SPLIT, 90, generated=False, copies=0)
    told(ledger, SPLIT, 90, webhook_id=event)
    assert states(ledger, event) == ["pending"]
    generate(ledger, event, SPLIT, copies=copies)
    assert states(ledger, event) == [expected]


@ONCE
def test_a_split_of_nobody_knows_how_many_proves_nothing_of_others(ledger: Ledger) -> None:
    """Neither that notifications come twice, nor that its own republish is not still on its way."""
    known = happened(ledger, SPLIT, 300, copies=0)
    told(ledger, SPLIT, 300)
    assert states(ledger, known) == ["undetermined"]
    pair = happened(ledger, SPLIT, 200, copies=2)
    told(ledger, SPLIT, 200)
    told(ledger, SPLIT, 200)
    assert states(ledger, pair) == ["arrived"]
    sent(ledger, known, 160)
    younger = happened(ledger, SPLIT, 95)
    told(ledger, SPLIT, 90)
    assert states(ledger, younger) != ["arrived"]


def test_several_sends_are_not_added_up(ledger: Ledger) -> None:
    """Two of three numbers came first, one came again: three webhooks, and the third number never came."""
    event = happened(ledger, SPLIT, 200, copies=3)
    told(ledger, SPLIT, 200)
    told(ledger, SPLIT, 200)
    for n, minutes in enumerate((150, 60), start=1):
        sent(ledger, event, minutes, n, state="not_arrived", settled_at=NOW)
    told(ledger, SPLIT, 149)
    assert states(ledger, event)[0] != "arrived"


def test_more_may_be_on_their_way(ledger: Ledger) -> None:
    """As many as promised have come at the moment of a look, and one more a second later."""
    event = happened(ledger, SPLIT, 200, copies=2)
    sent(ledger, event, 1)
    kept = {"signed_at": ago(0.5), "stored_at": ago(0.5)}
    for _ in range(2):
        told(ledger, SPLIT, 200, **kept)
    assert states(ledger, event) == ["pending"]
    told(ledger, SPLIT, 200, **kept)
    assert settle(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW + timedelta(hours=1))) is not None
    assert event_row(ledger, event).delivery == "undetermined"
