"""What the ledger can vouch for: stretches of time proved complete, the gaps between them, and what is held in each.

An audit cuts history only at moments that no held event is near.
"""

from __future__ import annotations

import logging
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, func, or_, select, update

from telnyx_porting.errors import FormError, NotScannedError
from telnyx_porting.flows.events.unread import is_stretch
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.ledger.states import Feed, MadeBy
from telnyx_porting.ledger.tables import events, feeds, windows

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy import RowMapping

    from telnyx_porting.client import ProvedWindow
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
Stretch = tuple["datetime", "datetime"]
QUIET = timedelta(seconds=2)  # no held event is closer to a cut
LOOK = 1_000  # events looked at for a quiet moment


def sealable(part: ProvedWindow, settings: Settings, now: datetime) -> datetime:
    """Return up to when a proved part may be sealed: neither clock may call any of it younger than the settle time."""
    return min(part.until, now - settings.settle, (part.as_of or now) - settings.settle)


def say_how_far(started: float, stretch: Stretch, upto: datetime, events_read: int) -> None:
    """Log how far a reading is, and how long it goes on where the rest is like what was read.

    :param started: when it began, on the monotonic clock.
    """
    seconds = max(time.monotonic() - started, 0.001)
    left = seconds * ((stretch[1] - upto) / max(upto - stretch[0], timedelta(seconds=1)))
    rate = events_read / seconds
    log.info("read up to %s: %d events, %.0f/s, about %.0f s left", upto.isoformat(), events_read, rate, left)


def scanned(connection: Connection, account: str) -> RowMapping:
    """Return the events feed of an account that has been scanned.

    :raises NotScannedError: when there is none, naming those that there are.
    """
    feed = get_feed(connection, account, Feed.EVENTS)
    if feed is None or feed["covered_until"] is None:
        query = select(feeds.c.account).where(feeds.c.source == Feed.EVENTS, feeds.c.covered_until.is_not(None))
        known = ", ".join(connection.execute(query.order_by(feeds.c.account)).scalars()) or "none yet"
        raise NotScannedError(
            f"account {account!r} has not been scanned into this ledger; scanned accounts: {known}."
            " Let porting_scan run once for it"
        )
    return feed


def check_stretch(since: datetime | None, until: datetime | None, now: datetime) -> None:
    """Refuse a stretch that cannot be meant; either end may be open.

    :raises FormError: in one sentence.
    """
    for name, value in (("from", since), ("to", until)):
        if value is not None and value.tzinfo is None:
            raise FormError(name, value.isoformat(), f"it has no time zone; write {value.isoformat()}Z for UTC")
    if since is not None and until is not None and since >= until:
        raise FormError("from", since.isoformat(), f"it must be earlier than to, {until.isoformat()}")
    if since is not None and since >= now:
        raise FormError("from", since.isoformat(), "a time that is over: there is nothing to read yet")


def gaps(connection: Connection, account: str, since: datetime, until: datetime) -> list[Stretch]:
    """Return what nobody has read yet of a stretch, oldest first."""
    found, at = [], since
    for start, end in sorted(_proved(connection, account)):
        if end <= at or start >= until:
            continue
        if start > at:
            found.append((at, start))
        at = max(at, end)
    if at < until:
        found.append((at, until))
    return found


def extend(connection: Connection, account: str) -> None:
    """Let the feed's coverage begin where the stretches that touch it begin."""
    feed = scanned(connection, account)
    begin = feed["covers_from"]
    for start, end in sorted(_proved(connection, account), key=lambda stretch: stretch[1], reverse=True):
        if start < begin <= end:
            begin = start
    mine = (feeds.c.account == account, feeds.c.source == Feed.EVENTS)
    connection.execute(update(feeds).where(*mine, feeds.c.covers_from > begin).values(covers_from=begin))


def held(connection: Connection, account: str, since: datetime, until: datetime) -> int:
    """Count the events held in a stretch, both ends included, that the provider is not known to have dropped."""
    there = _within(account, since, until)
    total = connection.execute(select(func.count()).select_from(events).where(*there)).scalar_one()
    gone = select(func.count()).select_from(events).where(*there, events.c.gone_at.is_not(None))
    return total - connection.execute(gone).scalar_one()


def gone_any(connection: Connection, account: str) -> bool:
    """Whether the provider is known to have removed any event: then counts prove nothing any more."""
    feed = get_feed(connection, account, Feed.EVENTS)
    gone = select(events.c.id).where(events.c.account == account, events.c.gone_at.is_not(None)).limit(1)
    return (feed is not None and feed["horizon"] is not None) or connection.execute(gone).first() is not None


def nth(connection: Connection, account: str, since: datetime, until: datetime, n: int) -> Any:
    """Return the n-th oldest event (from 0) of a stretch, of those the provider is not known to have dropped."""
    query = select(events.c.id, events.c.created_at).where(*_within(account, since, until))
    query = query.where(events.c.gone_at.is_(None)).order_by(events.c.created_at, events.c.id)
    return connection.execute(query.offset(n).limit(1)).one_or_none()


def middle(connection: Connection, account: str, since: datetime, until: datetime, here: int) -> datetime | None:
    """Find a quiet moment near the middle, by events or else by time; None where there is none.

    :param here: events held in the stretch.
    """
    row = nth(connection, account, since, until, here // 2) if here else None
    at = row.created_at if row is not None else since + (until - since) / 2
    for bound in (until, since):
        cut = quiet(connection, account, at, bound)
        if cut is not None and since + QUIET < cut < until - QUIET:
            return cut
    return None


def quiet(connection: Connection, account: str, at: datetime, bound: datetime) -> datetime | None:
    """Return the first moment from `at` towards `bound` that is at least 2 s from both and from every held event."""
    onwards = at <= bound
    low, high = (at, bound) if onwards else (bound, at)
    order = events.c.created_at if onwards else events.c.created_at.desc()
    query = select(events.c.created_at).where(*_within(account, low, high)).order_by(order).limit(LOOK)
    moments = list(connection.execute(query).scalars())
    previous = at
    for moment in [*moments, *([bound] if len(moments) < LOOK else [])]:
        if abs(moment - previous) >= 2 * QUIET:
            return previous + QUIET if onwards else previous - QUIET
        previous = moment
    return None


def _within(account: str, since: datetime, until: datetime) -> tuple[ColumnElement[bool], ...]:
    return events.c.account == account, events.c.created_at >= since, events.c.created_at <= until


def _proved(connection: Connection, account: str) -> list[Stretch]:
    feed = get_feed(connection, account, Feed.EVENTS)
    query = select(windows.c.since, windows.c.until).where(
        windows.c.account == account,
        windows.c.made_by == MadeBy.BACKFILL,
        # What was read but for a row that cannot be is left open for that alone, and read again by the scan.
        or_(windows.c.sealed_at.is_not(None), is_stretch()),
    )
    stretches = [(row.since, row.until) for row in connection.execute(query)]
    if feed is not None and feed["covers_from"] is not None and feed["covered_until"] is not None:
        stretches.append((feed["covers_from"], feed["covered_until"]))
    return stretches
