"""Alerts: everybody is told once, grouped, and about the end only where they heard of the start."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.dispatch import LEASE
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.desk import status as desk
from telnyx_porting.flows.findings.health import health
from tests.support.watched import ACCOUNT, START, Watched, order_id, quick

if TYPE_CHECKING:
    from telnyx_porting.flows.alerts.channels import Channel, Message
    from telnyx_porting.ledger.engine import Ledger


@pytest.fixture
def watched(ledger: Ledger) -> Watched:
    return met(Watched(ledger))


def met(watched: Watched) -> Watched:
    """Let the first look pass with nothing to say."""
    watched.cycle()
    assert watched.sent == []
    return watched


def key(order: int) -> str:
    return f"exception:{order_id(order)}"


def test_exception_submitted_exception_is_told_as_two_turns(watched: Watched) -> None:
    for status in ("exception", "submitted", "exception"):
        watched.status(1, status)
        watched.cycle()
        watched.cycle()
        watched.later(hours=1)
    assert watched.told() == [("firing", key(1), 1), ("resolved", key(1), 1), ("firing", key(1), 2)]
    assert len({message.dedup_key for _, message in watched.sent}) == 3


def test_change_inside_an_episode_is_told_once(watched: Watched) -> None:
    watched.status(1, "exception", "LSR_PENDING")
    watched.cycle()
    watched.later(minutes=1)
    watched.status(1, "exception", "FOC_REJECTED")
    watched.cycle()
    watched.cycle()
    assert watched.told() == [("firing", key(1), 1), ("changed", key(1), 1)]
    assert "about FOC_REJECTED" in watched.sent[-1][1].findings[0]["text"]


def test_first_look_is_one_message_and_old_things_are_only_listed(ledger: Ledger) -> None:
    watched = Watched(ledger)
    for order in range(60):
        watched.status(order, "exception", at=START - timedelta(days=1))
    watched.status(99, "exception", at=START - timedelta(days=20))
    watched.cycle()
    assert len(watched.sent) == 1
    assert len(watched.told()) == 60
    watched.later(hours=2)
    watched.cycle()
    assert len(watched.sent) == 1


def test_nothing_is_told_before_the_first_scan_is_done_except_that_the_watch_is_ill(ledger: Ledger) -> None:
    watched = Watched(ledger)
    watched.feed(covered_until=None)
    watched.status(1, "exception")
    health(Account(ledger, ACCOUNT, clock=lambda: watched.now), "key_refused", "Telnyx refuses the key", "critical")
    from telnyx_porting.flows.findings.reconcile import reconcile
    from telnyx_porting.flows.orders.sync import project_events

    project_events(Account(ledger, ACCOUNT, clock=lambda: watched.now))
    reconcile(Account(ledger, ACCOUNT, watched.settings, lambda: watched.now), enqueue)
    send_due(Account(ledger, ACCOUNT, watched.settings, lambda: watched.now), watched.send)
    assert watched.told() == [("firing", "health:key_refused", 1)]


def test_storm_is_told_in_groups_and_each_finding_resolves_once(watched: Watched) -> None:
    watched.statuses(range(1000), "exception")
    watched.cycle()
    assert len(watched.sent) == 10
    assert {name for _, name, _ in watched.told()} == {key(order) for order in range(1000)}
    watched.sent.clear()
    watched.later(minutes=20)
    watched.statuses(range(1000), "submitted")
    watched.cycle()
    watched.cycle()
    assert sorted(watched.told()) == sorted(("resolved", key(order), 1) for order in range(1000))


def test_what_began_and_ended_unsaid_stays_unsaid(ledger: Ledger) -> None:
    watched = met(Watched(ledger, quick(group_wait=timedelta(minutes=2))))
    watched.status(1, "exception")
    watched.cycle()
    watched.later(minutes=1)
    watched.status(1, "submitted")
    watched.cycle()
    watched.later(hours=1)
    watched.cycle()
    assert watched.sent == []


def test_crash_between_send_and_mark_repeats_once_under_the_same_key(watched: Watched) -> None:
    watched.status(1, "exception")
    watched.look()

    class Killed(BaseException):
        pass

    def send_and_die(channel: Channel, message: Message) -> None:
        watched.send(channel, message)
        raise Killed

    with pytest.raises(Killed):
        send_due(Account(watched.ledger, ACCOUNT, watched.settings, lambda: watched.now), send_and_die)
    watched.cycle()
    assert len(watched.sent) == 1, "another sender may still be at it"
    watched.later(seconds=LEASE.total_seconds() + 1)
    watched.cycle()
    watched.cycle()
    first, second = (message for _, message in watched.sent)
    assert first.dedup_key == second.dedup_key


def test_failing_channel_stops_no_other_and_catches_up_with_the_same_key(ledger: Ledger) -> None:
    watched = met(Watched(ledger, quick(alert_channels=("desk:json", "team:json"))))
    watched.broken = {"desk:json"}
    watched.status(1, "exception")
    result = watched.cycle()
    assert result.failed == ("desk:json",)
    assert ("firing", key(1), 1) in watched.told("team:json")
    assert watched.cycle().failed == (), "it is not asked again at once"
    assert "channel:desk:json\n    last problem: ConnectionError: nobody listens" in desk.status(ledger, watched.now)
    watched.broken.clear()
    watched.later(minutes=2)
    watched.cycle()
    assert "last problem" not in desk.status(ledger, watched.now)
    assert ("firing", key(1), 1) in watched.told("desk:json")
    watched.later(hours=1)
    watched.cycle()
    assert watched.told("desk:json").count(("firing", key(1), 1)) == 1
    assert watched.told("team:json").count(("firing", key(1), 1)) == 1


def test_flapping_is_bounded_and_the_last_state_is_told(ledger: Ledger) -> None:
    watched = met(Watched(ledger, quick(group_wait=timedelta(minutes=2), group_interval=timedelta(minutes=15))))
    for _ in range(20):
        watched.status(1, "exception")
        watched.cycle()
        watched.later(minutes=2)
        watched.cycle()
        watched.later(seconds=30)
        watched.status(1, "submitted")
        watched.cycle()
        watched.later(seconds=30)
    for _ in range(8):
        watched.cycle()
        watched.later(minutes=5)
    assert len(watched.sent) <= 10
    assert watched.told()[-1][0] == "resolved"


def test_what_flaps_faster_than_the_wait_is_told(ledger: Ledger) -> None:
    knobs = {"group_wait": timedelta(minutes=2), "resolve_hold": timedelta(minutes=10)}
    watched = met(Watched(ledger, quick(**knobs)))
    for number in range(6):
        watched.status(1, "submitted" if number % 2 else "exception")
        watched.cycle()
        watched.later(seconds=90)
    assert ("firing", key(1), 2) in watched.told()


def test_no_channel_means_findings_only(ledger: Ledger) -> None:
    watched = Watched(ledger, quick(alert_channels=()))
    watched.status(1, "exception")
    assert watched.look().open == 1
    assert watched.cycle().messages == 0


def test_backfill_says_nothing(ledger: Ledger) -> None:
    """What a backfill teaches about the past is listed: neither old troubles nor the past of a present one are news."""
    watched = Watched(ledger)
    watched.status(1, "exception", "OTHER", at=START - timedelta(days=3))
    watched.cycle()
    assert len(watched.sent) == 1
    for days, order, status in [
        (29, 1, "exception"),
        (28, 1, "submitted"),
        (27, 1, "exception"),
        (26, 1, "foc-date-confirmed"),
        (25, 2, "exception"),
        (24, 3, "submitted"),
    ]:
        watched.status(order, status, at=START - timedelta(days=days))
    watched.event("status_changed", 4, None, START - timedelta(days=20))
    watched.messaging(5, "exception", START - timedelta(days=22))
    for _ in range(3):
        watched.later(minutes=20)
        watched.cycle()
    assert len(watched.sent) == 1


def test_a_severity_that_is_none_of_ours_is_told_like_a_low_one(ledger: Ledger) -> None:
    watched = Watched(ledger, quick())
    watched.cycle()
    health(Account(ledger, watched.account, watched.settings, lambda: watched.now), "dag:mine.task", "it failed", "bad")
    watched.cycle()
    assert ("firing", "health:dag:mine.task", 1) in watched.told()
