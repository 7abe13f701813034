"""Feeds: what we read, how far it covers, and when it was last alive."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, select

from telnyx_porting.ledger.tables import feeds

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger


def get_feed(connection: Connection, account: str, source: str) -> RowMapping | None:
    """Return the feed's row, or None when it was never read."""
    query = select(feeds).where(feeds.c.account == account, feeds.c.source == source)
    return connection.execute(query).mappings().one_or_none()


def touch_feed(ledger: Ledger, connection: Connection, account: str, source: str, **columns: Any) -> None:
    """Write some columns of a feed, creating it when needed."""
    ledger.upsert(connection, feeds, [{"account": account, "source": source, **columns}], change=columns)
