"""Clocks: Telnyx's, ours and the receiver's. Who is told the time by Telnyx keeps how far its own clock is off.

Every answer of the API carries Telnyx's `Date`; every webhook carries a signed time. Up to `LARGEST_SKEW` times are
moved to one clock before they are compared, here and nowhere else; beyond it signatures are refused, and nothing may be
judged or sent.

    Telnyx's    created_at, updated_at, occurred_at, signed_at; the events feed's coverage; the receiver's `covers_from`
                and outages; `reply_date` and `last_sent_date`
    receiver's  its heartbeat, and `stored_at` of what it stored
    ours        everything else
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.client.clock import GOOD_TO
from telnyx_porting.errors import TelnyxError
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.types import EPOCH, LATEST, microseconds
from telnyx_porting.webhooks import TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from sqlalchemy import ColumnElement, Connection

    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient
    from telnyx_porting.ledger.engine import Ledger

SKEW = timedelta(seconds=60)  # worth telling
LARGEST_SKEW = TOLERANCE
OURS, RECEIVERS = "this machine's", "the receiver's"
_MILLISECOND = timedelta(milliseconds=1)
_OURS_THEN, _THEIRS_THEN = "ours", "theirs"


@dataclass(frozen=True)
class Clocks:
    """How far other clocks are ahead of ours, as last measured; zero while that is not known."""

    provider: timedelta = timedelta(0)
    receiver: timedelta = timedelta(0)
    receiver_then: timedelta | None = None  # as its last webhook showed, by what was known of the provider's then

    def from_provider(self, at: datetime) -> datetime:
        """Move a time of Telnyx's to our clock; one outside of the ledger's years becomes the first or the last."""
        return min(max(at, EPOCH), LATEST) - self.provider

    def to_provider(self, at: datetime) -> datetime:
        """Move a time of ours to Telnyx's clock."""
        return at + self.provider

    def told_by_provider(self, column: ColumnElement[datetime]) -> ColumnElement[datetime]:
        """Return SQL: a column of Telnyx's times, on our clock."""
        return column - microseconds(self.provider)

    def from_receiver(self, at: datetime) -> datetime:
        """Move a time of the receiver's to our clock."""
        return at - self.receiver

    def to_receiver(self, at: datetime) -> datetime:
        """Move a time of ours to the receiver's clock."""
        return at + self.receiver

    def to_source(self, source: str, at: datetime) -> datetime:
        """Move a time of ours to the clock of who stored a source's deliveries."""
        return self.to_receiver(at) if source == Feed.RECEIVER else at


def read_clocks(connection: Connection, account: str) -> Clocks:
    """Return what is known of the clocks of this account."""
    return clocks_of(get_feed(connection, account, Feed.EVENTS), get_feed(connection, account, Feed.RECEIVER))


def complete_to(connection: Connection, account: str) -> datetime | None:
    """Return up to when all events of Telnyx's are here, on our clock; None: never read."""
    feed = get_feed(connection, account, Feed.EVENTS)
    if feed is None or feed["covered_until"] is None:
        return None
    return read_clocks(connection, account).from_provider(feed["covered_until"])


def clocks_of(events: Mapping[Any, Any] | None, receiver: Mapping[Any, Any] | None) -> Clocks:
    """Return what two feeds know of the clocks.

    A difference beyond `LARGEST_SKEW` moves nothing: it may be a replay's, and whoever asks has :func:`clock_trouble`.
    """
    ours, theirs = kept_offset(events) or timedelta(0), kept_offset(receiver)
    if receiver is None or theirs is None or clock_trouble(theirs):
        return Clocks(ours)
    then = receiver["known"][_OURS_THEN] * _MILLISECOND - theirs if receiver["known"] else None
    return Clocks(ours, ours - theirs, then)


def keep_receiver(ledger: Ledger, connection: Connection, account: str) -> None:
    """Keep how far we were from Telnyx's clock when the receiver was last measured against it.

    The two are measured at different times: where Telnyx's clock, or the host of both of us, is set in between, only
    what was known together tells how far we are from each other.
    """
    events, receiver = get_feed(connection, account, Feed.EVENTS), get_feed(connection, account, Feed.RECEIVER)
    if events is None or receiver is None or (theirs := receiver["clock_offset"]) is None:
        return
    known = receiver["known"]
    if known is None or abs(known[_THEIRS_THEN] - theirs) * _MILLISECOND > GOOD_TO:
        now = {_OURS_THEN: events["clock_offset"] or 0, _THEIRS_THEN: theirs}
        touch_feed(ledger, connection, account, Feed.RECEIVER, known=now)


