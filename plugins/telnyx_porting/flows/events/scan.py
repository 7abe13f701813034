"""Scan: read a closed `created_at` window into the ledger and seal what is proved.

The window is ``[watermark - overlap, now - settle]``. The client proves each part complete (counts before the first and
after the last page are equal, and equal the distinct ids); the watermark moves in the transaction that stores the last
rows of a part, only forwards, and only while this scan still holds the feed's token. Late rows (created behind the
watermark) widen the overlap to twice their delay, up to 7 days; without any it is halved every day. Events still
without a payload are read again: by id, or with one window read where that takes fewer requests.
"""

from __future__ import annotations

import logging
import time
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, delete, func, select, update

from telnyx_porting.errors import EnvelopeError, NotFoundError, TelnyxPortingError
from telnyx_porting.flows.events.coverage import say_how_far, sealable
from telnyx_porting.flows.events.odd import keep_odd
from telnyx_porting.flows.events.store import Stored, store
from telnyx_porting.flows.events.unread import is_stretch, leave_open, read_again, why_open
from telnyx_porting.flows.feeds import NEVER_READ, get_feed, touch_feed
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.predicates import not_generated
from telnyx_porting.ledger.states import Feed, MadeBy
from telnyx_porting.ledger.tables import events, feeds, windows
from telnyx_porting.ledger.types import instant
from telnyx_porting.models.keys import WEBHOOK_TYPES
from telnyx_porting.models.oddities import is_uuid

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telnyx_porting.client import ProvedWindow, TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.events.coverage import Stretch
    from telnyx_porting.flows.identity import AccountClient
    from telnyx_porting.models.events import PortingEvent
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
MAX_OVERLAP = timedelta(days=7)
HALVED_AFTER = timedelta(days=1)
PAGE = 250
REREAD_AT_ONCE = 50  # events without payload looked at per scan; those not looked at for longest come first


@dataclass(frozen=True)
class ScanResult:
    """What one scan did. Counts only: it may travel through XCom and asset events."""

    account: str
    since: datetime
    until: datetime
    new: int
    changed: int
    late: int
    held: int  # distinct ids the provider returned for the window
    requests: int
    sealed_until: datetime | None
    first_contact: bool


def scan(account: Account, client: TelnyxClient) -> ScanResult:
    """Bring the ledger up to date with the provider's events.

    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user.
    :raises TelnyxError: the provider could not be read; the window stays open with that reason.
    """
    now = account.clock()
    client = accept(account, client)
    token = uuid.uuid4().hex
    with account.ledger.write() as connection:
        feed = get_feed(connection, account.id, Feed.EVENTS) or NEVER_READ
        lateness = _lateness(feed, now)
        columns = {"token": token, "checked_at": now, "lateness": lateness}
        touch_feed(account.ledger, connection, account.id, Feed.EVENTS, **columns)
        since, until = _window(feed["covered_until"], lateness, account.settings, now)
        row = {"account": account.id, "id": token, "made_by": MadeBy.SCAN, "started_at": now}
        row |= {"since": since, "until": until, "open_reason": "not finished"}  # so a crash leaves it
        account.ledger.upsert(connection, windows, [row])
    work = _Scan(account, now, token, (since, until), behind=feed["covered_until"])
    asked_before = client.requests_made
    try:
        for part in client.iter_proved_windows(created_at_gte=since, created_at_lte=until):
            work.take(part)
        work.stored += _reread(account, client, now, since)
        work.stored += read_again(account, client, now)
    except TelnyxPortingError as error:
        work.close(client.requests_made - asked_before, reason=str(error))
        raise
    work.close(client.requests_made - asked_before, reason=None)
    keep_odd(account, Feed.EVENTS, [*work.unread, *work.repeated, *work.stored.odd], now)
    if (limit := client.rate_limit) is not None:
        told = {"limit": limit.limit, "remaining": limit.remaining}
        with account.ledger.write() as connection:
            touch_feed(account.ledger, connection, account.id, Feed.EVENTS, rate_limit=told)
    return ScanResult(
        account=account.id,
        since=since,
        until=until,
        new=work.stored.new,
        changed=work.stored.changed,
        late=work.stored.late,
        held=work.held,
        requests=client.requests_made - asked_before,
        sealed_until=work.sealed_until,
        first_contact=feed["checked_at"] is None,
    )


def _lateness(feed: Mapping[Any, Any], now: datetime) -> int | None:
    """Let the delay learned from late rows fade."""
    if not feed["lateness"] or feed["checked_at"] is None:
        return None
    days = max((now - feed["checked_at"]) / HALVED_AFTER, 0.0)
    return int(feed["lateness"] * 0.5**days) or None


def _window(watermark: datetime | None, lateness: int | None, settings: Settings, now: datetime) -> Stretch:
    until = now - settings.settle
    if watermark is None:
        return now - timedelta(days=settings.first_look_days) - settings.overlap, until
    learned = timedelta(seconds=2 * (lateness or 0))
    # A watermark ahead of our clock (the clock was set back) must not turn the window round.
    return min(watermark, until) - min(MAX_OVERLAP, max(settings.overlap, learned)), until


