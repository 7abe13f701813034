"""What comes in while others look: nothing is passed over, and nothing is believed before its rivals are known."""

from __future__ import annotations

import uuid
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import deliveries, republishes
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, NOW, add_delivery, add_event, add_feed, add_watch, event_row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

SETTINGS = Settings(consumer_of_record="receiver")
MESSAGING = "porting_order.messaging_changed"


@pytest.fixture(autouse=True)
def watched(ledger: Ledger) -> None:
    add_feed(ledger)
    add_watch(ledger)
    for _ in range(5):
        add_event(ledger, delivery="arrived", arrived_at=NOW)


class Crowded(Ledger):
    """A ledger into which somebody else writes just before the n-th transaction of ours, be it only a look."""

    def __init__(self, ledger: Ledger, n: int, act: Callable[[], object]) -> None:
        super().__init__(ledger.url)
        self._left, self._act = n, act

    @contextmanager
    def read(self) -> Iterator[Connection]:
        self._count()
        with super().read() as connection:
            yield connection

    @contextmanager
    def write(self, lock: str = "") -> Iterator[Connection]:
        self._count()
        with super().write(lock) as connection:
            yield connection

    def _count(self) -> None:
        self._left -= 1
        if self._left == 0:
            self._act()


@pytest.mark.parametrize("n", range(1, 7))
@pytest.mark.parametrize("by", ["id", "key"])
def test_a_webhook_that_comes_in_during_a_look_is_seen_by_the_next(ledger: Ledger, n: int, by: str) -> None:
    key = f"new_comment:{uuid.uuid4()}"
    event = add_event(ledger, type="porting_order.new_comment", natural_key=key, natural_at=None)
    add_delivery(ledger, type="porting_order.new_comment", natural_key="new_comment:somebody-else")
    more = {"webhook_id": event} if by == "id" else {"natural_key": key}
    crowded = Crowded(ledger, n, lambda: add_delivery(ledger, type="porting_order.new_comment", **more))
    match(Account(crowded, ACCOUNT, SETTINGS))
    with ledger.read() as connection:
        mine = deliveries.c.webhook_id == event if by == "id" else deliveries.c.natural_key == key
        assert connection.execute(deliveries.select().where(mine)).one().matched in (None, by)
    crowded.close()
    settle(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert event_row(ledger, event).delivery == "arrived"


@pytest.mark.parametrize("by", ["id", "key"])
def test_an_event_read_between_matching_and_deciding_finds_its_webhook(ledger: Ledger, by: str) -> None:
    """The webhook was first; the scan brings its event while a look is under way."""
    event, key = str(uuid.uuid4()), f"new_comment:{uuid.uuid4()}"
    more = {"webhook_id": event} if by == "id" else {"natural_key": key}
    add_delivery(ledger, type="porting_order.new_comment", **more)
    match(Account(ledger, ACCOUNT, SETTINGS))
    add_event(ledger, id=event, type="porting_order.new_comment", natural_key=key, natural_at=None)
    decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    settle(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert event_row(ledger, event).delivery == "arrived"


def messaging(ledger: Ledger, order: str, minutes_ago: int, **more: Any) -> str:
    at = NOW - timedelta(minutes=minutes_ago)
    key = f"messaging_changed:{order}:pending"
    given = {"order_id": order, "created_at": at, "natural_key": key, "natural_at": at.isoformat()}
    return add_event(ledger, type=MESSAGING, **given | more)


def told(ledger: Ledger, order: str, minutes_ago: int, **more: Any) -> None:
    at = NOW - timedelta(minutes=minutes_ago)
    times = {"occurred_at": at, "signed_at": at, "stored_at": at, "natural_at": at.isoformat()}
    add_delivery(ledger, type=MESSAGING, natural_key=f"messaging_changed:{order}:pending", **times | more)


@pytest.mark.parametrize("apart", [10, 120])
def test_a_webhook_whose_event_is_not_read_yet_does_not_prove_its_elder_brother(ledger: Ledger, apart: int) -> None:
    """The same messaging state twice: the first one's webhook is lost, the second one's is here before its event."""
    order = str(uuid.uuid4())
    add_watch(ledger, covered_until=NOW - timedelta(minutes=61))
    first = messaging(ledger, order, 60 + apart)
    told(ledger, order, 60)
    settle(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert event_row(ledger, first).delivery == "pending"
    second = messaging(ledger, order, 60)
    add_watch(ledger)
    settle(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert [event_row(ledger, event).delivery for event in (first, second)] == ["missed", "arrived"]


def test_a_webhook_of_long_ago_does_not_prove_an_event_of_today(ledger: Ledger) -> None:
    """Its own event is older than what was ever read."""
    order = str(uuid.uuid4())
    told(ledger, order, 60 * 24 * 20)
    settle(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    event = messaging(ledger, order, 60)
    settle(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert event_row(ledger, event).delivery == "missed"


def test_what_is_told_apart_later_is_decided_again_for_all(ledger: Ledger) -> None:
    """One webhook fits two events alike, until a third is read that it fits better."""
    order = str(uuid.uuid4())
    first, second = messaging(ledger, order, 85), messaging(ledger, order, 65)
    told(ledger, order, 75)
    settle(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert [event_row(ledger, event).delivery for event in (first, second)] == ["undetermined", "undetermined"]
    third = messaging(ledger, order, 75)
    settle(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
    assert [event_row(ledger, event).delivery for event in (first, second, third)] == ["missed", "missed", "arrived"]


def test_no_verdict_while_a_webhook_waits_for_the_scan(ledger: Ledger) -> None:
    """Resent, and the webhook says that it occurred now: it may be another event's, which nobody has read yet."""
    order, sent = str(uuid.uuid4()), NOW - timedelta(minutes=50)
    add_watch(ledger, covered_until=sent)
    event = messaging(ledger, order, 180, sends=1, last_sent_at=sent, last_sent_date=sent)
    row = {"account": ACCOUNT, "plan_id": "p", "event_id": event, "position": 0, "wave": 1, "state": "accepted"}
    row |= {"baseline": [], "sent_at": sent, "reply_date": sent, "due_at": sent + timedelta(minutes=15)}
    with ledger.write() as connection:
        connection.execute(republishes.insert().values(**row))
    told(ledger, order, 49)

    def verdict() -> str:
        settle(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW))
        with ledger.read() as connection:
            return str(connection.execute(republishes.select()).one().state)

    assert verdict() == "accepted"
    add_watch(ledger)
    assert verdict() == "arrived"
