"""Credit: whether it was this republish that arrived, or another try of the same event.

A try is this republish's when it was signed after the reply, and nothing else explains it: not the original's own
retries, not another republish. `meta.attempt` tells a first try from a retry; the provider's records tell with what
a retry began. Where neither does, a try near to the event's time may be the original's, and is not credited.
"""

from __future__ import annotations

from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from sqlalchemy import or_, select

from telnyx_porting.flows.clock import read_clocks
from telnyx_porting.flows.deliveries.proofs import FUZZ, same_event
from telnyx_porting.flows.feeds import NEVER_READ, get_feed
from telnyx_porting.ledger.predicates import is_unresolved
from telnyx_porting.ledger.states import Feed, Republish
from telnyx_porting.ledger.tables import deliveries, republishes

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy import Connection, Row, RowMapping

    from telnyx_porting.settings import Settings

SAME_TRY = timedelta(seconds=2)  # a record's start and the signed second
LATE = timedelta(hours=2)  # how long after a republish its webhook may still come; how late, is undocumented


class Credit:
    """What decides about one republish.

    :param row: the republish, with `first_seen_at` and `completed_seen_at` of its event.
    """

    def __init__(self, connection: Connection, row: RowMapping, settings: Settings) -> None:
        self._connection, self._row = connection, row
        self._settings, self._near = settings, 2 * settings.grace
        self._clocks = read_clocks(connection, row["account"])

    def is_due(self, delivery: RowMapping) -> bool:
        """Whether this arrival is credited to the republish."""
        return self._after(delivery) and not self._of_another_send(delivery) and self._is_ours(delivery) is True

    def may_be_explained(self, fresh: Iterable[RowMapping], now: datetime) -> bool:
        """Whether the provider's records, which say with what a retry began, are still to be read; not for ever."""
        feed = get_feed(self._connection, self._row["account"], Feed.DELIVERIES) or NEVER_READ
        if feed["proved_at"] is None or feed["covered_until"] is None:
            return False
        unexplained = [d["signed_at"] for d in fresh if self._after(d) and self._is_ours(d) is None]
        late = now > self._row["due_at"] + self._settings.confirm_within
        read_until = self._clocks.to_provider(feed["covered_until"])
        return not late and any(read_until < signed + SAME_TRY for signed in unexplained)

    def _after(self, delivery: RowMapping) -> bool:
        signed, sent = delivery["signed_at"], self._row["reply_date"]
        return signed is not None and sent is not None and signed >= sent - FUZZ

    def _is_ours(self, delivery: RowMapping) -> bool | None:
        """Return None where nothing tells with what the try began."""
        if delivery["record_id"] is None and delivery["attempt"] == 1:
            return True
        if record := self._record(delivery):
            return self._began_after(record)
        if delivery["attempt"] is not None or delivery["record_id"] is not None:
            return None
        generated: datetime = self._row["completed_seen_at"] or self._row["first_seen_at"]
        return True if self._clocks.to_provider(generated) + self._near < delivery["signed_at"] else None

    def _record(self, delivery: RowMapping) -> list[Row[Any]]:
        """Return all tries of the record that this delivery is in, oldest first."""
        name = delivery["record_id"]
        if name is None:
            same = [t for t in self._tries if t.ok and abs(t.signed_at - delivery["signed_at"]) <= SAME_TRY]
            name = min(same, key=lambda t: abs(t.signed_at - delivery["signed_at"])).record_id if same else None
        return [t for t in self._tries if t.record_id == name] if name is not None else []

    @cached_property
    def _tries(self) -> Sequence[Any]:
        c = deliveries.c
        query = select(c.record_id, c.signed_at, c.stored_at, c.ok).order_by(c.signed_at)
        query = query.where(c.account == self._row["account"], c.event_id == self._row["event_id"])
        return self._connection.execute(query.where(c.source == Feed.DELIVERIES, c.signed_at.is_not(None))).all()

    def _began_after(self, record: list[Row[Any]]) -> bool:
        """Tell a record of this republish, or one of the original's that had ended before and grew by it.

        Records may be listed while they are tried: one has ended when nothing was tried for long.
        """
        since = self._row["reply_date"] - FUZZ
        before, after = [t for t in record if t.signed_at < since], [t for t in record if t.signed_at >= since]
        if not before:
            return True
        if not after or min(t.stored_at for t in record) > self._row["sent_at"]:
            return False  # not listed by then: its tries were still running
        return bool(after[0].signed_at - before[-1].signed_at > self._near)

    def _of_another_send(self, delivery: RowMapping) -> bool:
        """Tell what another republish of the event may have caused: a later one, or an earlier one that is late."""
        mine, signed = self._row["reply_date"], delivery["signed_at"]
        return any(signed >= sent - FUZZ if sent > mine else signed <= sent + LATE for sent in self._others)

    @cached_property
    def _others(self) -> Sequence[datetime]:
        c = republishes.c
        query = select(c.reply_date).where(c.account == self._row["account"], c.event_id == self._row["event_id"])
        query = query.where(c.plan_id != self._row["plan_id"], c.reply_date.is_not(None))
        return self._connection.execute(query.where(c.state != Republish.REFUSED)).scalars().all()


def wants_records(connection: Connection, account: str) -> bool:
    """Whether something arrived of which only the provider's records may tell what caused it."""
    feed = get_feed(connection, account, Feed.DELIVERIES)
    if feed is None or feed["proved_at"] is None:
        return False
    query = (
        select(deliveries.c.source_id)
        .join(republishes, same_event(republishes, deliveries))
        .where(republishes.c.account == account, is_unresolved(republishes))
        .where(republishes.c.state != Republish.SENDING, deliveries.c.signed_at >= republishes.c.reply_date)
        .where(deliveries.c.source != Feed.DELIVERIES, deliveries.c.ok)
        .where(or_(deliveries.c.attempt.is_(None), deliveries.c.attempt > 1))
    )
    return connection.execute(query.limit(1)).first() is not None
