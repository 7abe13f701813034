"""Odd rows: what could not be read as it is meant. It never stops the rest; it is kept with its feed, and told once.

What cannot be read at all (no object, no id) is stored nowhere; of any other row only the odd field reads as unknown.
"""

from __future__ import annotations

import logging
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from telnyx_porting.escaping import LONG, one_line
from telnyx_porting.flows.feeds import get_feed, touch_feed

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    from telnyx_porting.flows.account import Account


log = logging.getLogger(__name__)
KEPT = timedelta(days=3)  # not seen for so long, it is over: whole lists are read every day
SEEN_AGAIN = timedelta(hours=6)  # how exactly the last time is kept: a cycle that brings nothing new writes nothing
MOST = 50


def keep_odd(account: Account, source: str, found: Iterable[str], now: datetime) -> None:
    """Remember what was odd in a reading of a feed.

    :param found: one short text per oddity, the same whenever it is met again.
    """
    met = list(dict.fromkeys(one_line(what, LONG) for what in found))  # ids are foreign text too
    if not met:
        return
    with account.ledger.read() as connection:
        before = odd_of(get_feed(connection, account.id, source), now)
    kept = {what: [first.isoformat(), last.isoformat()] for what, (first, last) in before.items()}
    new = [what for what in met if what not in before][: max(MOST - len(before), 0)]
    again = [what for what in met if what in before and now - before[what][1] >= SEEN_AGAIN]
    if not new and not again:
        return
    for what in new:
        log.warning("%s of %s: %s; everything else is read", source, account.id, what)
    kept |= {what: [kept.get(what, [now.isoformat()])[0], now.isoformat()] for what in [*new, *again]}
    with account.ledger.write() as connection:
        touch_feed(account.ledger, connection, account.id, source, odd=kept)


def odd_of(feed: Mapping[Any, Any] | None, now: datetime) -> dict[str, tuple[datetime, datetime]]:
    """Return what is odd in a feed, the longest known first, with when it was first and last seen."""
    found = {}
    for what, (first, last) in ((feed or {}).get("odd") or {}).items():
        times = datetime.fromisoformat(first), datetime.fromisoformat(last)
        if now - times[1] < KEPT:
            found[what] = times
    return dict(sorted(found.items(), key=lambda item: (item[1][0], item[0])))
