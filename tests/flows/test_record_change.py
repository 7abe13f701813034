"""Another consumer of record takes over: what was missed stays missed until evidence that covers it says otherwise."""

from __future__ import annotations

from contextlib import closing
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.deliveries.consumer import find_record
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.kind import Look
from telnyx_porting.flows.findings.reconcile import see
from telnyx_porting.flows.republish.advance import Done
from telnyx_porting.ledger.tables import events
from telnyx_porting.settings import Settings
from tests.scenarios.ear import Ear
from tests.scenarios.loop import MINUTE, loop
from tests.support.ledgers import new_file
from tests.support.rows import ACCOUNT, NOW, add_delivery, add_event, add_feed, add_watch, event_row

if TYPE_CHECKING:
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger

SETTINGS = Settings()
CRM, OURS = "https://crm.example/hook", "https://here.example/webhooks/telnyx/telnyx_default"


def at(minutes: float) -> datetime:
    """Minutes from when the receiver heard its first webhook."""
    return NOW + timedelta(minutes=minutes)


@pytest.fixture
def crm(ledger: Ledger) -> None:
    """The provider's records decide, and they show failures."""
    add_watch(ledger, clock_offset=0)
    known = {CRM: at(0).isoformat()}
    add_feed(ledger, "deliveries", known=known)
    add_feed(ledger, "subscriptions", known={"mails": 0, "webhooks": []})
    for _ in range(3):
        add_event(ledger, delivery="arrived", arrived_at=NOW, created_at=at(-60))
    look(ledger, -1)


def look(ledger: Ledger, minutes: float, settings: Settings = SETTINGS) -> None:
    add_feed(ledger, "deliveries", covered_until=at(minutes - 1), **_now(ledger))
    match(Account(ledger, ACCOUNT, settings))
    decide(Account(ledger, ACCOUNT, settings, lambda: at(minutes)))


def _now(ledger: Ledger) -> dict[str, Any]:
    with ledger.read() as connection:
        feed = get_feed(connection, ACCOUNT, "deliveries")
    return {"known": feed["known"]} if feed else {}


def lost(ledger: Ledger, minutes: float, **given: Any) -> str:
    event = add_event(ledger, created_at=at(minutes), **given)
    add_delivery(ledger, source="deliveries", webhook_id=event, destination=CRM, ok=False, signed_at=at(minutes))
    return event


def set_up_receiver(ledger: Ledger) -> None:
    """Its first webhook comes, and the provider's records show its URL too."""
    add_feed(ledger, covers_from=at(0), proved_at=at(0), heartbeat=at(600), clock_offset=0)
    seen = {CRM: at(0).isoformat(), OURS: at(0).isoformat()}
    add_feed(ledger, "deliveries", covered_until=at(-1), known=seen)
    for source in ("receiver", "deliveries"):
        add_delivery(ledger, source=source, destination=OURS, signed_at=at(0), stored_at=at(0))


def record_at(ledger: Ledger, minutes: float, settings: Settings = SETTINGS) -> str:
    with ledger.read() as connection:
        record = find_record(connection, ACCOUNT, settings, at(minutes))
    assert record is not None
    return record.source


def told(ledger: Ledger, minutes: float) -> str | None:
    with ledger.read() as connection:
        found = see(Look(connection, ACCOUNT, SETTINGS, at(minutes))).get("health:record")
    return str(found.detail["text"]) if found else None


@pytest.mark.usefixtures("crm")
def test_what_was_missed_stays_missed_and_the_change_is_told(ledger: Ledger) -> None:
    early, late = lost(ledger, -40), lost(ledger, -5)
    look(ledger, -1)
    assert [event_row(ledger, event).delivery for event in (early, late)] == ["missed", "pending"]
    set_up_receiver(ledger)
    look(ledger, 1)
    assert event_row(ledger, early).delivery == "missed"
    assert event_row(ledger, late).delivery == "pending", "who decided so far judges it, when its time is up"
    assert told(ledger, 1) is None
    for minutes in (12, 20, 60, 300):
        look(ledger, minutes)
        assert {event_row(ledger, event).delivery for event in (early, late)} == {"missed"}, minutes
    assert record_at(ledger, 20) == "receiver"
    assert "receiver decides now" in (told(ledger, 300) or "")
    assert "no longer deliveries" in (told(ledger, 300) or "")
    assert told(ledger, 26 * 60) is None


