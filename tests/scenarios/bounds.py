"""What the loop promises in time and in sends, at default settings, and what it takes.

    detection     poll + settle + grace after the payload was generated; poll = scan_every + look_every
    confirmation  confirm_within + 30 s after a send: by then it is seen to have arrived, or said not to have
    sends         republish_budget per event; one where nothing more goes wrong

Time is the scenario's, so it lacks what Airflow takes to start a task. Looks begin before the scan of the same minute.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import select

from telnyx_porting.flows.republish.advance import LOOK_AGAIN
from telnyx_porting.ledger.tables import events, republishes
from telnyx_porting.settings import Settings

if TYPE_CHECKING:
    from datetime import datetime

    from tests.scenarios.loop import Loop

DEFAULTS = Settings()
KNOBS = {name: getattr(DEFAULTS, name) for name in ("republish_per_second", "republish_unconfirmed", "first_look_days")}
STEP = timedelta(seconds=30)
LATEST_COMPLETION = timedelta(minutes=6)  # so that some scans see an event before its payload
NEVER_DELIVERED = 2


@dataclass(frozen=True)
class Bounds:
    """Latest detection, latest verdict, most sends per event."""

    detection: timedelta
    confirmation: timedelta
    sends: int


@dataclass(frozen=True)
class Measured:
    """Of each missed event: when it was found, its verdict, how often it was sent."""

    detection: list[timedelta]
    arrived: list[timedelta]
    not_arrived: list[timedelta]
    sends: list[int]


def promised(settings: Settings = DEFAULTS) -> Bounds:
    """Return the bounds."""
    poll = settings.scan_every + settings.look_every
    return Bounds(
        poll + settings.settle + settings.grace, settings.confirm_within + LOOK_AGAIN[1], settings.republish_budget
    )


def measure(loop: Loop, count: int = 40) -> Measured:
    """Let the receiver be down while events happen, all through a cycle; look by the schedule; then send."""
    loop.begin()
    orders = loop.orders(count)
    lost: list[str] = []
    found: dict[str, datetime] = {}
    loop.ear.up = False
    passed, end = timedelta(0), STEP * count + LATEST_COMPLETION
    while len(found) < count and passed <= end + 2 * promised().detection:
        if passed % loop.settings.look_every == timedelta(0):
            loop.decide()
            missed = (event for event, state in loop.states().items() if state == "missed")
            found = dict.fromkeys(missed, loop.clock.now()) | found
        if passed % loop.settings.scan_every == timedelta(0):
            loop.scan()
        if len(lost) < count:
            later = LATEST_COMPLETION * (len(lost) % 4) / 3
            lost.append(loop.sandbox.act(orders[len(lost)], "comment", complete_after=later.total_seconds())[0]["id"])
        loop.ear.up = passed > end
        loop.jump(STEP.total_seconds())
        passed += STEP
    loop.sandbox.control("POST", "/undeliverable", {"event_ids": lost[-NEVER_DELIVERED:]})
    plan = loop.plan()
    assert plan is not None
    loop.execute(plan)
    with loop.ledger.read() as connection:
        generated = dict(connection.execute(select(events.c.id, events.c.updated_at)).all())
        sent = connection.execute(select(republishes)).all()
    verdicts = {
        state: [r.settled_at - r.sent_at for r in sent if r.state == state] for state in ("arrived", "not_arrived")
    }
    return Measured(
        [found[event] - generated[event] for event in lost],
        *verdicts.values(),
        [loop.asked()[event] for event in lost],
    )


def table(measured: Measured) -> str:
    """Say it in three lines: what is promised, what was measured."""
    bounds, found, arrived = promised(), sorted(measured.detection), sorted(measured.arrived)
    average = sum(measured.sends) / len(measured.sends)
    lines = [
        ("detection", f"<= {words(bounds.detection)}", f"p50 {_at(found, 0.5)}, latest {_at(found, 1)}"),
        (
            "confirmation",
            f"<= {words(bounds.confirmation)}",
            f"arrived: p50 {_at(arrived, 0.5)}, p95 {_at(arrived, 0.95)}; not arrived: {_at(measured.not_arrived, 1)}",
        ),
        ("sends per event", f"<= {bounds.sends}", f"{average:.3f} ({len(measured.sends)} events)"),
    ]
    return "\n".join(f"{what:16} {bound:15}  measured {got}" for what, bound, got in lines)


def _at(ordered: list[timedelta], share: float) -> str:
    return words(ordered[math.ceil(share * len(ordered)) - 1])


def words(duration: timedelta) -> str:
    """Write a duration for people."""
    minutes, seconds = divmod(math.ceil(duration.total_seconds()), 60)
    return f"{minutes} min {seconds} s" if minutes and seconds else f"{minutes} min" if minutes else f"{seconds} s"
