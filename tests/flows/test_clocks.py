"""Clocks that differ by minutes, in every direction: nothing is judged, sent or told otherwise for it, but the finding.

`ours`, `provider` and `receiver` are seconds ahead of the true time; everything happens at true times.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.clock import Clocks, read_clocks
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.deliveries.receipts import read_receipt, reading_ages, store_receipts
from telnyx_porting.flows.deliveries.table import read_table
from telnyx_porting.flows.desk.preflight import _receiver
from telnyx_porting.flows.desk.status import status
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.flows.findings.health import watch_clock
from telnyx_porting.flows.findings.kind import Look
from telnyx_porting.flows.findings.reconcile import see
from telnyx_porting.flows.orders import wakeups
from telnyx_porting.flows.republish.gates import unsafe
from telnyx_porting.ledger.tables import findings
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, NOW, OLD, add_delivery, add_event, add_feed, add_watch, body, event_row

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

SETTINGS = Settings(consumer_of_record="receiver", republish_mode="auto")
# (ours, provider, receiver), all that count: what matters is how far they are from each other
SKEWS = [(ours, 0, receiver) for ours, receiver in product([-240, 0, 240], [-240, 0, 240])] + [(0, 0, -130)]
FARTHEST = [(-240, 0, 240), (240, 0, -240)]


class World:
    """A ledger written by three machines whose clocks are wrong."""

    def __init__(self, ledger: Ledger, ours: int, provider: int, receiver: int) -> None:
        self.ledger, self.skews = ledger, (ours, provider, receiver)
        offset = (provider - ours) * 1_000
        add_watch(ledger, self.ours(OLD), clock_offset=offset, covered_until=self.provider(NOW))

    def ours(self, at: datetime = NOW) -> datetime:
        return at + timedelta(seconds=self.skews[0])

    def provider(self, at: datetime) -> datetime:
        return at + timedelta(seconds=self.skews[1])

    def receiver(self, at: datetime) -> datetime:
        return at + timedelta(seconds=self.skews[2])

    def body(self, at: datetime) -> str:
        return body("o", at.isoformat()).replace("submitted", "exception")

    def webhook(self, at: datetime) -> dict[str, Any]:
        """What the receiver makes of a webhook that took a second to come."""
        signed, came = self.provider(at).replace(microsecond=0), self.receiver(at + timedelta(seconds=1))
        return read_receipt(ACCOUNT, self.body(signed).encode(), signed, "/webhooks", came)

    def beat(self, at: datetime, *webhooks: datetime) -> None:
        store_receipts(self.ledger, [ACCOUNT], [self.webhook(one) for one in webhooks], {}, self.receiver(at))

    def event(self, at: datetime, **given: Any) -> str:
        return add_event(self.ledger, created_at=self.provider(at), **given)

    def told(self) -> set[str]:
        with self.ledger.read() as connection:
            return {key for key in see(Look(connection, ACCOUNT, SETTINGS, self.ours())) if key.startswith("health:")}

    def stop(self) -> str | None:
        with self.ledger.read() as connection:
            stop = unsafe(connection, ACCOUNT, SETTINGS, self.ours())
        return stop.reason if stop else None


@pytest.fixture(
    params=[pytest.param(skew, id=str(skew), marks=() if skew in FARTHEST else pytest.mark.sampled) for skew in SKEWS]
)
def world(ledger: Ledger, request: pytest.FixtureRequest) -> World:
    return World(ledger, *request.param)


def ago(**units: float) -> datetime:
    return NOW - timedelta(**units)


@pytest.mark.parametrize(("silent_for", "stopped"), [(110, False), (135, True), (310, True)])
def test_two_minutes_of_silence_stop_and_five_are_told(world: World, silent_for: int, stopped: bool) -> None:
    """Whoever is ahead of whom: a living receiver is alive, and a dead one is seen to be as soon as ever."""
    world.beat(ago(days=2), ago(days=2))
    world.beat(ago(seconds=silent_for), ago(seconds=silent_for))
    assert ("silent" in (world.stop() or "")) == stopped
    dead = silent_for > 300
    assert ("health:receiver" in world.told()) == dead
    with world.ledger.read() as connection:
        assert any("not been alive" in str(line) for line in _receiver(connection, ACCOUNT, world.ours())) == dead
    told = status(world.ledger, world.ours()).split("receiver: evidence up to ")[1].split(" s ago")[0]
    assert abs(int(told.split("(")[1]) - silent_for) <= 3


def test_an_outage_explains_what_was_lost_in_it_and_nothing_else(world: World) -> None:
    world.beat(ago(days=2), ago(days=2))
    world.beat(ago(hours=3), ago(hours=3))
    world.beat(ago(hours=3, minutes=-10), ago(hours=3, minutes=-10))
    world.beat(NOW, NOW)
    with world.ledger.write() as connection:  # the heart beat between
        touch_feed(world.ledger, connection, ACCOUNT, "receiver", outages=_first(world.ledger))
    inside = [world.event(ago(hours=3, minutes=-5)) for _ in range(4)]
    assert decide(Account(world.ledger, ACCOUNT, SETTINGS, lambda: world.ours())) is None
    assert {event_row(world.ledger, event).delivery for event in inside} == {"missed"}
    for beside in (ago(hours=3, minutes=3), ago(hours=3, minutes=-13)):
        world.event(beside)
    assert "2 of 2" in (decide(Account(world.ledger, ACCOUNT, SETTINGS, lambda: world.ours())) or "")


def _first(ledger: Ledger) -> str:
    with ledger.read() as connection:
        feed = get_feed(connection, ACCOUNT, "receiver")
    assert feed is not None
    return " ".join(sorted(feed["outages"].split())[1:2]) + " "


def test_an_outage_is_where_it_was_although_the_clock_was_set_since(ledger: Ledger) -> None:
    world = World(ledger, 0, 0, 200)
    world.beat(ago(minutes=40), ago(minutes=40))
    world.beat(ago(minutes=30), ago(minutes=30))
    world.skews = (0, 0, 0)
    world.beat(NOW, NOW)
    event = world.event(ago(minutes=35))
    assert decide(Account(ledger, ACCOUNT, SETTINGS, lambda: NOW)) is None
    assert event_row(ledger, event).delivery == "missed"


def test_coverage_begins_with_the_first_webhook(world: World) -> None:
    world.beat(ago(hours=2), ago(hours=2))
    world.beat(NOW, NOW)
    for _ in range(3):
        world.event(ago(hours=1), delivery="arrived", arrived_at=NOW)
    before, after = world.event(ago(hours=2, minutes=1)), world.event(ago(hours=2, minutes=-1))
    decide(Account(world.ledger, ACCOUNT, SETTINGS, lambda: world.ours()))
    assert [event_row(world.ledger, event).delivery for event in (before, after)] == ["undetermined", "missed"]


@pytest.mark.parametrize(("age", "missed"), [(16, True), (14, False)])
def test_an_event_is_missed_when_its_grace_is_over(world: World, age: int, missed: bool) -> None:
    world.beat(ago(days=2), ago(days=2))
    world.beat(NOW, NOW)
    for _ in range(3):
        world.event(ago(hours=1), delivery="arrived", arrived_at=NOW)
    event = world.event(ago(minutes=age))
    match(Account(world.ledger, ACCOUNT, SETTINGS))
    decide(Account(world.ledger, ACCOUNT, SETTINGS, lambda: world.ours()))
    assert (event_row(world.ledger, event).delivery == "missed") == missed


def test_whoever_is_wrong_is_told_and_wakes(world: World) -> None:
    """The promised two minutes: who looks for wake-ups sees it, ahead or behind, until the finding says it."""
    ours, provider, receiver = world.skews
    world.beat(NOW, NOW)

    def wakes() -> bool:
        with world.ledger.read() as connection:
            return bool(wakeups.clocks_wrong(connection, [ACCOUNT], world.ours()))

    assert wakes() == (provider != receiver)
    watch_clock(Account(world.ledger, ACCOUNT, clock=lambda: world.ours()), timedelta(seconds=provider - ours))
    with world.ledger.read() as connection:
        told = connection.execute(findings.select()).mappings().one_or_none()
    if ours == provider == receiver:
        assert told is None
        return
    assert told is not None
    assert told["severity"] == "high"
    assert ("this machine's clock" in told["detail"]["text"]) == (ours != provider)
    assert ("the receiver's clock" in told["detail"]["text"]) == (receiver != provider)
    assert not wakes()


@pytest.mark.parametrize(("seconds", "wakes"), [(595, True), (605, False)])
def test_a_webhook_wakes_for_ten_minutes(world: World, seconds: int, wakes: bool) -> None:
    world.beat(NOW, ago(seconds=seconds))
    with world.ledger.read() as connection:
        assert bool(wakeups.waking(connection, [ACCOUNT], world.ours())) == wakes


def test_the_receivers_watch_tells_the_true_age(world: World) -> None:
    world.beat(NOW, NOW)
    (age,) = reading_ages(world.ledger, [ACCOUNT], world.receiver(NOW + timedelta(seconds=90))).values()
    assert age is not None
    assert abs(age - 90) <= 3


@pytest.mark.parametrize(("minutes", "told"), [(28, True), (32, False)])
def test_failing_for_half_an_hour_is_half_an_hour(world: World, minutes: int, told: bool) -> None:
    for _ in range(6):
        add_delivery(world.ledger, source="deliveries", ok=False, signed_at=world.provider(ago(minutes=minutes)))
    assert ("health:consumer" in world.told()) == told


@pytest.mark.parametrize(("minutes", "told"), [(29, False), (33, True)])
def test_nothing_read_for_half_an_hour_is_half_an_hour(world: World, minutes: int, told: bool) -> None:
    add_feed(world.ledger, "events", covered_until=world.provider(ago(minutes=minutes)))
    assert ("health:nothing_sealed" in world.told()) == told


def test_a_table_vouches_from_its_first_webhook_on(world: World) -> None:
    settings, first = Settings(consumer_of_record="table:crm"), ago(hours=2)
    signed = world.provider(first).replace(microsecond=0)
    row = {"id": 1, "received_at": world.receiver(first), "signed_at": signed, "body": body("o", signed.isoformat())}
    read_table(Account(world.ledger, ACCOUNT, settings, lambda: world.ours()), "table:crm", lambda since: [row])
    with world.ledger.read() as connection:
        feed = get_feed(connection, ACCOUNT, "table:crm")
    assert feed is not None
    assert abs(feed["covers_from"] - world.ours(first)) <= timedelta(seconds=2)


@pytest.mark.parametrize("at", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)])
@pytest.mark.parametrize("seconds", [-240, 240])
def test_a_time_at_the_ends_of_the_calendar_is_a_time(at: datetime, seconds: int) -> None:
    assert Clocks(timedelta(seconds=seconds)).from_provider(at).tzinfo is UTC


@pytest.mark.parametrize("age", [6, 200, 299])
def test_a_replay_does_not_tell_the_time(ledger: Ledger, age: int) -> None:
    """Whoever has an old webhook could else make a living receiver look dead."""
    world = World(ledger, 0, 0, 0)
    world.beat(ago(seconds=age), ago(seconds=age))
    replayed = world.webhook(ago(seconds=age)) | {"stored_at": NOW}
    store_receipts(ledger, [ACCOUNT], [replayed], {}, NOW)
    with ledger.read() as connection:
        assert abs(read_clocks(connection, ACCOUNT).receiver) <= timedelta(seconds=2)
    assert world.stop() is None


def test_an_old_replay_moves_no_time(ledger: Ledger) -> None:
    """A signature of last year is refused; that difference is told, and the living receiver stays alive."""
    world = World(ledger, 0, 0, 0)
    world.beat(NOW, NOW)
    store_receipts(ledger, [ACCOUNT], [], {ACCOUNT: 1}, NOW, {ACCOUNT: timedelta(days=-300)})
    assert "health:receiver" not in world.told()


@pytest.mark.parametrize("who", ["ours", "provider", "both of ours"])
@pytest.mark.parametrize("seconds", [-240, 240])
@pytest.mark.parametrize(("silent_for", "stopped"), [(10, False), (135, True)])
def test_a_clock_that_is_set_between_two_webhooks(
    ledger: Ledger, who: str, seconds: int, silent_for: int, stopped: bool
) -> None:
    """The scan measures it at once, the receiver with its next webhook only: alive or dead as before."""
    world = World(ledger, 0, 0, 0)
    world.beat(ago(hours=1), ago(hours=1))
    decide(Account(ledger, ACCOUNT, SETTINGS, lambda: world.ours()))
    world.skews = {"ours": (seconds, 0, 0), "provider": (0, seconds, 0), "both of ours": (seconds, 0, seconds)}[who]
    ours, provider, _ = world.skews
    watch_clock(Account(ledger, ACCOUNT, clock=lambda: world.ours()), timedelta(seconds=provider - ours))
    world.beat(ago(seconds=silent_for))
    assert ("silent" in (world.stop() or "")) == stopped
