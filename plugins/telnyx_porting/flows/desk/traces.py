"""Which notifications left a trace in Telnyx's delivery records, wherever they went. A look, no verdict.

That none is on record proves nothing by itself: whether all port-in webhooks are recorded is undocumented.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, exists, func, select

from telnyx_porting.flows.clock import read_clocks
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.ledger.states import Feed, PayloadStatus
from telnyx_porting.ledger.tables import deliveries, events, orders
from telnyx_porting.ledger.types import Instant
from telnyx_porting.models.keys import WEBHOOK_TYPES

if TYPE_CHECKING:
    from datetime import datetime

    from telnyx_porting.flows.account import Account


@dataclass(frozen=True)
class Traces:
    """What delivery records say of the events that were read.

    :param records: tries of port-in webhooks on record; the other fields are empty where there are none
    :param since: when the oldest of them began, on our clock: nothing is said of what was generated before
    :param delivered: events of which at least one try was answered with a 2xx
    :param failed: events of which every try on record failed
    :param unclear: events without a trace, of whose order and type there is a record that fits no single event
    :param none: events without any, newest first: id, type, created_at, and what their order is called
    :param young: generated so lately that a record may still come
    :param before: generated before `since`
    :param destinations: tries by URL
    :param same_ids: tries whose webhook has the id of its event
    :param other_ids: tries whose webhook has an id of its own
    """

    records: int = 0
    since: datetime | None = None
    delivered: int = 0
    failed: int = 0
    unclear: int = 0
    none: tuple[dict[str, Any], ...] = ()
    young: int = 0
    before: int = 0
    destinations: tuple[tuple[str, int], ...] = ()
    same_ids: int = 0
    other_ids: int = 0

    @property
    def cover_port_ins(self) -> bool:
        """Whether the records seem to hold port-ins at all: half of what was due left a trace."""
        none = len(self.none)
        return self.records > 0 and none <= self.delivered + self.failed + self.unclear


def find_traces(account: Account) -> Traces:
    """Look for a record of each notification that was due; the records are matched already."""
    with account.ledger.read() as connection:
        mine = (deliveries.c.account == account.id, deliveries.c.source == Feed.DELIVERIES)
        records = connection.execute(select(func.count()).select_from(deliveries).where(*mine)).scalar_one()
        feed = get_feed(connection, account.id, Feed.DELIVERIES)
        if not records or feed is None or feed["covered_until"] is None:
            return Traces()
        since, until = feed["covers_from"], feed["covered_until"] - account.settings.grace
        by_verdict: dict[str, list[dict[str, Any]]] = {}
        for row in _generated(connection, account.id):
            by_verdict.setdefault(_verdict(row, since, until), []).append(row)
        urls = select(deliveries.c.destination, func.count()).where(*mine, deliveries.c.destination.is_not(None))
        urls = urls.group_by(deliveries.c.destination).order_by(func.count().desc(), deliveries.c.destination)
        same = deliveries.c.webhook_id == deliveries.c.event_id
        ids = select(same, func.count()).where(*mine, deliveries.c.event_id.is_not(None)).group_by(same)
        by_id = {bool(is_same): count for is_same, count in connection.execute(ids)}
        return Traces(
            records,
            since,
            **{name: len(by_verdict.get(name, ())) for name in ("delivered", "failed", "unclear", "young", "before")},
            none=tuple(by_verdict.get("none", ())),
            destinations=tuple((row[0], row[1]) for row in connection.execute(urls)),
            same_ids=by_id.get(True, 0),
            other_ids=by_id.get(False, 0),
        )


def _generated(connection: Connection, account: str) -> list[dict[str, Any]]:
    """Return events whose notification was generated, newest first, and which tries of it are on record."""
    at = read_clocks(connection, account).told_by_provider(events.c.updated_at)
    tries = and_(deliveries.c.account == events.c.account, deliveries.c.source == Feed.DELIVERIES)

    def any_try(*conditions: ColumnElement[bool]) -> ColumnElement[bool]:
        return exists().where(tries, *conditions).correlate(events)

    unmatched = (deliveries.c.event_id.is_(None), deliveries.c.order_id == events.c.order_id)
    query = (
        select(
            events.c.id,
            events.c.type,
            events.c.order_id,
            events.c.created_at,
            func.coalesce(events.c.completed_seen_at, at, type_=Instant()).label("generated"),
            any_try(deliveries.c.event_id == events.c.id).label("tried"),
            any_try(deliveries.c.event_id == events.c.id, deliveries.c.ok).label("ok"),
            any_try(*unmatched, deliveries.c.type == events.c.type).label("maybe"),
            orders.c.customer_reference,
            orders.c.support_key,
        )
        .outerjoin(orders, and_(orders.c.account == events.c.account, orders.c.id == events.c.order_id))
        .where(events.c.account == account, events.c.type.in_(sorted(WEBHOOK_TYPES)), events.c.has_webhook)
        .where(events.c.payload_status == PayloadStatus.COMPLETED)
        .order_by(events.c.created_at.desc(), events.c.id)
    )
    return [dict(row) for row in connection.execute(query).mappings()]


def _verdict(row: dict[str, Any], since: datetime, until: datetime) -> str:
    if row["tried"]:
        return "delivered" if row["ok"] else "failed"
    if row["generated"] > until:
        return "young"
    if row["generated"] < since:
        return "before"
    return "unclear" if row["maybe"] else "none"
