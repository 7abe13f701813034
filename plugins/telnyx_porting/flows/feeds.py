"""Feeds: what we read, how far it covers, and when it was last alive.

Outages of the receiver are gaps in its heartbeat, in which no webhook was accepted. The newest ones are remembered, not
only the last: an event stays open for days (a plan waits for a person), and the outage that explains its silence must
not be forgotten because the receiver went down again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ColumnElement, Connection, RowMapping, Text, case, cast, func, select

from telnyx_porting.ledger.engine import Ledger, excluded
from telnyx_porting.ledger.tables import feeds
from telnyx_porting.ledger.types import microseconds

if TYPE_CHECKING:
    from collections.abc import Mapping

GAP = timedelta(minutes=1)  # a longer gap between two heartbeats is an outage
KEPT = 100  # outages; bounds the row, which every heartbeat rewrites
NEVER_READ: Mapping[Any, Any] = dict.fromkeys(feeds.c.keys())
_WIDTH = len("1790000000000000:1790000000000000 ")  # the same for every time from 2001 to 2286
_UNIX = datetime(1970, 1, 1, tzinfo=UTC)
_TICK = timedelta(microseconds=1)


def get_feed(connection: Connection, account: str, source: str) -> RowMapping | None:
    """Return the feed's row, or None when it was never read."""
    query = select(feeds).where(feeds.c.account == account, feeds.c.source == source)
    return connection.execute(query).mappings().one_or_none()


def touch_feed(ledger: Ledger, connection: Connection, account: str, source: str, **columns: Any) -> None:
    """Write some columns of a feed, creating it when needed."""
    ledger.upsert(connection, feeds, [{"account": account, "source": source, **columns}], change=columns)


def noted_outages() -> ColumnElement[Any]:
    """Return SQL for the feed's outages once the new heartbeat is written: one more in front if there was a gap."""
    last, now = feeds.c.heartbeat, excluded("heartbeat")
    gap = last < now - microseconds(GAP)
    known = feeds.c.clock_offset
    since = cast(last + _offset(known), Text)  # its clock may have been set in between
    until = cast(now + _offset(func.coalesce(excluded("clock_offset"), known)), Text)
    newest = since + ":" + until + " "
    longer = newest + func.coalesce(feeds.c.outages, "", type_=Text)
    return case((gap, func.substr(longer, 1, KEPT * _WIDTH)), else_=feeds.c.outages)


def read_outages(column: str | None) -> list[tuple[datetime, datetime]]:
    """Return since when and until when the receiver was down, oldest first, on Telnyx's clock."""
    pairs = [entry.split(":") for entry in reversed((column or "").split())]
    return [(_UNIX + int(since) * _TICK, _UNIX + int(until) * _TICK) for since, until in pairs]


def _offset(known: ColumnElement[int]) -> ColumnElement[int]:
    """Return SQL: the provider's clock minus the receiver's."""
    return func.coalesce(known, 0, type_=BigInteger()) * 1_000