@pytest.mark.usefixtures("crm")
@pytest.mark.parametrize(("arrives", "delivery"), [(True, "arrived"), (False, "missed")])
def test_evidence_that_covers_it_decides(ledger: Ledger, arrives: bool, delivery: str) -> None:
    """It is sent again after the receiver took over: that, the receiver covers."""
    event = lost(ledger, -40)
    look(ledger, -1)
    set_up_receiver(ledger)
    look(ledger, 20)
    with ledger.write() as connection:
        connection.execute(
            events.update().values(sends=1, last_sent_at=at(30), last_sent_date=at(30), delivery=None)
            .where(events.c.id == event)
        )  # fmt: skip
    look(ledger, 31)
    assert event_row(ledger, event).delivery == "pending"
    if arrives:
        add_delivery(ledger, webhook_id=event, destination=OURS, signed_at=at(31), stored_at=at(31))
    look(ledger, 50)
    assert event_row(ledger, event).delivery == delivery


@pytest.mark.usefixtures("crm")
def test_what_nobody_covered_is_not_missed(ledger: Ledger) -> None:
    """A first look, or an event read late: it was never found missed, so it is unknown, and failures change nothing."""
    set_up_receiver(ledger)
    look(ledger, 20)
    event = lost(ledger, -40)
    look(ledger, 80)
    assert event_row(ledger, event).delivery == "undetermined"


@pytest.mark.usefixtures("crm")
def test_a_feed_that_is_read_no_more_does_not_decide_for_ever(ledger: Ledger) -> None:
    set_up_receiver(ledger)
    assert record_at(ledger, 30) == "deliveries"
    assert record_at(ledger, 90) == "receiver"


@pytest.mark.usefixtures("crm")
def test_a_person_who_chooses_is_obeyed_at_once_and_nothing_missed_is_forgotten(ledger: Ledger) -> None:
    event = lost(ledger, -40)
    look(ledger, -1)
    set_up_receiver(ledger)
    chosen = Settings(consumer_of_record="receiver")
    assert record_at(ledger, 1, chosen) == "receiver"
    look(ledger, 1, chosen)
    assert event_row(ledger, event).delivery == "missed"
    assert told(ledger, 1)


def test_the_first_to_decide_is_no_change(ledger: Ledger) -> None:
    add_watch(ledger)
    add_feed(ledger)
    for minutes in (0, 1):
        decide(Account(ledger, ACCOUNT, SETTINGS, lambda minutes=minutes: at(minutes)))
    assert told(ledger, 2) is None


def test_a_receiver_set_up_after_an_outage_gets_what_was_lost_in_it(sandbox: RunningSandbox, tmp_path: Path) -> None:
    with (
        loop(sandbox, tmp_path) as world,
        new_file() as elsewhere,
        closing(Ear(elsewhere, ACCOUNT, sandbox.public_key, world.clock.now)) as consumer,
    ):
        sandbox.subscribe(consumer.url)
        world.scan()
        world.jump(30)
        world.events(3)
        world.jump(30 * MINUTE)
        world.look()
        consumer.reachable = False
        missed = world.events(5)
        world.jump(20 * MINUTE)
        world.look()
        assert {world.states()[event] for event in missed} == {"missed"}
        consumer.reachable = True
        sandbox.subscribe(world.ear.url)
        world.ear.beat()
        world.events(1)
        for _ in range(3):
            world.jump(10 * MINUTE)
            world.look()
            assert {world.states()[event] for event in missed} == {"missed"}
        assert isinstance(world.cycle(), Done)
        assert {world.states()[event] for event in missed} == {"arrived"}
        assert world.verdicts() == {"arrived": len(missed)}
        assert world.false_verdicts() == []
        with world.ledger.read() as connection:
            assert "health:record" in see(Look(connection, ACCOUNT, world.settings, world.clock.now()))