def last_beat(receiver: Mapping[Any, Any] | None, clocks: Clocks, now: datetime) -> datetime | None:
    """Return when the receiver's heart beat last, on our clock; None: never.

    Where a clock was set since the receiver was measured, two differences are possible: what would be in the future is
    not true, else the later time is.
    """
    if receiver is None or receiver["heartbeat"] is None:
        return None
    beats = [clocks.from_receiver(receiver["heartbeat"])]
    if clocks.receiver_then is not None:
        beats.append(receiver["heartbeat"] - clocks.receiver_then)
    past = [beat for beat in beats if beat <= now + 2 * GOOD_TO]
    return max(past) if past else min(beats)


@dataclass(frozen=True)
class CommonClock:
    """The clock that the ledger's times are of, on whichever machine: several may take turns on one plan.

    :param ahead: how far the common one is ahead of it.
    """

    own: Callable[[], datetime]
    ahead: timedelta = timedelta(0)

    def __call__(self) -> datetime:
        """Return the time."""
        return self.own() + self.ahead

    @classmethod
    def of(cls, clock: Callable[[], datetime]) -> CommonClock:
        """Take a clock for the common one, if it is not."""
        return clock if isinstance(clock, cls) else cls(clock)

    def to_own(self, at: datetime) -> datetime:
        """Move a time to this machine's clock."""
        return at - self.ahead


def common_clock(account: Account, client: AccountClient) -> CommonClock:
    """Return the common clock, by the time that Telnyx tells this machine and told whoever read it last."""
    own = account.clock
    if client.clock_offset is None:
        with suppress(TelnyxError):  # who does not answer now is asked again before the first send
            client.count_porting_events(created_at_gte=own())
    with account.ledger.read() as connection:
        kept = kept_offset(get_feed(connection, account.id, Feed.EVENTS))
    mine = client.clock_offset
    if mine is None or kept is None or abs(mine - kept) <= GOOD_TO or clock_trouble(mine):
        return CommonClock(own)
    return CommonClock(own, mine - kept)


def kept_offset(feed: Mapping[Any, Any] | None) -> timedelta | None:
    """Return the provider's clock minus the clock of who writes this feed (`events`: ours), or None: not known."""
    return timedelta(milliseconds=feed["clock_offset"]) if feed and feed["clock_offset"] is not None else None


def keep_offset(account: Account, offset: timedelta) -> None:
    """Keep the provider's clock minus ours."""
    with account.ledger.write() as connection:
        known = kept_offset(get_feed(connection, account.id, Feed.EVENTS))
        if known is None or abs(known - offset) > GOOD_TO:
            touch_feed(
                account.ledger, connection, account.id, Feed.EVENTS, clock_offset=offset // timedelta(milliseconds=1)
            )


def clock_trouble(offset: timedelta | None, whose: str = OURS) -> str | None:
    """Return in words that Telnyx's clock and another differ too much to judge or to send, or None."""
    if offset is None or abs(offset) <= LARGEST_SKEW:
        return None
    return f"{_differ(offset, whose)}: signatures are refused and times cannot be compared; set it (NTP)"


def clock_differs(offset: timedelta | None, whose: str = OURS) -> str | None:
    """Return in words that Telnyx's clock and another differ enough to tell, or None."""
    return f"{_differ(offset, whose)}: set it (NTP)" if offset is not None and abs(offset) > SKEW else None


def receiver_differs(receiver: Mapping[Any, Any] | None, clocks: Clocks, now: datetime) -> str | None:
    """Return in words that the receiver's clock differs enough to tell, or None.

    As its last webhook showed; or its heart beat in the future, because its clock was set since. That it was set back
    since looks like silence, until the next webhook.
    """
    if (measured := clock_differs(kept_offset(receiver), RECEIVERS)) is not None:
        return measured
    beat = last_beat(receiver, clocks, now)
    if beat is None or (ahead := beat - now) <= SKEW:
        return None
    return f"the receiver's clock is {ahead.total_seconds():.0f} s ahead of {OURS}: set them (NTP)"


def _differ(offset: timedelta, whose: str) -> str:
    seconds = offset.total_seconds()
    return f"{whose} clock is {abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead of'} Telnyx's"
