"""Everything that is true now for one account, kind by kind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telnyx_porting.flows.findings_events import given_up, stuck
from telnyx_porting.flows.findings_exceptions import exceptions
from telnyx_porting.flows.findings_foc import foc
from telnyx_porting.flows.findings_overdue import overdue
from telnyx_porting.flows.findings_questions import questions
from telnyx_porting.flows.findings_watch import watch

if TYPE_CHECKING:
    from telnyx_porting.flows.findings_seen import Look, Seen


def see(look: Look) -> dict[str, Seen]:
    """Return what is true now, by key."""
    found = [*exceptions(look), *questions(look)]
    problems = {item.order_id: item for item in reversed(found) if item.order_id and not item.detail.get("messaging")}
    found += [*stuck(look), *given_up(look), *foc(look, problems), *overdue(look), *watch(look)]
    return {item.key: item for item in found}
