"""Events whose notification never arrived although every send of the budget was spent."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, TypedDict

from telnyx_porting.flows.findings.kind import RECEIVERS, Kind, Look, Row, Seen, Step, Told
from telnyx_porting.flows.findings.wording import event_type
from telnyx_porting.ledger.predicates import is_given_up
from telnyx_porting.ledger.tables import events
from telnyx_porting.ledger.types import EPOCH
from telnyx_porting.settings.values import HIGH

if TYPE_CHECKING:
    from collections.abc import Iterator


_TEMPLATE = """
{{ lead }}: notification given up, {{ label or subject }}: {{ event_type or "event" }} {{ subject }} never arrived
although it was sent again {{ sends }} time{{ "s" if sends != 1 }}.
"""


class _Detail(TypedDict, total=False):
    event_type: str
    sends: int


def _look(look: Look) -> Iterator[Seen]:
    rows = look.events_where(is_given_up(events), events.c.created_at > EPOCH)
    yield from look.each("given_up", rows, partial(_of_event, look))


def _of_event(look: Look, at: str, row: Row) -> Iterator[Seen]:
    if not look.ignores(row):
        detail: _Detail = {"event_type": row["type"], "sends": row["sends"]}
        since = row["last_sent_at"] or row["created_at"]
        yield Seen("given_up", row["event_id"], row["order_id"], HIGH, since, detail)


def _words(told: Told) -> dict[str, Any]:
    detail: _Detail = told.detail
    return {"event_type": event_type(detail.get("event_type")), "sends": detail.get("sends") or 0}


def _next_step(told: Told) -> Step:
    return RECEIVERS, "see why it takes none, repair it, then send this event again with the form of porting_republish"


KIND = Kind("given_up", _TEMPLATE, _next_step, _look, title="notification given up", words=_words)
