"""What did not arrive is never said to have arrived, whatever came instead of it; on both databases."""

from __future__ import annotations

import json
import uuid
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import select

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.receipts import read_receipt, store_receipts
from telnyx_porting.flows.deliveries.settle import ARRIVED_OTHERWISE, settle
from telnyx_porting.ledger.tables import deliveries, events, republishes
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, NOW, add_delivery, add_event, add_feed, add_watch, event_row

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

SETTINGS = Settings(consumer_of_record="receiver")
PULLED = Settings(consumer_of_record="deliveries")
MESSAGING, SPLIT, STATUS = (f"porting_order.{kind}" for kind in ("messaging_changed", "split", "status_changed"))
ALIKE = pytest.mark.parametrize("kind", [MESSAGING, SPLIT])
ORDER = "0c28cec1-b947-42af-a4b9-36976b4b76b0"
KEYS = {MESSAGING: f"messaging_changed:{ORDER}:pending", SPLIT: f"split:{ORDER}:{uuid.UUID(int=7)}"}


@pytest.fixture(autouse=True)
def watched(ledger: Ledger) -> None:
    add_feed(ledger)
    add_watch(ledger)
    for _ in range(6):
        add_event(ledger, delivery="arrived", arrived_at=NOW)


def ago(minutes: float) -> datetime:
    return NOW - timedelta(minutes=minutes)


def happened(ledger: Ledger, kind: str, minutes_ago: float, *, generated: bool = True, **more: Any) -> str:
    at = ago(minutes_ago)
    key = {"natural_key": KEYS[kind], "natural_at": at.isoformat() if kind == MESSAGING else None}
    unknown = {"natural_key": None, "natural_at": None, "payload_status": "created", "payload": None}
    return add_event(ledger, type=kind, order_id=ORDER, created_at=at, **(key if generated else unknown) | more)


def told(ledger: Ledger, kind: str, minutes_ago: float, **more: Any) -> str:
    at = ago(minutes_ago)
    times = {"occurred_at": at, "signed_at": at, "stored_at": at}
    return add_delivery(ledger, type=kind, order_id=ORDER, natural_key=KEYS[kind], **times | more)


def generate(ledger: Ledger, event: str, kind: str) -> None:
    with ledger.write() as connection:
        known = {"natural_key": KEYS[kind], "payload_status": "completed", "payload": {}}
        connection.execute(events.update().where(events.c.id == event).values(**known))


def read_until(ledger: Ledger, minutes_ago: float) -> None:
    add_watch(ledger, covered_until=ago(minutes_ago))


def states(ledger: Ledger, *ids: str, settings: Settings = SETTINGS) -> list[str]:
    settle(Account(ledger, ACCOUNT, settings, lambda: NOW))
    return [event_row(ledger, event).delivery for event in ids]


def sent(ledger: Ledger, event: str, minutes_ago: float, n: int = 1, **more: Any) -> None:
    at = ago(minutes_ago)
    row = {
        "account": ACCOUNT, "plan_id": f"p{n}", "event_id": event, "position": 0, "wave": 1, "state": "accepted",
        "n": n, "baseline": [], "sent_at": at, "reply_date": at, "due_at": at + timedelta(minutes=15),
    }  # fmt: skip
    with ledger.write() as connection:
        connection.execute(republishes.insert().values(**row | more))
        given = {"sends": n, "last_sent_at": at, "last_sent_date": at, "delivery": None}
        connection.execute(events.update().where(events.c.id == event).values(**given))


def verdict(ledger: Ledger, event: str, settings: Settings = SETTINGS) -> tuple[str, str | None]:
    settle(Account(ledger, ACCOUNT, settings, lambda: NOW))
    with ledger.read() as connection:
        query = republishes.select().where(republishes.c.event_id == event).order_by(republishes.c.n.desc())
        row = connection.execute(query).first()
    assert row is not None
    return row.state, row.detail


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


# -- credit ----------------------------------------------------------------------------------------------------------


def body(event: str, attempt: int | None) -> bytes:
    order = {"id": ORDER, "status": {"value": "submitted"}, "updated_at": ago(60).isoformat()}
    data = {"id": event, "event_type": STATUS, "occurred_at": ago(60).isoformat(), "payload": order}
    return json.dumps({"data": data, "meta": {"attempt": attempt}} if attempt else data).encode()


def receive(ledger: Ledger, event: str, minutes_ago: float, attempt: int | None) -> None:
    at = ago(minutes_ago)
    store_receipts(ledger, [ACCOUNT], [read_receipt(ACCOUNT, body(event, attempt), at, "/", at)], {}, NOW)


def record(ledger: Ledger, event: str, minutes_ago: float, *, ok: bool, name: str = "r", **more: Any) -> None:
    at = ago(minutes_ago)
    given = {"source": "deliveries", "record_id": name, "webhook_id": event, "ok": ok, "attempt": None}
    add_delivery(ledger, type=STATUS, signed_at=at, **{"stored_at": at, **given, **more})


