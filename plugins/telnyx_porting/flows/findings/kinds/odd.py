"""A feed holds rows that are not as they are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from telnyx_porting.flows.events.odd import odd_of
from telnyx_porting.flows.findings.health_kind import health_kind, seen
from telnyx_porting.flows.findings.kind import PLATFORM
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import feeds
from telnyx_porting.settings.values import HIGH, LOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.flows.findings.finding import Look, Seen

_STEP = (PLATFORM, "ask whose rows they are (Telnyx support; of a table of yours who fills it); nothing waits for it")
_HOLDS = {
    Feed.EVENTS: "Telnyx's list of events holds",
    Feed.ORDERS: "Telnyx's list of orders holds",
    Feed.DELIVERIES: "Telnyx's delivery records hold",
    Feed.RECEIVER: "the receiver's webhooks hold",
}


def _look(look: Look) -> Iterator[Seen]:
    """Yield one per feed."""
    query = select(feeds).where(feeds.c.account == look.account, feeds.c.odd.is_not(None)).order_by(feeds.c.source)
    for feed in look.connection.execute(query).mappings().all():
        if odd := odd_of(feed, look.now):
            what, (since, _) = next(iter(odd.items()))
            source = feed["source"]
            holds = _HOLDS.get(source, f"{source} holds")
            text = (
                f"{holds} what cannot be read as it is meant, for example {what}; everything else is stored and judged"
            )
            yield seen(f"odd:{source}", HIGH if source == Feed.EVENTS else LOW, since, text, len(odd))


KIND = health_kind({"odd": _STEP}, _look)
