"""Outages of the receiver: gaps in its heartbeat, in which no webhook was accepted. The newest ones are remembered.

All of them, not only the last: an event stays open for days (a plan waits for a person), and the outage that explains
its silence must not be forgotten because the receiver went down again.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import BigInteger, ColumnElement, Text, case, cast, func

from telnyx_porting.ledger.engine import excluded
from telnyx_porting.ledger.tables import feeds
from telnyx_porting.ledger.types import microseconds

GAP = timedelta(minutes=1)  # a longer gap between two heartbeats is an outage
KEPT = 100  # bounds the row, which every heartbeat rewrites
_WIDTH = len("1790000000000000:1790000000000000 ")  # the same for every time from 2001 to 2286


def noted() -> ColumnElement[Any]:
    """Return SQL for the feed's outages once the new heartbeat is written: one more in front if there was a gap."""
    last, now = feeds.c.heartbeat, excluded("heartbeat")
    gap = last < now - microseconds(GAP)
    known = feeds.c.clock_offset
    since = cast(last + _microseconds(known), Text)  # its clock may have been set in between
    until = cast(now + _microseconds(func.coalesce(excluded("clock_offset"), known)), Text)
    newest = since + ":" + until + " "
    longer = newest + func.coalesce(feeds.c.outages, "", type_=Text)
    return case((gap, func.substr(longer, 1, KEPT * _WIDTH)), else_=feeds.c.outages)


def read(column: str | None) -> list[tuple[datetime, datetime]]:
    """Return since when and until when the receiver was down, oldest first, on Telnyx's clock."""
    pairs = [entry.split(":") for entry in reversed((column or "").split())]
    return [(_time(since), _time(until)) for since, until in pairs]


def _microseconds(offset: ColumnElement[int]) -> ColumnElement[int]:
    """Return SQL: the provider's clock minus the receiver's."""
    return func.coalesce(offset, 0, type_=BigInteger()) * 1_000


def _time(text: str) -> datetime:
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=int(text))
