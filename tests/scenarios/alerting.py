"""Scenarios of telling people: storms, flapping, repeats, kills. Everybody is told what is true, once."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.dispatch import LEASE
from telnyx_porting.flows.events.backfill import backfill
from telnyx_porting.ledger.engine import Ledger
from tests.scenarios.desk import KNOBS, Desk
from tests.scenarios.loop import ACCOUNT, Loop
from tests.scenarios.story import Story

DAY = timedelta(days=1)


def first_look(loop: Loop) -> str:
    """Sixty orders are in exception when the watch begins."""
    desk = Desk(loop, met=False)
    for order in loop.orders(60):
        desk.status(order, "exception", "OTHER")
    desk.look()
    desk.later(5)
    desk.later(60)
    return desk.in_words()


def turns(loop: Loop) -> str:
    """Exception, submitted, exception, an hour apart."""
    desk = Desk(loop)
    (order,) = loop.orders(1)
    for status in ("exception", "submitted", "exception"):
        desk.status(order, status)
        desk.look()
        desk.later(60)
    keys = {letter["dedup_key"] for letter in desk.letters()}
    said = ", ".join(f"{action} k{turn}" for action, _, turn in desk.told())
    return f"{said}; {len(keys)} dedup keys"


def storm(count: int):
    def play(loop: Loop) -> str:
        desk = Desk(loop)
        orders = loop.orders(count)
        for status in ("exception", "submitted"):
            for order in orders:
                desk.status(order, status)
            desk.look()
            for _ in range(4):
                desk.later(5)
        return desk.in_words()

    return play


def flapping(last: str):
    """Exception and back twenty times in an hour, looked at every minute, at the default pace."""

    def play(loop: Loop) -> str:
        desk = Desk(loop)
        (order,) = loop.orders(1)
        flaps = 41 if last == "exception" else 40
        for number in range(flaps):
            desk.status(order, "submitted" if number % 2 else "exception")
            desk.later(1.5)
        for _ in range(8):
            desk.later(5)
        letters = desk.letters()
        bounded = "at most 12 messages" if len(letters) <= 12 else f"{len(letters)} messages"
        return f"{bounded}; the last says {letters[-1]['action']}"

    return play


def happened(order: str, status: str, at: datetime) -> dict[str, Any]:
    """A status of long ago."""
    payload = {"id": order, "status": {"value": status, "details": []}, "updated_at": at.isoformat()}
    kind = "porting_order.status_changed"
    return {"type": kind, "order_id": order, "created_at": at.isoformat(), "payload": payload}


def repeats(loop: Loop) -> str:
    """Retries and clears, 30 days of backfill, a restart; then fifty more, and two alert DAGs at once."""
    now = loop.clock.now()
    for order in loop.orders(4):
        past = [("exception", 29), ("submitted", 25), ("exception", 20), ("submitted", 16)]
        loop.sandbox.insert(*[happened(order, status, now - days * DAY) for status, days in past])
        loop.sandbox.insert({"order_id": order, "created_at": (now - 20 * DAY).isoformat(), "completed": False})
        loop.sandbox.act(order, "status", value="submitted", force=True, complete_after=0)
    desk = Desk(loop)
    for order in loop.orders(3):
        desk.status(order, "exception", "OTHER")
    desk.look()
    desk.later(5)
    before = len(desk.letters())
    desk.look(3)
    backfill(Account(loop.ledger, ACCOUNT, loop.settings, lambda: loop.clock.now()), loop.client, now - 30 * DAY, now)
    desk.look(2)
    before_restart = loop.ledger
    before_restart.close()
    loop.ledger = loop.ear.ledger = Ledger(before_restart.url)
    desk.look()
    desk.later(20)
    for order in loop.orders(50):
        desk.status(order, "exception", "OTHER")
    loop.scan()
    loop.use(group_wait="0", group_interval="0")
    ended = desk.workers(2)
    loop.ledger.close()
    loop.ledger = loop.ear.ledger = before_restart
    return f"{before} message, then {len(desk.letters()) - before} for 50 more; {desk.in_words()}; ends {ended}"


def killed(where: str):
    """kill -9 of the process that tells, and what its successors do before and after the lease."""

    def play(loop: Loop) -> str:
        desk = Desk(loop)
        for order in loop.orders(3):
            desk.status(order, "exception", "OTHER")
        loop.scan()
        ended = desk.workers(failpoint=where)
        desk.look()
        soon = len(desk.letters())
        desk.later(LEASE.total_seconds() / 60 + 1)
        desk.later(20)
        keys = {letter["dedup_key"] for letter in desk.letters()}
        count = len(desk.letters())
        return f"ended {ended}; {soon} told before the lease is over, {count} in all, {len(keys)} dedup key"

    return play


AT_ONCE = KNOBS | {"group_wait": "0", "group_interval": "0"}
STORIES = [
    Story("alerts: first look on 60 open exceptions", first_look, "60 firing in 1", KNOBS, sample=True),
    Story(
        "alerts: exception, submitted, exception",
        turns,
        "firing k1, resolved k1, firing k2; 3 dedup keys",
        AT_ONCE,
        sample=True,
    ),
    Story("alerts: a storm of 150 that recovers", storm(150), "150 firing in 2, 150 resolved in 2", KNOBS, sample=True),
    Story("alerts: a storm of 1,000 that recovers", storm(1000), "1000 firing in 10, 1000 resolved in 10", KNOBS),
    Story(
        "alerts: flapping 20 times in an hour, then well",
        flapping("submitted"),
        "at most 12 messages; the last says resolved",
        KNOBS | {"resolve_hold": "10m"},
    ),
    Story(
        "alerts: flapping 20 times in an hour, then in exception",
        flapping("exception"),
        "at most 12 messages; the last says firing",
        KNOBS | {"resolve_hold": "10m"},
    ),
    Story(
        "alerts: retries, clears, backfill, restart, two DAGs at once",
        repeats,
        "1 message, then 1 for 50 more; 53 firing in 2; ends [0, 0]",
        KNOBS,
        sample=True,
    ),
    Story(
        "alerts: killed before the send",
        killed("alerts.claimed"),
        "ended [-9]; 0 told before the lease is over, 1 in all, 1 dedup key",
        AT_ONCE,
    ),
    Story(
        "alerts: killed between send and mark",
        killed("alerts.sent"),
        "ended [-9]; 1 told before the lease is over, 2 in all, 1 dedup key",
        AT_ONCE,
        sample=True,
    ),
    Story(
        "alerts: killed after the mark",
        killed("alerts.marked"),
        "ended [-9]; 1 told before the lease is over, 1 in all, 1 dedup key",
        AT_ONCE,
    ),
]