class _Scan:
    """One scan's progress: what was stored, and how far it is sealed."""

    def __init__(self, account: Account, now: datetime, token: str, whole: Stretch, behind: datetime | None) -> None:
        self.account, self.now, self.whole, self.behind = account, now, whole, behind
        self.stored = Stored()
        self.held = 0
        self.unread: tuple[str, ...] = ()
        self.repeated: tuple[str, ...] = ()
        self.sealed_until: datetime | None = None
        self.as_of: datetime | None = None
        self.started = time.monotonic()
        self.window = (windows.c.account == account.id, windows.c.id == token)
        self.feed = (feeds.c.account == account.id, feeds.c.source == Feed.EVENTS, feeds.c.token == token)

    def take(self, part: ProvedWindow) -> None:
        """Store one proved part in short transactions; the last one seals it."""
        self.stored += store(self.account, part.rows, self.now, self.behind, finish=lambda c: self._seal(c, part))
        self.held += len(part.rows)
        self.unread += part.unread
        self.repeated += part.repeated
        self.as_of = self.as_of or part.as_of
        say_how_far(self.started, self.whole, part.until, self.held)

    def _seal(self, connection: Connection, part: ProvedWindow) -> None:
        end = sealable(part, self.account.settings, self.now)
        since = part.since or end
        if end < since:
            return
        greatest = self.account.ledger.greatest
        connected = feeds.c.covered_until.is_(None) | (feeds.c.covered_until >= since)
        moved = connection.execute(
            update(feeds)
            .where(*self.feed, connected)
            .values(
                covered_until=greatest(func.coalesce(feeds.c.covered_until, instant(end)), instant(end)),
                covers_from=func.coalesce(feeds.c.covers_from, instant(since)),
                proved_at=func.coalesce(feeds.c.proved_at, instant(self.now)),
                error=None,
            )
        )
        if moved.rowcount:
            self.sealed_until = end
            leave_open(connection, self.account, part, MadeBy.SCAN, self.now)

    def close(self, requests: int, reason: str | None) -> None:
        """Write what the window proved, or why it stays open; of the feed, only while it is still this scan's."""
        if reason is None and self.sealed_until is None:
            reason = "another scan took over, or the window is younger than the settle time"
        values: dict[str, Any] = {"held": self.held, "late": self.stored.late, "requests": requests}
        values |= {"as_of": self.as_of, "open_reason": reason}
        if reason is None:
            values["counted"] = self.held + len(self.unread)
            sealed = {"until": self.sealed_until, "sealed_at": self.now}
            values |= {"open_reason": why_open(self.unread)} if self.unread else sealed
        with self.account.ledger.write() as connection:
            connection.execute(update(windows).where(*self.window).values(**values))
            feed: dict[str, Any] = {"error": reason} if reason else {}
            if self.stored.oldest_late and self.behind:
                delay = int((self.behind - self.stored.oldest_late).total_seconds()) + 1
                feed["lateness"] = self.account.ledger.greatest(func.coalesce(feeds.c.lateness, 0), delay)
            if feed:
                connection.execute(update(feeds).where(*self.feed).values(**feed))
            if reason is None:  # what earlier scans could not prove has been read and proved now
                mine = (windows.c.account == self.account.id, windows.c.made_by == MadeBy.SCAN, ~self.window[1])
                earlier = (windows.c.started_at <= self.now, windows.c.until <= self.sealed_until)
                connection.execute(delete(windows).where(*mine, *earlier, windows.c.sealed_at.is_(None), ~is_stretch()))


def _reread(account: Account, client: AccountClient, now: datetime, since: datetime) -> Stored:
    """Look again at events still without a payload that this scan's window did not cover."""
    waiting = (
        select(events.c.id, events.c.created_at)
        .where(events.c.account == account.id, not_generated(events), events.c.created_at < since)
        .where(events.c.type.in_(sorted(WEBHOOK_TYPES)), events.c.has_webhook)
        .order_by(events.c.reread_at.is_not(None), events.c.reread_at, events.c.created_at)
        .limit(REREAD_AT_ONCE)
    )
    with account.ledger.read() as connection:
        rows = connection.execute(waiting).all()
        if not rows:
            return Stored()
        first, last = min(row.created_at for row in rows), max(row.created_at for row in rows)
        by_window = _pages(connection, account.id, first, last, most=len(rows))
    if by_window < len(rows):
        found = [e for part in client.iter_proved_windows(first, last) for e in part.rows]
    else:
        found = [event for row in rows if is_uuid(row.id) and (event := _get(client, row.id)) is not None]
    total = store(account, found, now)
    with account.ledger.write() as connection:
        looked_at = events.c.id.in_([row.id for row in rows])
        connection.execute(update(events).where(events.c.account == account.id, looked_at).values(reread_at=now))
    return total


def _pages(connection: Connection, account: str, first: datetime, last: datetime, most: int) -> int:
    """Say about how many requests reading a window takes, without counting beyond what matters."""
    between = (events.c.account == account, events.c.created_at >= first, events.c.created_at <= last)
    some = select(events.c.id).where(*between).limit(most * PAGE).subquery()
    return connection.execute(select(func.count()).select_from(some)).scalar_one() // PAGE + 3


def _get(client: AccountClient, event_id: str) -> PortingEvent | None:
    try:
        return client.get_porting_event(event_id)
    except NotFoundError:
        log.warning("event %s is no longer known to the provider; it is kept here", event_id)
    except EnvelopeError as error:  # the others are read all the same
        log.warning("event %s cannot be read again: %s", event_id, error)
    return None
