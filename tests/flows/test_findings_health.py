"""What is wrong with the watch itself: when it is true, and for how long."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.deliveries.receipts import store_receipts
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.flows.findings.health import clear, health, watch_clock
from telnyx_porting.flows.findings.reconcile import open_findings
from telnyx_porting.flows.findings.triage import acknowledge
from telnyx_porting.ledger.tables import deliveries, plans
from tests.support.found import MONDAY, desk, found
from tests.support.watched import Watched, order_id, quick

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger


@pytest.fixture
def watched(ledger: Ledger) -> Watched:
    return Watched(ledger, desk(), now=MONDAY)


def test_watch_says_when_nothing_was_read_for_half_an_hour(watched: Watched) -> None:
    assert found(watched, "health") == {}
    watched.later(minutes=32)
    watched.settings = desk(settle=timedelta(minutes=33))  # the helper's scan is as old as that now
    watched.look()
    with watched.ledger.read() as connection:
        rows = open_findings(connection, watched.account, "health")
    assert [row["subject"] for row in rows] == []
    watched.feed(covered_until=watched.now - timedelta(hours=2))
    from telnyx_porting.flows.findings.reconcile import reconcile

    reconcile(Account(watched.ledger, watched.account, watched.settings, lambda: watched.now), enqueue)
    with watched.ledger.read() as connection:
        rows = open_findings(connection, watched.account, "health")
    assert [(row["subject"], row["severity"]) for row in rows] == [("nothing_sealed", "critical")]


@pytest.mark.parametrize("name", ["porting_scan.scan", "d" * 700], ids=["short", "too long for a key"])
def test_what_is_noticed_again_is_the_same_finding_and_only_another_severity_is_news(ledger: Ledger, name: str) -> None:
    account, seen = Account(ledger, "a", clock=lambda: MONDAY), []
    for text, severity in (("failed", "high"), ("failed again", "high"), ("failed again", "critical")):
        health(account, f"dag:{name}", text, severity)
        with ledger.read() as connection:
            (row,) = open_findings(connection, "a", "health")
        seen.append((row["occurrence"], row["revision"], row["detail"]["text"], row["since"]))
    assert seen == [(1, 1, "failed", MONDAY), (1, 1, "failed again", MONDAY), (1, 2, "failed again", MONDAY)]


def test_watch_says_that_signatures_are_refused_and_a_plan_waits(watched: Watched) -> None:
    with watched.ledger.write() as connection:
        touch_feed(watched.ledger, connection, watched.account, "receiver", refused=7, heartbeat=watched.now)
        plan = {"id": order_id(1), "reason": "missed", "selection": {}, "hash": "x", "size": 1, "created_by": "porting"}
        times = {"created_at": watched.now, "expires_at": watched.now + timedelta(days=1)}
        watched.ledger.upsert(connection, plans, [{"account": watched.account} | plan | times])
    assert found(watched, "health") == {"signatures": "high"}
    for _ in range(3):
        watched.later(minutes=30)
        watched.look()
    with watched.ledger.read() as connection:
        rows = {row["subject"]: row["occurrence"] for row in open_findings(connection, watched.account, "health")}
    assert rows == {"signatures": 1, "approval": 1}


def test_a_wrong_clock_at_the_receiver_is_not_mistaken_for_a_wrong_key(watched: Watched) -> None:
    ledger, account = watched.ledger, watched.account
    store_receipts(ledger, [account], [], {account: 7}, watched.now, {account: timedelta(seconds=-400)})
    watch_clock(Account(ledger, account, clock=lambda: watched.now), timedelta(0))
    assert found(watched, "health") == {"clock_skew": "critical"}
    store_receipts(ledger, [account], [], {}, watched.now, {account: timedelta(seconds=1)})
    assert found(watched, "health") == {"clock_skew": "critical", "signatures": "high"}


def test_watch_says_that_the_consumer_is_down(watched: Watched) -> None:
    with watched.ledger.write() as connection:
        for number in range(5):
            row = {"account": watched.account, "source": "deliveries", "source_id": str(number), "ok": False}
            times = {"stored_at": watched.now, "signed_at": watched.now}
            watched.ledger.upsert(connection, deliveries, [row | times])
    assert found(watched, "health") == {"consumer": "critical"}


def test_watch_says_that_the_receiver_that_decides_is_not_running(watched: Watched) -> None:
    def beat() -> None:
        with watched.ledger.write() as connection:
            times = {"heartbeat": watched.now, "covers_from": MONDAY, "proved_at": MONDAY}
            touch_feed(watched.ledger, connection, watched.account, "receiver", **times)

    beat()
    watched.later(minutes=4)
    assert found(watched, "health") == {}
    watched.later(minutes=1)
    assert found(watched, "health") == {"receiver": "critical"}
    beat()
    assert found(watched, "health") == {}
    watched.later(minutes=6)
    watched.settings = desk(consumer_of_record="deliveries")
    assert found(watched, "health") == {}, "it does not decide"


def test_failures_elsewhere_do_not_say_that_the_consumer_is_down(watched: Watched) -> None:
    watched.settings = desk(consumer_of_record="deliveries:https://crm.example.com/")
    feed = {"covers_from": MONDAY, "covered_until": MONDAY, "proved_at": MONDAY}
    with watched.ledger.write() as connection:
        touch_feed(watched.ledger, connection, watched.account, "deliveries", **feed)
        for number in range(5):
            row = {"account": watched.account, "source": "deliveries", "source_id": str(number), "ok": False}
            times = {"stored_at": watched.now, "signed_at": watched.now, "destination": "https://old.example.com/hook"}
            watched.ledger.upsert(connection, deliveries, [row | times])
    assert found(watched, "health") == {}


def test_acknowledged_trouble_that_comes_again_is_told_at_once(ledger: Ledger) -> None:
    watched = Watched(ledger, quick(), now=MONDAY)
    watched.cycle()
    for turn in (1, 2):
        health(
            Account(ledger, watched.account, clock=lambda: watched.now),
            "key_refused",
            "Telnyx refuses the key",
            "critical",
        )
        watched.cycle()
        assert watched.told()[-1] == ("firing", "health:key_refused", turn)
        acknowledge(
            Account(ledger, watched.account, watched.settings, lambda: watched.now), "health:key_refused", "ann"
        )
        clear(Account(ledger, watched.account, clock=lambda: watched.now), "key_refused")
        watched.cycle()
        watched.later(minutes=1)


@pytest.mark.parametrize(
    ("parent", "children"),
    [
        ("settings", ["dag:porting_scan.scan", "dag:porting_republish.plan", "nothing_sealed"]),
        ("approval_asked", ["approval"]),
    ],
)
def test_one_cause_is_one_alert(ledger: Ledger, parent: str, children: list[str]) -> None:
    watched = Watched(ledger, quick(), now=MONDAY)
    watched.cycle()
    for subject in (parent, *children):
        health(Account(ledger, watched.account, clock=lambda: watched.now), subject, f"about {subject}")
    send_due(Account(ledger, watched.account, watched.settings, lambda: watched.now), watched.send)
    assert [finding for _, finding, _ in watched.told()] == [f"health:{parent}"]
