"""The events could not be read completely for a while."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from telnyx_porting.flows.account import watched_since
from telnyx_porting.flows.clock import read_clocks
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.health_kind import KEY_REFUSED, SETTINGS, by, health_kind, seen
from telnyx_porting.flows.findings.kind import PLATFORM
from telnyx_porting.ledger.states import Feed
from telnyx_porting.settings.values import CRITICAL

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.flows.findings.finding import Look, Seen

NOT_SEALED = timedelta(minutes=30)
_STEP = (PLATFORM, "look at the last runs of porting_scan, and at `python -m telnyx_porting status`")


def _look(look: Look) -> Iterator[Seen]:
    feed = get_feed(look.connection, look.account, Feed.EVENTS)
    last = watched_since(look.connection, look.account)
    if feed is not None and feed["covered_until"] is not None:
        last = read_clocks(look.connection, look.account).from_provider(feed["covered_until"])
    pause = max(NOT_SEALED, 3 * look.settings.scan_every) + look.settings.settle
    if last is not None and look.now - last >= pause:
        text = "the events could not be read completely for a while: what is wrong now may not be seen"
        yield seen("nothing_sealed", CRITICAL, last + pause, text)


KIND = health_kind({"nothing_sealed": _STEP}, _look, by(SETTINGS, KEY_REFUSED))
