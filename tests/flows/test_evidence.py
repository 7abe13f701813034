"""Evidence that is pulled: the provider's records in every shape, and a table of one's own."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.errors import NotFoundError, SettingsError, TelnyxError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.clock import clock_offset, clock_trouble
from telnyx_porting.flows.deliveries import again as evidence_again
from telnyx_porting.flows.deliveries.again import AT_ONCE
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.deliveries.pull import _Seen, read_deliveries
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.deliveries.table import read_table
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.republish.advance import Done
from telnyx_porting.ledger.tables import deliveries, republishes
from telnyx_porting.models import parse_delivery
from telnyx_porting.settings import Settings
from tests.scenarios.loop import MINUTE, Loop, loop
from tests.support.rows import ACCOUNT, NOW, OLD, add_delivery, add_event, add_feed, add_watch, event_row

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

    from telnyx_porting.ledger.engine import Ledger

TABLE = "table:crm"


@pytest.fixture(scope="module")
def sandbox() -> Iterator[RunningSandbox]:
    with running_sandbox() as running:
        yield running


@pytest.fixture
def world(sandbox: RunningSandbox, tmp_path: Path) -> Iterator[Loop]:
    with loop(sandbox, tmp_path) as running:
        running.begin()
        yield running


def read(world: Loop) -> Any:
    return read_deliveries(Account(world.ledger, ACCOUNT, world.settings, lambda: world.clock.now()), world.client)


def stored(ledger: Ledger, source: str = "deliveries") -> list[Any]:
    with ledger.read() as connection:
        return list(connection.execute(deliveries.select().where(deliveries.c.source == source)))


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
    _Seen(ledger, ACCOUNT, now).take(evidence_again.read(Account(ledger, ACCOUNT), records, now))  # type: ignore[arg-type]


def test_each_lost_record_has_its_turn_and_none_waits_for_others(
    ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evidence_again, "AT_ONCE", 10)
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
    monkeypatch.setattr(evidence_again, "AT_ONCE", 10)
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
            until = evidence_again.covered(connection, ACCOUNT, settings, NOW)
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
        assert abs(clock_offset(connection, ACCOUNT).total_seconds() - 240) < 3
    world.jump(5.0)  # the clock is known to about a second: what is younger comes with a later read
    assert read(world).covered_until > first.covered_until
    assert any(row.webhook_id == event and row.ok for row in stored(world.ledger))


def test_the_clock_finding_names_the_difference() -> None:
    assert clock_trouble(timedelta(seconds=299)) is None
    assert "is 400 s behind Telnyx's" in (clock_trouble(timedelta(seconds=400)) or "")
    assert "is 400 s ahead of Telnyx's" in (clock_trouble(timedelta(seconds=-400)) or "")


def body(order: str, at: str) -> str:
    return (
        f'{{"data":{{"event_type":"porting_order.status_changed","id":"w","occurred_at":"{at}","payload":'
        f'{{"id":"{order}","status":{{"value":"submitted"}},"updated_at":"{at}"}}}}}}'
    )


def test_a_table_of_your_own_matches_by_body(ledger: Ledger) -> None:
    order, at = "0c28cec1-b947-42af-a4b9-36976b4b76b0", NOW - timedelta(hours=1)
    event = add_event(ledger, order_id=order, created_at=at)
    asked = []

    def rows(since: Any) -> Iterator[dict[str, Any]]:
        asked.append(since)
        yield {
            "id": 1,
            "received_at": "2026-10-01 11:00:01",
            "body": body(order, at.isoformat()),
            "signed_at": 1790852401,
        }
        yield {"id": 2, "received_at": NOW, "body": "no webhook"}

    result = read_table(Account(ledger, ACCOUNT, Settings(), lambda: NOW), TABLE, rows)
    assert (result.records, result.new_attempts, result.proved) == (2, 2, True)
    assert read_table(Account(ledger, ACCOUNT, Settings(), lambda: NOW), TABLE, rows).new_attempts == 0
    assert asked[0] < asked[1] < NOW
    add_feed(ledger, "events")  # read so far that no other change of that second can turn up
    match(Account(ledger, ACCOUNT, Settings()))
    assert [row.event_id for row in stored(ledger, TABLE) if row.source_id == "1"] == [event]
    assert event_row(ledger, event).id == event


def test_a_row_that_turns_good_later_is_an_arrival(ledger: Ledger) -> None:
    """A table may say `not processed` first; a record may be listed while its last try still runs."""
    order, at = "0c28cec1-b947-42af-a4b9-36976b4b76b0", NOW - timedelta(hours=1)
    event = add_event(ledger, order_id=order, created_at=at)
    add_watch(ledger)
    settings = Settings(consumer_of_record=TABLE)
    for ok, expected in ((False, "undecided"), (True, "arrived"), (False, "arrived")):
        row = {"id": 1, "received_at": at, "body": body(order, at.isoformat()), "ok": ok}
        read_table(Account(ledger, ACCOUNT, settings, lambda: NOW), TABLE, lambda since, row=row: [row])
        settle(Account(ledger, ACCOUNT, settings, lambda: NOW))
        assert (event_row(ledger, event).delivery == "arrived") == (expected == "arrived")
    assert [row.ok for row in stored(ledger, TABLE)] == [True]


@pytest.mark.parametrize("no", [False, 0, "0", "f", "False", "FALSE", "no", "", b"\x00", None, Decimal(0)])
def test_whatever_a_database_calls_false_is_no_arrival(ledger: Ledger, no: Any) -> None:
    rows = [{"id": 1, "received_at": NOW, "ok": no}, {"id": 2, "received_at": NOW}]
    rows += [{"id": nr, "received_at": NOW, "ok": yes} for nr, yes in enumerate((True, 1, "t", "Yes", b"\x01"), 3)]
    read_table(Account(ledger, ACCOUNT, Settings(), lambda: NOW), TABLE, lambda since: rows)
    assert {row.source_id for row in stored(ledger, TABLE) if not row.ok} == {"1"}


def test_two_tries_begun_in_one_second_are_two(ledger: Ledger) -> None:
    """Times may be written without a fraction, and a refused try has its successor in the same second."""
    at = "2026-10-01T11:00:00Z"
    tries = [{"status": status, "started_at": at, "errors": []} for status in ("delivered", "failed")]  # newest first
    record = {"id": "r", "status": "delivered", "webhook": {"event_type": "porting_order.split"}, "attempts": tries}
    for _ in range(2):
        _Seen(ledger, ACCOUNT, NOW).take([parse_delivery(record)])
    assert sorted(row.ok for row in stored(ledger)) == [False, True]


def test_a_table_vouches_from_its_first_webhook_on(ledger: Ledger) -> None:
    """It was begun an hour ago: what was due before is not missed, only unknown."""
    order, at = "0c28cec1-b947-42af-a4b9-36976b4b76b0", NOW - timedelta(hours=1)
    before = add_event(ledger, created_at=NOW - timedelta(hours=5))
    since_then = add_event(ledger, created_at=NOW - timedelta(minutes=50))
    for _ in range(3):
        add_event(ledger, delivery="arrived", arrived_at=NOW)
    add_watch(ledger)
    settings = Settings(consumer_of_record=TABLE)
    row = {"id": 1, "received_at": at, "body": body(order, at.isoformat())}
    for rows in ([{"id": 0, "received_at": NOW - timedelta(days=3), "body": "{}"}], [row]):
        read_table(Account(ledger, ACCOUNT, settings, lambda: NOW), TABLE, lambda since, rows=rows: rows)
    settle(Account(ledger, ACCOUNT, settings, lambda: NOW))
    assert [event_row(ledger, event).delivery for event in (before, since_then)] == ["undetermined", "missed"]


def test_what_is_not_due_yet_is_read_again(ledger: Ledger) -> None:
    """A table that is filled every few hours, by somebody who sets `grace` to match."""
    asked = []
    settings = Settings(grace=timedelta(hours=5), overlap=timedelta(hours=1))
    for _ in range(2):
        read_table(Account(ledger, ACCOUNT, settings, lambda: NOW), TABLE, lambda since: asked.append(since) or [])
    assert asked[1] <= NOW - timedelta(hours=5)


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"id": 1, "received_at": NOW, "ok": "maybe"}, "ok 'maybe'"),
        ({"received_at": NOW}, "a row without id"),
        ({"id": 1}, "a row without received_at"),
        ({"id": 1, "received_at": "yesterday"}, "received_at 'yesterday'"),
    ],
)
def test_a_row_that_cannot_be_read_moves_no_coverage(ledger: Ledger, row: dict[str, Any], why: str) -> None:
    with pytest.raises(SettingsError, match=why):
        read_table(Account(ledger, ACCOUNT, Settings(), lambda: NOW), TABLE, lambda since: [row])
    with ledger.read() as connection:
        assert get_feed(connection, ACCOUNT, TABLE) is None
