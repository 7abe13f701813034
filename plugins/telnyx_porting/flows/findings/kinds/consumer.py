"""The consumer of record is down: our receiver, or whatever else takes the notifications."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import case, func, select

from telnyx_porting.flows.clock import clock_trouble, kept_offset, last_beat, read_clocks
from telnyx_porting.flows.deliveries.arrival import at_record
from telnyx_porting.flows.deliveries.consumer import find_record
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.health_kind import by, health_kind, seen
from telnyx_porting.flows.findings.kind import PLATFORM, RECEIVERS, Step
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import deliveries
from telnyx_porting.settings.values import CRITICAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.flows.deliveries.consumer import Record
    from telnyx_porting.flows.findings.finding import Look, Seen

FAILING_FOR = timedelta(minutes=30)
NOT_ALIVE = timedelta(minutes=5)
ENOUGH = 5  # failed deliveries in a row that are no accident any more
_STEPS: dict[str, Step] = {
    "consumer": (RECEIVERS, "bring it back; what was missed is planned for republishing by itself"),
    "receiver": (PLATFORM, "start it: python -m telnyx_porting.web.receiver"),
}


def _look(look: Look) -> Iterator[Seen]:
    record = find_record(look.connection, look.account, look.settings, look.now)
    yield from _silent(look, record)
    failed = func.sum(case((deliveries.c.ok, 0), else_=1))
    query = select(
        func.count().label("all"), failed.label("failed"), func.min(deliveries.c.stored_at).label("since")
    ).where(
        deliveries.c.account == look.account,
        deliveries.c.source == Feed.DELIVERIES,
        deliveries.c.signed_at >= read_clocks(look.connection, look.account).to_provider(look.now - FAILING_FOR),
    )
    if record is not None and record.source == Feed.DELIVERIES:
        query = query.where(*at_record(record))
    row = look.connection.execute(query).one()
    if row.failed is not None and row.all == row.failed and row.all >= ENOUGH:
        text = "every notification of the last half hour failed at its destination: the consumer seems to be down"
        yield seen("consumer", CRITICAL, row.since, text)


def _silent(look: Look, record: Record | None) -> Iterator[Seen]:
    """Yield a receiver that is the consumer of record and has no heartbeat."""
    feed = get_feed(look.connection, look.account, Feed.RECEIVER)
    beat = last_beat(feed, read_clocks(look.connection, look.account), look.now)
    if record is None or record.source != Feed.RECEIVER or beat is None or clock_trouble(kept_offset(feed)):
        return
    if look.now - beat >= NOT_ALIVE:
        text = "the receiver is not running: webhooks are lost, and will have to be republished"
        yield seen("receiver", CRITICAL, beat + NOT_ALIVE, text)


KIND = health_kind(_STEPS, _look, by())  # nothing else says it
