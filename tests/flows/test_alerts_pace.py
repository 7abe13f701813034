"""When people are told: severity, working hours, digest, reminders, mute, filters; one cause is one alert."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.findings.health import clear, health
from telnyx_porting.flows.findings.triage import acknowledge, mute
from tests.support.pace import MONDAY, desk, hours, key, met
from tests.support.watched import Watched, order_id, quick

if TYPE_CHECKING:
    from collections.abc import Sequence

    from telnyx_porting.ledger.engine import Ledger


@pytest.fixture
def watched(ledger: Ledger) -> Watched:
    return met(Watched(ledger, desk(), now=MONDAY))


def critical(watched: Watched, order: int) -> None:
    watched.status(order, "foc-date-confirmed")
    watched.later(seconds=1)
    watched.status(order, "exception", "FOC_EXPIRED")


def test_critical_at_once_high_in_working_hours_low_in_the_digest(watched: Watched) -> None:
    watched.now = MONDAY + timedelta(hours=12)  # 22:00
    watched.cycle()
    critical(watched, 1)
    watched.status(2, "exception", "OTHER")
    watched.messaging(3, "exception")
    watched.cycle()
    assert watched.told() == [("firing", key(1), 1)]
    watched.sent.clear()
    said = hours(watched, 11)
    assert [line for line in said if "reminder" not in line] == ["Tue 08 digest", "Tue 09 firing"]
    digest = next(message for _, message in watched.sent if message.action == "digest")
    assert {entry["key"] for entry in digest.findings} == {key(1), key(2), f"{key(3)}/messaging"}
    assert "messaging exception" in digest.text


def test_exception_after_a_date_that_only_the_order_showed_is_critical_at_once(watched: Watched) -> None:
    watched.now = MONDAY + timedelta(hours=12)  # 22:00
    watched.status(1, "submitted")
    watched.cycle()
    for status, codes in (("foc-date-confirmed", ()), ("exception", ("FOC_EXPIRED",))):
        watched.later(minutes=1)
        watched.reading(1, status, *codes)
        watched.cycle()
    assert watched.told() == [("firing", key(1), 1)]
    assert watched.sent[0][1].findings[0]["severity"] == "critical"


def test_a_rise_in_severity_is_told_at_once_and_a_fall_is_not(watched: Watched) -> None:
    """The event that confirmed the date was stuck, and nobody read the order meanwhile."""
    stuck = watched.raw_status(1, "foc-date-confirmed")
    watched.later(minutes=1)
    watched.status(1, "exception", "FOC_EXPIRED")
    watched.cycle()
    watched.later(minutes=5)
    watched.cycle()
    assert watched.told() == [("firing", key(1), 1)]
    watched.now = MONDAY + timedelta(hours=12)  # 22:00
    watched.tell(stuck)
    watched.cycle()
    assert watched.told()[1:] == [("changed", key(1), 1)]
    assert watched.sent[-1][1].findings[0]["severity"] == "critical"
    later = watched.raw_status(1, "submitted", at=MONDAY + timedelta(seconds=30))
    watched.later(hours=1)
    watched.tell(later)
    watched.cycle()
    assert len(watched.told()) == 2


def test_critical_reminds_day_and_night_high_on_the_next_working_day(ledger: Ledger) -> None:
    watched = met(Watched(ledger, desk(digest_at="off"), now=MONDAY))
    watched.status(1, "exception", "OTHER")
    watched.cycle()
    assert hours(watched, 48) == ["Tue 09 reminder", "Wed 09 reminder"]
    critical(watched, 2)
    watched.cycle()
    night = hours(watched, 23)
    times = ("Wed 14", "Wed 18", "Wed 22", "Thu 02", "Thu 06")
    assert [line for line in night if "09" not in line] == [f"{time} reminder" for time in times]


def test_acknowledged_is_not_reminded_of_until_then(ledger: Ledger) -> None:
    watched = met(Watched(ledger, desk(digest_at="off"), now=MONDAY))
    watched.status(1, "exception", "OTHER")
    watched.cycle()
    acknowledge(
        Account(ledger, watched.account, watched.settings, lambda: watched.now),
        key(1),
        "ann",
        MONDAY + timedelta(days=2),
    )
    assert hours(watched, 49) == ["Wed 10 reminder"]
    watched.status(1, "exception", "LSR_PENDING")
    watched.cycle()
    assert watched.told()[-1] == ("changed", key(1), 1), "what is new is told, acknowledged or not"


def test_muted_says_nothing_and_speaks_again_when_it_ends(ledger: Ledger) -> None:
    watched = met(Watched(ledger, desk(digest_at="off"), now=MONDAY))
    watched.status(1, "exception", "OTHER")
    watched.look()
    mute(
        Account(ledger, watched.account, clock=lambda: watched.now),
        key(1),
        "ann",
        "known",
        MONDAY + timedelta(hours=30),
    )
    said = hours(watched, 30)
    assert said == ["Tue 16 firing"]


def test_muted_is_told_in_no_message_and_no_digest_however_often_it_occurs(watched: Watched) -> None:
    critical(watched, 1)
    watched.status(2, "exception", "OTHER")
    watched.cycle()
    mute(
        Account(watched.ledger, watched.account, clock=lambda: watched.now),
        key(1),
        "ann",
        "known",
        MONDAY + timedelta(2),
    )
    watched.later(minutes=1)
    watched.status(1, "submitted")
    watched.cycle()
    watched.sent.clear()
    watched.later(minutes=1)
    critical(watched, 1)
    watched.cycle()
    assert watched.told() == []
    hours(watched, 26)
    digest = next(message for _, message in watched.sent if message.action == "digest")
    assert {entry["key"] for entry in digest.findings} == {key(2)}
    assert key(1) not in {finding for _, finding, _ in watched.told()}


def test_high_is_told_when_it_escalates_and_low_is_not(watched: Watched) -> None:
    """A stuck event is low, then high: it leaves the digest's queue and is told in working hours."""
    stuck = watched.event("status_changed", 1, None, MONDAY - timedelta(minutes=40))
    watched.cycle()
    assert watched.sent == []
    assert hours(watched, 4) == ["Mon 14 firing"]
    assert watched.told() == [("firing", f"stuck:{stuck}", 1)]


