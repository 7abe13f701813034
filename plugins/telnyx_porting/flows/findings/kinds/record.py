"""Something else decides now whether notifications arrive; told for a day."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from telnyx_porting.flows.deliveries.consumer import kept_record
from telnyx_porting.flows.findings.health_kind import health_kind, seen
from telnyx_porting.flows.findings.kind import PLATFORM
from telnyx_porting.settings.values import HIGH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.flows.findings.finding import Look, Seen

TOLD_FOR = timedelta(days=1)
_STEP = (PLATFORM, "nothing, if that is right; else set TELNYX_PORTING_CONSUMER_OF_RECORD")


def _look(look: Look) -> Iterator[Seen]:
    kept = kept_record(look.connection, look.account)
    if kept is None or "before" not in kept:
        return
    since = datetime.fromisoformat(kept["since"])
    if look.now - since < TOLD_FOR:
        text = (
            f"{kept['name']} decides now whether notifications arrived, no longer {kept['before']}; what was missed"
            " before stays missed. Set consumer_of_record if another should decide"
        )
        yield seen("record", HIGH, since, text)


KIND = health_kind({"record": _STEP}, _look)
