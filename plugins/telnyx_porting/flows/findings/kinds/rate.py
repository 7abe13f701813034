"""Other software uses up the rate limit of the account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.health_kind import health_kind, seen
from telnyx_porting.flows.findings.kind import PLATFORM
from telnyx_porting.ledger.states import Feed
from telnyx_porting.settings.values import LOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.flows.findings.finding import Look, Seen

_STEP = (PLATFORM, "find the other software that uses this account, or ask Telnyx for a higher limit")


def _look(look: Look) -> Iterator[Seen]:
    feed = get_feed(look.connection, look.account, Feed.EVENTS)
    if feed is None:
        return
    limit = feed["rate_limit"] or {}
    total, left = limit.get("limit"), limit.get("remaining")
    if isinstance(total, int) and isinstance(left, int) and total >= 10 and left * 10 < total:
        text = "other software uses up nearly all of the rate limit of this Telnyx account; the watch is slow"
        yield seen("rate", LOW, feed["checked_at"] or look.now, text)


KIND = health_kind({"rate": _STEP}, _look)
