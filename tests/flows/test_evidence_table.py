"""Evidence from a table of one's own: whose row proves what, and from when on the table vouches."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from telnyx_porting.errors import SettingsError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.deliveries.table import read_table
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.settings import Settings
from tests.support.ledgers import new_file
from tests.support.rows import ACCOUNT, NOW, add_event, add_feed, add_watch, body, event_row, stored

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.ledger.engine import Ledger

TABLE = "table:crm"


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


@settings(max_examples=20)
@given(
    shift=st.integers(-28, 28).map(lambda halves: timedelta(minutes=30 * halves)),
    pauses=st.lists(st.integers(1, 400), min_size=1, max_size=12),
    every=st.sampled_from([15, 60]),
)
def test_nothing_is_covered_that_a_query_left_out(shift: timedelta, pauses: list[int], every: int) -> None:
    """Whatever zone the query takes the time for that it is given: another one of up to 14 hours."""
    came = [NOW - timedelta(hours=1)]
    for pause in pauses:
        came.append(came[-1] + timedelta(minutes=pause))
    table = [
        {"id": n, "received_at": at, "webhook_id": str(n), "event_type": "porting_order.new_comment"}
        for n, at in enumerate(came)
    ]
    now = NOW
    with new_file() as ledger:
        while now < came[-1] + timedelta(hours=2):
            there = [row for row in table if row["received_at"] <= now]
            account = Account(ledger, ACCOUNT, Settings(), lambda now=now: now)
            shown = lambda since, there=there: [row for row in there if row["received_at"] >= since + shift]  # noqa: E731
            result = read_table(account, TABLE, shown)
            with ledger.read() as connection:
                feed = get_feed(connection, ACCOUNT, TABLE)
            assert feed is not None
            read = {row.source_id for row in stored(ledger, TABLE)}
            covered = [row for row in there if feed["covers_from"] <= row["received_at"] <= feed["covered_until"]]
            assert {str(row["id"]) for row in covered} <= read
            assert feed["error"] == result.trouble
            if shift <= timedelta(0):
                assert (result.trouble, result.covered_until) == (None, now - Settings().settle)
            now += timedelta(minutes=every)


def test_a_row_that_is_not_shown_any_more_stops_the_coverage_for_a_day(ledger: Ledger) -> None:
    rows = [{"id": n, "received_at": NOW - timedelta(minutes=n), "body": body("o", NOW.isoformat())} for n in (1, 20)]

    def look(hours: float, shown: list[Any]) -> tuple[Any, Any]:
        now = NOW + timedelta(hours=hours)
        result = read_table(Account(ledger, ACCOUNT, Settings(), lambda: now), TABLE, lambda since: shown)
        with ledger.read() as connection:
            return result, get_feed(connection, ACCOUNT, TABLE)

    first, _ = look(0, rows)
    for hours in (0.2, 23):
        result, feed = look(hours, rows[:1])
        assert "rows that table:crm showed are not shown any more (1, for example 20)" in (result.trouble or "")
        assert (result.covered_until, feed["covers_from"]) == (first.covered_until, NOW - timedelta(minutes=20))
    result, feed = look(24.5, rows[:1])
    assert feed["covers_from"] == feed["covered_until"] == NOW + timedelta(hours=24.5) - Settings().settle
    assert look(24.6, [])[0].trouble is None


@pytest.mark.parametrize("no_webhook", ["no webhook", "{}", {}, {"status": "ok"}, [1], 7, 10**12, True, b"\xff", b""])
def test_rows_of_which_none_is_a_webhook_are_told(ledger: Ledger, no_webhook: Any) -> None:
    row = {"id": 1, "received_at": NOW, "body": no_webhook}
    webhook = {"id": 2, "received_at": NOW, "body": body("o", NOW.isoformat())}
    account = Account(ledger, ACCOUNT, Settings(), lambda: NOW)
    assert "none of 1 rows" in (read_table(account, TABLE, lambda since: [row]).trouble or "")
    assert read_table(account, TABLE, lambda since: [row, webhook]).trouble is None
    for hours, shown, trouble in ((25, [row, webhook], None), (49, [{**row, "id": 3}], "none of 1 rows")):
        later = Account(ledger, ACCOUNT, Settings(), lambda hours=hours: NOW + timedelta(hours=hours))
        assert (read_table(later, TABLE, lambda since, shown=shown: shown).trouble or "None")[:14] == str(trouble)
