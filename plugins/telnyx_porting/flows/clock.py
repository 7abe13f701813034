"""Clocks: Telnyx's, ours and the receiver's. Who is told the time by Telnyx keeps how far its own clock is off.

Every answer of the API carries Telnyx's `Date`; every webhook carries a signed time. Up to `LARGEST_SKEW` times are
moved to one clock before they are compared; beyond it signatures are refused, and nothing may be judged or sent.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.webhooks import TOLERANCE

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from sqlalchemy import Connection

    from telnyx_porting.ledger.engine import Ledger

SKEW = timedelta(seconds=60)  # worth telling
LARGEST_SKEW = TOLERANCE
OURS, RECEIVERS = "this machine's", "the receiver's"
GOOD_TO = timedelta(seconds=2)  # an HTTP date has whole seconds


def clock_offset(connection: Connection, account: str) -> timedelta:
    """Return the provider's clock minus ours, as last measured; zero while it is not known."""
    return kept_offset(get_feed(connection, account, "events")) or timedelta(0)


def kept_offset(feed: Mapping[Any, Any] | None) -> timedelta | None:
    """Return the provider's clock minus the clock of who writes this feed (`events`: ours), or None: not known."""
    return timedelta(milliseconds=feed["clock_offset"]) if feed and feed["clock_offset"] is not None else None


def keep_offset(ledger: Ledger, account: str, offset: timedelta) -> None:
    """Keep the provider's clock minus ours."""
    with ledger.write() as connection:
        if abs(clock_offset(connection, account) - offset) > GOOD_TO:
            touch_feed(ledger, connection, account, "events", clock_offset=offset // timedelta(milliseconds=1))


def clock_trouble(offset: timedelta | None, whose: str = OURS) -> str | None:
    """Return in words that Telnyx's clock and another differ too much to judge or to send, or None."""
    if offset is None or abs(offset) <= LARGEST_SKEW:
        return None
    return f"{_differ(offset, whose)}: signatures are refused and times cannot be compared; set it (NTP)"


def clock_differs(offset: timedelta | None, whose: str = OURS) -> str | None:
    """Return in words that Telnyx's clock and another differ enough to tell, or None."""
    return f"{_differ(offset, whose)}: set it (NTP)" if offset is not None and abs(offset) > SKEW else None


def receiver_ahead(feed: Mapping[Any, Any] | None, now: datetime) -> str | None:
    """Return in words that the receiver's heart beat in the future, or None. That it is behind looks like silence."""
    if feed is None or feed["heartbeat"] is None or (ahead := feed["heartbeat"] - now) <= SKEW:
        return None
    return f"the receiver's clock is {ahead.total_seconds():.0f} s ahead of {OURS}: set them (NTP)"


def _differ(offset: timedelta, whose: str) -> str:
    seconds = offset.total_seconds()
    return f"{whose} clock is {abs(seconds):.0f} s {'behind' if seconds > 0 else 'ahead of'} Telnyx's"
