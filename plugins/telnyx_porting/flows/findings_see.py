"""Everything that is true now for one account, kind by kind."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING

from telnyx_porting.flows.findings_events import given_up, stuck
from telnyx_porting.flows.findings_exceptions import exceptions
from telnyx_porting.flows.findings_foc import foc
from telnyx_porting.flows.findings_overdue import overdue
from telnyx_porting.flows.findings_questions import questions
from telnyx_porting.flows.findings_seen import LOW
from telnyx_porting.flows.findings_watch import watch

if TYPE_CHECKING:
    from telnyx_porting.flows.findings_seen import Look, Seen


def see(look: Look) -> dict[str, Seen]:
    """Return what is true now, by key."""
    found = [*exceptions(look), *questions(look)]
    problems = {item.order_id: item for item in reversed(found) if item.order_id and not item.detail.get("messaging")}
    found += [*stuck(look), *given_up(look), *foc(look, problems), *overdue(look), *watch(look)]
    return {item.key: _at_rest(look, item) for item in found}


def _at_rest(look: Look, item: Seen) -> Seen:
    """Lower what nobody touched for very long: it is listed, and nobody is reminded."""
    if item.kind == "health":
        return item
    order = look.open_orders.get(item.order_id or "")
    last = datetime.fromisoformat(item.detail["entered"]) if item.kind == "overdue" else item.since
    if order is not None and order["status_since"] is not None and order["status"] != "ported":
        last = max(last, order["status_since"])
    if not look.is_dormant(last):
        return item
    return replace(item, severity=LOW, detail=item.detail | {"dormant": True})