def test_machine_gets_every_transition_at_once(ledger: Ledger) -> None:
    watched = met(Watched(ledger, desk(alert_channels=("on_call:pagerduty",)), now=MONDAY + timedelta(hours=12)))
    for status in ("exception", "submitted", "exception"):
        watched.status(1, status)
        watched.cycle()
        watched.later(minutes=1)
    watched.messaging(2, "exception")
    watched.cycle()
    exceptions = [("firing", key(1), 1), ("resolved", key(1), 1), ("firing", key(1), 2)]
    assert watched.told() == [*exceptions, ("firing", f"{key(2)}/messaging", 1)]
    assert hours(watched, 48) == [], "reminders are its own business"


def test_alertmanager_is_told_again_every_day_or_it_forgets(ledger: Ledger) -> None:
    watched = met(Watched(ledger, desk(alert_channels=("am:alertmanager",)), now=MONDAY))
    watched.status(1, "exception")
    watched.cycle()
    assert len(hours(watched, 30)) == 1, "about a day later"


def test_filters_say_what_a_channel_takes(ledger: Ledger) -> None:
    filters = {
        "night:json": {"severity": "critical"},
        "stuck:json": {"kinds": ["stuck"]},
        "north:json": {"references": ["north-*"]},
        "other:json": {"accounts": ["somebody_else"]},
    }
    channels = ("all:json", *filters)
    watched = met(Watched(ledger, quick(alert_channels=channels, alert_filters=filters), now=MONDAY))
    critical(watched, 1)
    watched.status(2, "exception", "OTHER")
    raw = watched.raw_status(3, "exception", "OTHER")
    raw["payload"]["customer_reference"] = "north-branch-17"
    watched.tell(raw)
    watched.cycle()
    told = {name: {finding for _, finding, _ in watched.told(name)} for name in channels}
    assert told == {
        "all:json": {key(1), key(2), key(3)},
        "night:json": {key(1)},
        "stuck:json": set(),
        "north:json": {key(3)},
        "other:json": set(),
    }


def test_one_cause_one_alert(ledger: Ledger) -> None:
    watched = met(Watched(ledger, quick(), now=MONDAY))
    health(
        Account(ledger, watched.account, clock=lambda: watched.now), "key_refused", "Telnyx refuses the key", "critical"
    )
    for name in ("porting_scan.scan", "porting_exception_alerts.orders", "porting_missed_notifications.evidence"):
        health(Account(ledger, watched.account, clock=lambda: watched.now), f"dag:{name}", "a task failed")
    watched.cycle()
    assert [finding for _, finding, _ in watched.told()] == ["health:key_refused"]
    watched.later(hours=1)
    clear(Account(ledger, watched.account, clock=lambda: watched.now), "key_refused")
    clear(Account(ledger, watched.account, clock=lambda: watched.now), "dag:porting_scan.scan")
    watched.cycle()
    watched.later(minutes=1)
    watched.cycle()
    fired = {finding for action, finding, _ in watched.told() if action == "firing"}
    still = {"health:dag:porting_exception_alerts.orders", "health:dag:porting_missed_notifications.evidence"}
    assert fired == {"health:key_refused"} | still, "what is still true when its parent is over is told then"


def test_order_that_moved_on_is_not_spoken_of(ledger: Ledger) -> None:
    watched = met(Watched(ledger, quick(resolve_hold=timedelta(minutes=10)), now=MONDAY))
    watched.status(1, "exception", "OTHER")
    watched.status(2, "exception", "OTHER")
    watched.look()
    read: list[str] = []

    def read_again(ids: Sequence[str]) -> None:
        read.extend(ids)
        watched.later(seconds=1)
        watched.reading(1, "submitted")
        watched.reading(2, "exception", "LSR_PENDING")

    send_due(Account(ledger, watched.account, watched.settings, lambda: watched.now), watched.send, read_again)
    assert sorted(read) == [order_id(1), order_id(2)]
    assert watched.told() == [("firing", key(2), 1)]
    assert watched.sent[0][1].findings[0]["detail"]["codes"][0]["code"] == "LSR_PENDING"
    watched.later(minutes=30)
    watched.cycle()
    assert watched.told() == [("firing", key(2), 1)]


def test_api_that_cannot_be_read_silences_nothing(ledger: Ledger) -> None:
    watched = met(Watched(ledger, quick(), now=MONDAY))
    watched.status(1, "exception", "OTHER")
    watched.look()

    def broken(ids: Sequence[str]) -> None:
        raise ConnectionError("Telnyx is down")

    send_due(Account(ledger, watched.account, watched.settings, lambda: watched.now), watched.send, broken)
    assert watched.told() == [("firing", key(1), 1)]


def test_two_senders_at_once_say_nothing_twice(ledger: Ledger) -> None:
    watched = met(Watched(ledger, quick(), now=MONDAY))
    for order in range(5):
        watched.status(order, "exception")
    watched.look()

    def send_while_another_sends(channel: Any, message: Any) -> None:
        send_due(Account(ledger, watched.account, watched.settings, lambda: watched.now), watched.send)
        watched.send(channel, message)

    send_due(Account(ledger, watched.account, watched.settings, lambda: watched.now), send_while_another_sends)
    assert len(watched.told()) == 5
