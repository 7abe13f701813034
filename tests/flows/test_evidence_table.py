"""Evidence from a table of one's own: whose row proves what, and from when on the table vouches."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.errors import SettingsError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.matching import match
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.deliveries.table import read_table
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.settings import Settings
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
