"""The daily digest: what is low, what is listed only, and what each channel may hear of."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import update

from telnyx_porting.ledger.tables import events
from tests.support.pace import MONDAY, desk, hours, key, met
from tests.support.watched import Watched, order_id

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger


@pytest.fixture
def watched(ledger: Ledger) -> Watched:
    return met(Watched(ledger, desk(), now=MONDAY))


def test_quiet_day_has_no_digest(watched: Watched) -> None:
    assert hours(watched, 48) == []


def test_digest_says_what_low_thing_is_over(watched: Watched) -> None:
    watched.messaging(3, "exception")
    watched.cycle()
    assert hours(watched, 24) == ["Tue 08 digest"]
    watched.messaging(3, "ported")
    assert hours(watched, 24) == ["Wed 08 digest"]
    assert "- resolved: messaging exception" in watched.sent[-1][1].text
    assert hours(watched, 24) == []


def test_digest_lists_drafts_about_to_be_deleted_and_unsigned_letters(watched: Watched) -> None:
    old = MONDAY - timedelta(days=26)
    watched.reading(1, "draft", created_at=old.isoformat())
    watched.status(2, "in-process")
    by_mail = {"available_notification_methods": ["email"], "payload_status": "completed"}
    watched.event("sharing_token_expired", 2, None, MONDAY + timedelta(hours=1), **by_mail)
    assert hours(watched, 23) == ["Tue 08 digest"]
    text = watched.sent[-1][1].text
    assert "Drafts that Telnyx will soon delete: branch-1" in text
    assert "LOA links expired unsigned: branch-2" in text


def test_digest_of_a_channel_tells_only_what_the_channel_takes(ledger: Ledger) -> None:
    filters = {
        "north:json": {"references": ["north-*"]},
        "night:json": {"severity": "high"},
        "other:json": {"accounts": ["somebody_else"]},
    }
    watched = met(Watched(ledger, desk(alert_channels=("all:json", *filters), alert_filters=filters), now=MONDAY))
    watched.messaging(1, "exception")
    raw = watched.raw_status(2, "exception", "OTHER")
    raw["payload"]["customer_reference"] = "north-branch-17"
    watched.tell(raw)
    watched.reading(3, "draft", created_at=(MONDAY - timedelta(days=26)).isoformat())
    hours(watched, 22)
    told = {name: message.text for name, message in watched.sent if message.action == "digest"}
    assert set(told) == {"all:json", "north:json"}
    assert "north-branch-17" in told["north:json"]
    assert "messaging" not in told["north:json"]
    assert "branch-3" not in told["north:json"]
    for part in ("north-branch-17", "messaging exception", "branch-3"):
        assert part in told["all:json"]


def test_what_nobody_touched_for_sixty_days_is_listed_and_nobody_is_reminded(watched: Watched) -> None:
    watched.status(1, "exception", "OTHER")
    watched.cycle()
    assert "Tue 09 reminder" in hours(watched, 24)
    watched.now = MONDAY + timedelta(days=60, hours=1)
    watched.sent.clear()
    watched.cycle()
    hours(watched, 96)
    assert {message.action for _, message in watched.sent} == {"digest"}
    text = watched.sent[-1][1].text
    assert ": 0 open" in text
    assert "Dormant, no change for 60 days: branch-1 (sr_1)." in text
    watched.status(1, "submitted")
    hours(watched, 24)
    assert [entry for entry in watched.told() if entry[0] == "resolved"] == [("resolved", key(1), 1)]


def test_digest_names_each_trouble_once(watched: Watched) -> None:
    """An order in exception for days is also overdue: the exception says it all."""
    watched.status(1, "exception", "OTHER")
    hours(watched, 24 * 4)
    message = next(message for _, message in reversed(watched.sent) if message.action == "digest")
    assert [entry["key"] for entry in message.findings] == [key(1)]


def test_digest_counts_what_was_missed(watched: Watched) -> None:
    event = watched.status(1, "submitted")
    with watched.ledger.write() as connection:
        connection.execute(update(events).where(events.c.id == event).values(delivery="missed"))
    hours(watched, 22)
    (message,) = [message for _, message in watched.sent]
    assert "Notifications: 1 missed now; since the last digest 0 were sent again" in message.text
    assert order_id(1) not in message.text


def test_what_is_too_long_for_a_digest_is_counted_and_hides_nothing_else(watched: Watched) -> None:
    watched.reading(999, "draft", created_at=(MONDAY - timedelta(days=26)).isoformat())
    for state in ("exception", "ported"):
        for order in range(400):
            watched.messaging(order, state)
        watched.cycle()
        assert hours(watched, 24)[-1:] == ["Tue 08 digest" if state == "exception" else "Wed 08 digest"]
    text = watched.sent[-1][1].text
    assert text.count("- resolved: ") == 40
    assert "... and 360 more are resolved." in text
    assert "Drafts that Telnyx will soon delete: branch-999" in text
