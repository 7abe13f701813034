"""Evidence that is pulled: the provider's records in every shape, and read again until they are final."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.errors import NotFoundError, TelnyxError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.clock import clock_trouble, read_clocks
from telnyx_porting.flows.deliveries import pull
from telnyx_porting.flows.deliveries.pull import AT_ONCE, Reading, failed_again, read_deliveries
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.republish.advance import Done
from telnyx_porting.ledger.tables import republishes
from telnyx_porting.models.records import parse_delivery
from telnyx_porting.settings import Settings
from tests.scenarios.loop import MINUTE, Loop, loop
from tests.support.rows import ACCOUNT, NOW, OLD, add_delivery, add_event, stored

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger


def read(world: Loop) -> Any:
    return read_deliveries(Account(world.ledger, ACCOUNT, world.settings, lambda: world.clock.now()), world.client)


@pytest.mark.parametrize("shape", ["published", "drifted"])
@pytest.mark.parametrize("errors", ["integers", "objects"])
def test_every_attempt_is_kept_in_every_shape(world: Loop, shape: str, errors: str) -> None:
    world.sandbox.switches(delivery_shape=shape, delivery_errors=errors)
    before = len(stored(world.ledger))
    world.ear.reachable = False
    (event,) = world.events(1)
    world.jump(10 * MINUTE)
    assert read(world).new_attempts == 3
    assert read(world).new_attempts == 0
    rows = [row for row in stored(world.ledger) if row.webhook_id == event]
    assert len(rows) == len(stored(world.ledger)) - before == 3
    assert {(row.ok, row.destination, row.error_code) for row in rows} == {(False, world.ear.url, "75599")}
    assert len({row.signed_at for row in rows}) == 3


def test_coverage_moves_only_with_a_complete_reading(world: Loop) -> None:
    with world.ledger.read() as connection:
        before = get_feed(connection, ACCOUNT, "deliveries")
    world.jump(5 * MINUTE)
    world.sandbox.fault("status", status=403, path="/v2/webhook_deliveries")
    with pytest.raises(TelnyxError):
        read(world)
    with world.ledger.read() as connection:
        after = get_feed(connection, ACCOUNT, "deliveries")
    assert before is not None
    assert after is not None
    assert after["covered_until"] == before["covered_until"]
    assert "403" in after["error"]


def test_coverage_begins_anew_after_a_long_silence(world: Loop) -> None:
    """Records of the time in between may be gone, so what was due then cannot be judged."""
    world.jump(30 * 60 * MINUTE)
    read(world)
    with world.ledger.read() as connection:
        feed = get_feed(connection, ACCOUNT, "deliveries")
    assert feed is not None
    assert feed["covers_from"] >= world.clock.now() - timedelta(minutes=5)


@pytest.mark.parametrize("heard", [True, False])
def test_records_vouch_no_further_back_than_they_go(sandbox: RunningSandbox, tmp_path: Path, heard: bool) -> None:
    """The key may read them only now: how long Telnyx keeps them is not documented."""
    with loop(sandbox, tmp_path) as world:
        sandbox.subscribe(world.ear.url)
        world.scan()
        world.jump(120 * MINUTE)
        if heard:
            world.events(1)
        world.jump(120 * MINUTE)
        read(world)
        with world.ledger.read() as connection:
            feed = get_feed(connection, ACCOUNT, "deliveries")
        assert feed is not None
        age = world.clock.now() - feed["covers_from"]
        assert abs(age - timedelta(minutes=120 if heard else 1)) < timedelta(minutes=1)


@pytest.mark.parametrize("order", ["canary_first", "canary_last"])
def test_what_awaits_a_verdict_is_read_again_before_all_that_is_lost(
    sandbox: RunningSandbox, tmp_path: Path, order: str
) -> None:
    """The provider appends to old records; more are lost than are read again at once, before or after the canary's."""
    with loop(sandbox, tmp_path) as world:
        world.use(consumer_of_record=f"deliveries:{world.ear.url}")
        sandbox.switches(republish_delivery="appended_unmoved")
        world.begin()
        world.ear.reachable = False
        lost = []
        for count in (1, AT_ONCE + 20) if order == "canary_first" else (AT_ONCE + 20, 1):
            lost += world.events(count)
            world.jump(20 * MINUTE)
            world.look()
        world.jump(120 * MINUTE)  # the old records are no longer listed among the new
        world.look()
        world.ear.reachable = True
        assert isinstance(world.cycle(), Done)
        assert world.false_verdicts() == []
        assert world.verdicts() == {"arrived": len(lost)}


class Records:
    """A provider that keeps records by id, and counts how often each is asked for."""

    def __init__(self, good: Collection[str] = ()) -> None:
        self.asked: Counter[str] = Counter()
        self.good = good

    def get_webhook_delivery(self, record_id: str) -> Any:
        self.asked[record_id] += 1
        if record_id.startswith("gone"):
            raise NotFoundError("no such record")
        status = "delivered" if record_id in self.good else "failed"
        tries = [{"status": status, "started_at": NOW.isoformat(), "errors": []}]
        return parse_delivery(
            {"id": record_id, "status": status, "webhook": {"event_type": "porting_order.split"}, "attempts": tries}
        )


