"""Verdicts: look whether what was republished arrived, and only then say so.

New evidence is a delivery at the consumer of record that was not known when the claim was written. Any arrival makes the
*event* arrived; the *republish* is credited only when that delivery was signed or started after the reply's ``Date``
minus one second, both the provider's clock. Otherwise the verdict is `unknown` ("arrived otherwise"), reported apart.
Nothing is `not_arrived` before its due time has passed inside the feed's coverage; late evidence lifts it again.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, and_, case, or_, select, update

from telnyx_porting.flows.delivery import Record, decide, find_record
from telnyx_porting.flows.matching import match
from telnyx_porting.ledger.tables import deliveries, events, republishes

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

TOLERANCE = timedelta(seconds=1)  # HTTP dates have whole seconds
DEAD_AFTER = timedelta(minutes=2)  # a claim this old without an outcome belongs to a process that died
ARRIVED_OTHERWISE = "arrived otherwise: not credited to this republish"


@dataclass(frozen=True)
class VerdictsResult:
    """Verdicts reached by one look."""

    account: str
    verdicts: dict[str, int] = field(default_factory=dict)
    unresolved: int = 0
    newly_missed: int = 0
    held_back: str | None = None


def settle(ledger: Ledger, account: str, settings: Settings, now: datetime) -> VerdictsResult:
    """Match new deliveries, apply the delivery rule, and reach every verdict the evidence allows."""
    match(ledger, account)
    with ledger.write() as connection:
        _charge_dead_claims(connection, account, settings, now)
    decision = decide(ledger, account, settings, now)
    reached: Counter[str] = Counter()
    unresolved = 0
    with ledger.write() as connection:
        record = find_record(connection, account, settings, now)
        for row in _waiting(connection, account):
            verdict = _verdict(connection, row, record, now)
            if verdict is None:
                unresolved += row["settled_at"] is None
                continue
            state, detail = verdict
            reached[state] += 1
            same = and_(
                republishes.c.account == account,
                republishes.c.plan_id == row["plan_id"],
                republishes.c.event_id == row["event_id"],
            )
            connection.execute(update(republishes).where(same).values(state=state, settled_at=now, detail=detail))
    return VerdictsResult(account, dict(reached), unresolved, decision.newly_missed, decision.held_back)


def charge(connection: Connection, row: Any, sent_at: datetime) -> None:
    """Count a send that may have been processed; the event is due again after `confirm_within`."""
    connection.execute(
        update(events)
        .where(events.c.account == row["account"], events.c.id == row["event_id"])
        .values(
            sends=events.c.sends + 1,
            last_sent_at=sent_at,
            delivery=case((events.c.arrived_at.is_(None), None), else_=events.c.delivery),
        )
    )


def _charge_dead_claims(connection: Connection, account: str, settings: Settings, now: datetime) -> None:
    """A crash between claim and outcome leaves `sending`: its POST may have gone out, so it counts, and we look."""
    dead = connection.execute(
        select(republishes).where(
            republishes.c.account == account,
            republishes.c.state == "sending",
            republishes.c.sent_at < now - DEAD_AFTER,
        )
    ).mappings()
    for row in dead.all():
        charge(connection, row, row["sent_at"])
        connection.execute(
            update(republishes)
            .where(republishes.c.account == account, republishes.c.plan_id == row["plan_id"])
            .where(republishes.c.event_id == row["event_id"], republishes.c.state == "sending")
            .values(
                state="unknown",
                due_at=row["sent_at"] + settings.confirm_within,
                detail="the process that sent it ended before its outcome was written",
            )
        )


def _waiting(connection: Connection, account: str) -> list[RowMapping]:
    """Unresolved republishes, and those told `not_arrived` whose event has arrived since."""
    query = (
        select(republishes, events.c.delivery, events.c.copies, events.c.arrived_at)
        .join(events, and_(events.c.account == republishes.c.account, events.c.id == republishes.c.event_id))
        .where(republishes.c.account == account)
        .where(
            or_(
                and_(republishes.c.state.in_(("accepted", "unknown")), republishes.c.settled_at.is_(None)),
                and_(republishes.c.state == "not_arrived", events.c.arrived_at.is_not(None)),
            )
        )
    )
    return list(connection.execute(query).mappings())


def _verdict(
    connection: Connection, row: RowMapping, record: Record | None, now: datetime
) -> tuple[str, str | None] | None:
    if record is None:
        if row["due_at"] <= now and row["settled_at"] is None:
            return "unknown", "cannot be confirmed: no feed of deliveries covers this account"
        return None
    fresh = _new_evidence(connection, row, record)
    if fresh and row["arrived_at"] is not None:
        sent = row["reply_date"]
        credited = {d["webhook_id"] or d["source_id"] for d in fresh if _after(d["signed_at"], sent)}
        if len(credited) >= row["copies"]:
            return "arrived", None
        if row["settled_at"] is None and row["due_at"] <= record.covered_until:
            return "unknown", ARRIVED_OTHERWISE
        return None
    if row["settled_at"] is None and row["due_at"] <= record.covered_until:
        if fresh and row["delivery"] == "undetermined":
            return "unknown", "something arrived, but its webhooks cannot be told apart"
        if row["arrived_at"] is not None:  # it had arrived before this send: a person asked for a repeat
            return "not_arrived", "no new delivery of this repeat was seen"
        return "not_arrived", None
    return None


def _after(signed_at: datetime | None, sent: datetime | None) -> bool:
    return signed_at is not None and sent is not None and signed_at >= sent - TOLERANCE


def _new_evidence(connection: Connection, row: RowMapping, record: Record) -> list[RowMapping]:
    query = select(deliveries.c.source_id, deliveries.c.webhook_id, deliveries.c.signed_at).where(
        deliveries.c.account == row["account"],
        deliveries.c.event_id == row["event_id"],
        deliveries.c.source == record.source,
        deliveries.c.ok,
    )
    if record.prefix:
        query = query.where(deliveries.c.destination.startswith(record.prefix, autoescape=True))
    known = set(row["baseline"] or ())
    return [found for found in connection.execute(query).mappings() if found["source_id"] not in known]
