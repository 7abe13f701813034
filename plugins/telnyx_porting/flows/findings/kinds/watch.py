"""Findings about the watch itself that the ledger shows: nothing sealed, signatures refused, a plan that waits ..."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select

from telnyx_porting.flows.clock import clock_trouble, kept_offset, last_beat, read_clocks
from telnyx_porting.flows.deliveries.arrival import at_record
from telnyx_porting.flows.deliveries.consumer import find_record, kept_record
from telnyx_porting.flows.events.odd import odd_of
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.finding import Seen
from telnyx_porting.ledger.tables import deliveries, feeds, plans
from telnyx_porting.settings.values import CRITICAL, HIGH, LOW

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from telnyx_porting.flows.deliveries.consumer import Record
    from telnyx_porting.flows.findings.finding import Look

DERIVED = frozenset(
    f"health:{name}" for name in ("nothing_sealed", "signatures", "approval", "consumer", "receiver", "rate", "record")
)
NOT_SEALED = timedelta(minutes=30)
APPROVAL_WAITS = timedelta(hours=1)
FAILING_FOR = timedelta(minutes=30)
TOLD_FOR = timedelta(days=1)  # that another consumer of record decides
NOT_ALIVE = timedelta(minutes=5)
ENOUGH = 5  # refused signatures, or failed deliveries in a row, that are no accident any more


def is_derived(key: str) -> bool:
    """Whether a health finding follows from the ledger at every look, rather than being opened and cleared."""
    return key in DERIVED or key.startswith(("health:odd:", "health:look:"))


def _reading(look: Look) -> Iterator[Seen]:
    events = get_feed(look.connection, look.account, "events")
    if events is not None:
        yield from _not_sealed(look, events)
        yield from _starved(look, events)


def _signatures(look: Look) -> Iterator[Seen]:
    receiver = get_feed(look.connection, look.account, "receiver")
    skewed = clock_trouble(kept_offset(receiver))  # told as such, by who is told the time by Telnyx
    if receiver is not None and not skewed and (receiver["refused"] or 0) >= ENOUGH:
        text = "webhooks are refused because their signature does not fit: the public key may have changed"
        yield _health("signatures", HIGH, receiver["proved_at"] or receiver["checked_at"] or look.now, text)


def _odd_rows(look: Look) -> Iterator[Seen]:
    """Yield, per feed, that it holds rows which are not as they are meant."""
    query = select(feeds).where(feeds.c.account == look.account, feeds.c.odd.is_not(None)).order_by(feeds.c.source)
    for feed in look.connection.execute(query).mappings().all():
        if odd := odd_of(feed, look.now):
            what, (first, _) = next(iter(odd.items()))
            yield _odd(feed["source"], first, what, len(odd))


def _odd(source: str, since: datetime, what: str, count: int) -> Seen:
    name = {
        "events": "Telnyx's list of events holds",
        "orders": "Telnyx's list of orders holds",
        "deliveries": "Telnyx's delivery records hold",
        "receiver": "the receiver's webhooks hold",
    }.get(source, f"{source} holds")
    text = f"{name} what cannot be read as it is meant, for example {what}; everything else is stored and judged"
    severity = HIGH if source == "events" else LOW
    return Seen("health", f"odd:{source}", None, severity, since, {"text": text, "rows": count})


def _health(subject: str, severity: str, since: datetime, text: str) -> Seen:
    return Seen("health", subject, None, severity, since, {"text": text})


def _not_sealed(look: Look, feed: Mapping[Any, Any]) -> Iterator[Seen]:
    last = feed["watch_from"]
    if feed["covered_until"] is not None:
        last = read_clocks(look.connection, look.account).from_provider(feed["covered_until"])
    pause = max(NOT_SEALED, 3 * look.settings.scan_every) + look.settings.settle
    if last is not None and look.now - last >= pause:
        text = "the events could not be read completely for a while: what is wrong now may not be seen"
        yield _health("nothing_sealed", CRITICAL, last + pause, text)


def _starved(look: Look, feed: Mapping[Any, Any]) -> Iterator[Seen]:
    limit = feed["rate_limit"] or {}
    total, left = limit.get("limit"), limit.get("remaining")
    if isinstance(total, int) and isinstance(left, int) and total >= 10 and left * 10 < total:
        text = "other software uses up nearly all of the rate limit of this Telnyx account; the watch is slow"
        yield _health("rate", LOW, feed["checked_at"] or look.now, text)


def _approval(look: Look) -> Iterator[Seen]:
    query = select(func.min(plans.c.created_at)).where(
        plans.c.account == look.account, plans.c.closed_at.is_(None), plans.c.approved_at.is_(None)
    )
    oldest = look.connection.execute(query).scalar()
    if oldest is not None and look.settings.republish_mode != "off" and look.now - oldest >= APPROVAL_WAITS:
        text = "a plan of missed notifications waits for approval in porting_republish"
        yield _health("approval", HIGH, oldest + APPROVAL_WAITS, text)


def _consumer(look: Look) -> Iterator[Seen]:
    record = find_record(look.connection, look.account, look.settings, look.now)
    yield from _silent(look, record)
    failed = func.sum(case((deliveries.c.ok, 0), else_=1))
    query = select(
        func.count().label("all"), failed.label("failed"), func.min(deliveries.c.stored_at).label("since")
    ).where(
        deliveries.c.account == look.account,
        deliveries.c.source == "deliveries",
        deliveries.c.signed_at >= read_clocks(look.connection, look.account).to_provider(look.now - FAILING_FOR),
    )
    if record is not None and record.source == "deliveries":
        query = query.where(*at_record(record))
    row = look.connection.execute(query).one()
    if row.failed is not None and row.all == row.failed and row.all >= ENOUGH:
        text = "every notification of the last half hour failed at its destination: the consumer seems to be down"
        yield _health("consumer", CRITICAL, row.since, text)


def _silent(look: Look, record: Record | None) -> Iterator[Seen]:
    """Yield a receiver that is the consumer of record and has no heartbeat."""
    feed = get_feed(look.connection, look.account, "receiver")
    beat = last_beat(feed, read_clocks(look.connection, look.account), look.now)
    if record is None or record.source != "receiver" or beat is None or clock_trouble(kept_offset(feed)):
        return
    if look.now - beat >= NOT_ALIVE:
        text = "the receiver is not running: webhooks are lost, and will have to be republished"
        yield _health("receiver", CRITICAL, beat + NOT_ALIVE, text)


def _record_changed(look: Look) -> Iterator[Seen]:
    """Yield that something else decides now whether notifications arrive; for a day."""
    kept = kept_record(look.connection, look.account)
    if kept is None or "before" not in kept:
        return
    since = datetime.fromisoformat(kept["since"])
    if look.now - since < TOLD_FOR:
        text = (
            f"{kept['name']} decides now whether notifications arrived, no longer {kept['before']}; what was missed"
            " before stays missed. Set consumer_of_record if another should decide"
        )
        yield _health("record", HIGH, since, text)


WATCHED = (_reading, _signatures, _approval, _consumer, _record_changed, _odd_rows)
"""Each says what is wrong with one thing about the watch of an account."""
