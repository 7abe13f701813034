"""What happened to one order, from every table of the ledger, on our clock."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, and_, select

from telnyx_porting.escaping import address
from telnyx_porting.flows.clock import Clocks, read_clocks
from telnyx_porting.flows.desk.page import count_of
from telnyx_porting.flows.findings.kinds import kind_of
from telnyx_porting.flows.findings.wording import event_type
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import alerts, deliveries, events, findings, plans, republishes
from telnyx_porting.ledger.types import EPOCH

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Row = Mapping[Any, Any]

MOST = 200
"""Events on one page of a timeline, with all that belongs to them."""
OTHERS = 1_000
"""Webhooks, findings and sends that are read for them, each."""


@dataclass(frozen=True)
class Entry:
    """One thing that happened. Texts are foreign.

    :param at: when, on our clock
    :param kind: ``event``, ``webhook``, ``finding``, ``alert``, ``plan``, ``attempt`` or ``action``
    :param state: how it went, as a word: of an event its `states.Delivery`, of a webhook ``ok`` or ``failed``, of a
        finding its severity, ``resolved`` where it ends, of an attempt its `states.Republish`, of an alert its status
    :param event_id: the event it belongs to; of a webhook None: it could not be told which it is of
    :param who: who did it, where a person, the schedule or the policy did
    :param where: of a webhook the destination, without what may be secret in it; of an alert the channel
    :param attempt: of a webhook which try it was, of an attempt which send of its event; None: not told
    :param latency: of a webhook from when its event was generated to this try, both on Telnyx's clock
    :param answer: of a webhook the HTTP status that the destination answered; None: none, or not told
    """

    at: datetime
    kind: str
    title: str
    state: str = ""
    detail: str = ""
    event_id: str | None = None
    plan_id: str | None = None
    who: str | None = None
    where: str | None = None
    attempt: int | None = None
    latency: timedelta | None = None
    answer: int | None = None


def entries_of(
    connection: Connection, account: str, order_id: str, before: datetime | None = None
) -> tuple[tuple[Entry, ...], int]:
    """Return what happened, newest first, and how many older events there are.

    :param before: only events created earlier, on our clock, and what belongs to them
    """
    clocks = read_clocks(connection, account)
    mine = [events.c.account == account, events.c.order_id == order_id]
    if before is not None:
        mine.append(events.c.created_at < clocks.to_provider(before))
    newest = select(events).where(*mine).order_by(events.c.created_at.desc(), events.c.id.desc()).limit(MOST)
    shown = {row["id"]: row for row in connection.execute(newest).mappings()}
    older = count_of(connection, select(events.c.id).where(*mine)) - len(shown)
    first = min((row["created_at"] for row in shown.values()), default=EPOCH) if older else EPOCH

    found = [
        Entry(
            clocks.from_provider(row["created_at"]),
            "event",
            event_type(row["type"]),
            row["delivery"] or "",
            row["value"] or "",
            event_id=row["id"],
        )
        for row in shown.values()
    ]
    found += _webhooks(connection, account, order_id, shown, clocks)
    found += _sends(connection, account, list(shown))
    found += _findings(connection, account, order_id)
    begin = clocks.from_provider(first)
    there = [
        entry for entry in found if entry.event_id or (begin <= entry.at and (before is None or entry.at < before))
    ]
    return tuple(sorted(there, key=lambda entry: (entry.at, _DEPTH.index(entry.kind)), reverse=True)), older


_DEPTH = ("event", "webhook", "finding", "alert", "action", "plan", "attempt")


def _webhooks(
    connection: Connection, account: str, order_id: str, shown: Mapping[str, Row], clocks: Clocks
) -> Iterator[Entry]:
    """Yield the tries to notify of these events, and of this order, of whatever event they are."""
    query = select(deliveries).where(deliveries.c.account == account).limit(OTHERS)
    rows: dict[tuple[str, str], Row] = {}
    for which in (deliveries.c.order_id == order_id, deliveries.c.event_id.in_(list(shown))):
        found = connection.execute(query.where(which).order_by(deliveries.c.stored_at.desc())).mappings()
        rows |= {(row["source"], row["source_id"]): row for row in found}
    for row in rows.values():
        event = shown.get(row["event_id"] or "")
        if row["event_id"] is not None and event is None:
            continue
        told = row["signed_at"] or row["occurred_at"]
        by_receiver = row["source"] == Feed.RECEIVER
        stored = clocks.from_receiver(row["stored_at"]) if by_receiver else row["stored_at"]
        generated = (event["completed_seen_at"] or event["updated_at"]) if event is not None else None
        yield Entry(
            clocks.from_provider(told) if told is not None else stored,
            "webhook",
            event_type(row["type"]),
            "ok" if row["ok"] else "failed",
            row["error_code"] or "",
            event_id=row["event_id"],
            where=address(row["destination"]) if row["destination"] else None,
            attempt=row["attempt"],
            latency=row["signed_at"] - generated if generated is not None and row["signed_at"] is not None else None,
            answer=row["http_status"],
        )


def _sends(connection: Connection, account: str, ids: Sequence[str]) -> Iterator[Entry]:
    """Yield what plans did with these events, and who made, approved and closed them."""
    query = (
        select(republishes, plans)
        .join(plans, and_(plans.c.account == republishes.c.account, plans.c.id == republishes.c.plan_id))
        .where(republishes.c.account == account, republishes.c.event_id.in_(ids))
        .order_by(plans.c.created_at.desc())
        .limit(OTHERS)
    )
    told: set[str] = set()
    for row in connection.execute(query).mappings():
        yield Entry(
            row[republishes.c.sent_at] or row[plans.c.created_at],
            "attempt",
            "not sent" if row[republishes.c.sent_at] is None else "sent again",
            row[republishes.c.state],
            row[republishes.c.detail] or "",
            event_id=row[republishes.c.event_id],
            plan_id=row[plans.c.id],
            attempt=row[republishes.c.n],
        )
        if row[plans.c.id] not in told:
            told.add(row[plans.c.id])
            yield from _plan(row)


def _plan(row: Row) -> Iterator[Entry]:
    moments = (
        ("planned", plans.c.created_at, row[plans.c.created_by], row[plans.c.reason]),
        ("approved", plans.c.approved_at, row[plans.c.approved_by], ""),
        ("closed", plans.c.closed_at, row[plans.c.closed_by], row[plans.c.close_reason] or ""),
    )
    for title, column, who, detail in moments:
        if row[column] is not None:
            yield Entry(row[column], "plan", title, "", detail, plan_id=row[plans.c.id], who=who)


def _findings(connection: Connection, account: str, order_id: str) -> Iterator[Entry]:
    """Yield the order's findings as they were last opened and resolved, what people did, and who was told."""
    query = select(findings).where(findings.c.account == account, findings.c.order_id == order_id)
    rows = connection.execute(query.order_by(findings.c.opened_at.desc()).limit(OTHERS)).mappings().all()
    for row in rows:
        title = kind_of(row["kind"], row["subject"]).title or row["kind"]
        again = f"occurrence {row['occurrence']}" if row["occurrence"] > 1 else ""
        yield Entry(row["opened_at"], "finding", title, row["severity"], again)
        if row["resolved_at"] is not None:
            yield Entry(row["resolved_at"], "finding", title, "resolved", again)
        for at, by, did, about in (row["triage"] or {}).get("log", ()):
            yield Entry(datetime.fromisoformat(at), "action", did, "", about, who=by)
    told = select(alerts).where(
        alerts.c.account == account, alerts.c.key.in_([row["key"] for row in rows]), alerts.c.sent_at.is_not(None)
    )
    for row in connection.execute(told.limit(OTHERS)).mappings():
        detail = row["error"] or ""
        yield Entry(row["sent_at"], "alert", row["action"], row["status"], detail, where=row["channel"])