def lost_with_record(ledger: Ledger, record: str, *, awaited: bool = False, **given: Any) -> str:
    at = NOW - timedelta(hours=3)
    event = add_event(ledger, **{"delivery": "missed", "created_at": at, **given})
    add_delivery(ledger, source="deliveries", record_id=record, event_id=event, matched="id", ok=False, stored_at=at)
    if awaited:
        add_republish(ledger, event)
    return event


def add_republish(ledger: Ledger, event: str, sent_at: Any = NOW - timedelta(minutes=20), **given: Any) -> None:
    row = {
        "account": ACCOUNT, "plan_id": "p", "event_id": event, "position": 0, "wave": 1, "state": "accepted", "n": 1,
        "owner": "o", "baseline": [], "sent_at": sent_at, "reply_date": sent_at,
        "due_at": sent_at + timedelta(minutes=15),
    }  # fmt: skip
    with ledger.write() as connection:
        connection.execute(republishes.insert().values(**row | given))


def read_again(ledger: Ledger, records: Records, now: Any) -> None:
    account = Account(ledger, ACCOUNT)
    Reading(account, now).take(failed_again(account, records, now))  # type: ignore[arg-type]


def test_each_lost_record_has_its_turn_and_none_waits_for_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pull, "AT_ONCE", 10)
    for number in range(25):
        lost_with_record(ledger, f"{'gone' if number % 5 == 0 else 'lost'}{number}")
    for number in range(3):
        lost_with_record(ledger, f"awaited{number}", awaited=True, delivery=None)
    lost_with_record(ledger, "lately", delivery="given_up", last_sent_at=NOW - timedelta(hours=2))
    lost_with_record(ledger, "long_ago", delivery="given_up", last_sent_at=OLD)
    lost_with_record(ledger, "there", delivery="arrived", arrived_at=OLD)
    records = Records()
    for cycle in range(8):
        before = records.asked.total()
        read_again(ledger, records, NOW + timedelta(minutes=cycle))
        assert records.asked.total() - before <= 10
        assert {records.asked[f"awaited{number}"] for number in range(3)} == {cycle + 1}, "always"
    others = {name: count for name, count in records.asked.items() if not name.startswith("awaited")}
    assert len(others) == 26, "also the one given up lately; neither what arrived nor what is history"
    assert max(others.values()) - min(others.values()) <= 1, "fair"


@pytest.mark.parametrize("count", [5, 25])
def test_nothing_is_covered_while_what_awaits_a_verdict_is_unread(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch, count: int
) -> None:
    """More records than one reading takes: the verdict waits for the last of them, however many readings that are."""
    monkeypatch.setattr(pull, "AT_ONCE", 10)
    settings = Settings()
    event = lost_with_record(ledger, "r0", awaited=True, delivery=None)
    for number in range(1, count):
        at = NOW - timedelta(hours=3)
        add_delivery(
            ledger, source="deliveries", record_id=f"r{number}", event_id=event, matched="id", ok=False, stored_at=at
        )
    due = NOW - timedelta(minutes=5)
    records, readings = Records(), 0
    while True:
        with ledger.read() as connection:
            until = pull.covered_until(connection, ACCOUNT, settings, NOW)
        if until == NOW:
            break
        assert until < due
        assert readings < 5
        read_again(ledger, records, NOW)
        readings += 1
    assert readings == -(-count // 10)
    assert set(records.asked) == {f"r{number}" for number in range(count)}


def test_a_wrong_clock_moves_no_coverage_ahead_of_what_was_read(world: Loop) -> None:
    world.skew(provider=240)
    world.ear.skew = timedelta(seconds=240)
    world.jump(MINUTE)
    (event,) = world.events(1)
    first = read(world)  # asked for by a clock that was not known to be wrong
    assert first.covered_until <= world.clock.now() - timedelta(seconds=240)
    with world.ledger.read() as connection:
        assert abs(read_clocks(connection, ACCOUNT).provider.total_seconds() - 240) < 3
    world.jump(5.0)  # the clock is known to about a second: what is younger comes with a later read
    assert read(world).covered_until > first.covered_until
    assert any(row.webhook_id == event and row.ok for row in stored(world.ledger))


def test_the_clock_finding_names_the_difference() -> None:
    assert clock_trouble(timedelta(seconds=299)) is None
    assert "is 400 s behind Telnyx's" in (clock_trouble(timedelta(seconds=400)) or "")
    assert "is 400 s ahead of Telnyx's" in (clock_trouble(timedelta(seconds=-400)) or "")


def test_two_tries_begun_in_one_second_are_two(ledger: Ledger) -> None:
    """Times may be written without a fraction, and a refused try has its successor in the same second."""
    at = "2026-10-01T11:00:00Z"
    tries = [{"status": status, "started_at": at, "errors": []} for status in ("delivered", "failed")]  # newest first
    record = {"id": "r", "status": "delivered", "webhook": {"event_type": "porting_order.split"}, "attempts": tries}
    for _ in range(2):
        Reading(Account(ledger, ACCOUNT), NOW).take([parse_delivery(record)])
    assert sorted(row.ok for row in stored(ledger)) == [False, True]
