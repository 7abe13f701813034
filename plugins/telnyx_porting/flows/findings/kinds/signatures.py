"""The receiver refuses webhooks because their signature does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telnyx_porting.flows.clock import clock_trouble, kept_offset
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.health_kind import health_kind, seen
from telnyx_porting.flows.findings.kind import PLATFORM
from telnyx_porting.ledger.states import Feed
from telnyx_porting.settings.values import HIGH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.flows.findings.finding import Look, Seen

ENOUGH = 5  # refused signatures that are no accident any more
_STEP = (PLATFORM, "give the receiver the public key that Telnyx's portal shows for this account")


def _look(look: Look) -> Iterator[Seen]:
    receiver = get_feed(look.connection, look.account, Feed.RECEIVER)
    skewed = clock_trouble(kept_offset(receiver))  # told as such, by who is told the time by Telnyx
    if receiver is not None and not skewed and (receiver["refused"] or 0) >= ENOUGH:
        text = "webhooks are refused because their signature does not fit: the public key may have changed"
        yield seen("signatures", HIGH, receiver["proved_at"] or receiver["checked_at"] or look.now, text)


KIND = health_kind({"signatures": _STEP}, _look)