@pytest.fixture
def resent(ledger: Ledger) -> str:
    """A status of an hour ago, sent again 40 minutes ago."""
    event = add_event(ledger)
    sent(ledger, event, 40)
    return event


RETRY = ("unknown", ARRIVED_OTHERWISE)
OURS = ("arrived", None)


@pytest.mark.parametrize(("attempt", "minutes_ago", "expected"), [
    (1, 39, OURS),
    (2, 39, RETRY),
    (7, 20, RETRY),
    (None, 39, RETRY),  # no count, and near enough to the event to be the original's
    (None, 25, OURS),
])  # fmt: skip
def test_at_the_receiver_without_records(
    ledger: Ledger, resent: str, attempt: int | None, minutes_ago: float, expected: Any
) -> None:
    receive(ledger, resent, minutes_ago, attempt)
    assert verdict(ledger, resent) == expected
    assert event_row(ledger, resent).delivery == "arrived"


@pytest.mark.parametrize("attempt", [2, None])
@pytest.mark.parametrize("listed", ["while tried", "after the last try"])
def test_the_records_show_that_it_was_the_originals_retry(
    ledger: Ledger, resent: str, attempt: int | None, listed: str
) -> None:
    add_feed(ledger, "deliveries")
    known = {"stored_at": ago(50) if listed == "while tried" else NOW}
    record(ledger, resent, 60, ok=False, **known)
    record(ledger, resent, 39, ok=True, stored_at=NOW)
    receive(ledger, resent, 39, attempt)
    assert verdict(ledger, resent) == RETRY


@pytest.mark.parametrize("attempt", [1, 4, None])
def test_the_records_show_that_it_was_the_republish(ledger: Ledger, resent: str, attempt: int | None) -> None:
    """A provider that goes on counting, or that does not count."""
    add_feed(ledger, "deliveries")
    record(ledger, resent, 60, ok=False)
    record(ledger, resent, 39, ok=True, name="new", stored_at=NOW)
    receive(ledger, resent, 39, attempt)
    assert verdict(ledger, resent) == OURS


def test_a_verdict_waits_for_the_records_that_may_explain_it(ledger: Ledger, resent: str) -> None:
    add_feed(ledger, "deliveries", covered_until=ago(45))
    receive(ledger, resent, 39, 4)
    early = ago(20)  # due, and the records are not read so far
    settle(Account(ledger, ACCOUNT, SETTINGS, lambda: early))
    with ledger.read() as connection:
        assert connection.execute(republishes.select()).one().state == "accepted"
    record(ledger, resent, 39, ok=True, name="new", stored_at=NOW)
    add_feed(ledger, "deliveries")
    assert verdict(ledger, resent) == OURS


@pytest.mark.parametrize("listed", ["while tried", "after the last try"])
@pytest.mark.parametrize(("tries", "expected"), [([60, 50], RETRY), ([60], RETRY), ([100, 90], OURS)])
def test_where_the_records_decide(ledger: Ledger, listed: str, tries: list[float], expected: Any) -> None:
    add_feed(ledger, "deliveries", known={"https://crm.example.com/hook": NOW.isoformat()})
    event = add_event(ledger, created_at=ago(tries[0]))
    sent(ledger, event, 40)
    known = ago(45) if listed == "while tried" else NOW
    for minutes in tries:
        record(ledger, event, minutes, ok=False, stored_at=known)
    record(ledger, event, 39, ok=True, stored_at=NOW)
    assert verdict(ledger, event, PULLED) == (expected if listed == "while tried" else RETRY)


def test_an_earlier_republish_that_comes_late_is_not_the_later_ones(ledger: Ledger) -> None:
    event = add_event(ledger, created_at=ago(120))
    sent(ledger, event, 60, 1, state="not_arrived", settled_at=ago(45))
    sent(ledger, event, 40, 2)
    receive(ledger, event, 38, 1)
    assert verdict(ledger, event) == RETRY


def test_a_later_republish_does_not_credit_the_one_that_was_swallowed(ledger: Ledger) -> None:
    event = add_event(ledger, created_at=ago(200))
    sent(ledger, event, 160, 1)
    assert verdict(ledger, event) == ("not_arrived", None)
    sent(ledger, event, 40, 2)
    receive(ledger, event, 38, 1)
    assert verdict(ledger, event) == OURS
    with ledger.read() as connection:
        states = dict(connection.execute(select(republishes.c.n, republishes.c.state)).all())
    assert states == {1: "unknown", 2: "arrived"}


@pytest.mark.parametrize("attempt", [0, -1, 2**31, 2**70, True, "2", 1.5, None])
def test_an_odd_count_of_tries_is_no_count(ledger: Ledger, attempt: Any) -> None:
    """Nor does it keep a webhook from being stored."""
    document = json.loads(body(str(uuid.uuid4()), 1)) | {"meta": {"attempt": attempt}}
    row = read_receipt(ACCOUNT, json.dumps(document).encode(), NOW, "/", NOW)
    store_receipts(ledger, [ACCOUNT], [row], {}, NOW)
    with ledger.read() as connection:
        assert connection.execute(deliveries.select()).one().attempt is None
