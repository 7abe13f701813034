"""A plan of missed notifications waits for somebody who approves it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from sqlalchemy import func, select

from telnyx_porting.flows.findings.health_kind import by, health_kind, seen
from telnyx_porting.flows.findings.kind import PLATFORM
from telnyx_porting.ledger.tables import plans
from telnyx_porting.settings.values import HIGH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from telnyx_porting.flows.findings.finding import Look, Seen

APPROVAL_WAITS = timedelta(hours=1)
_STEP = (PLATFORM, "approve or reject it: Airflow, Required actions")


def _look(look: Look) -> Iterator[Seen]:
    query = select(func.min(plans.c.created_at)).where(
        plans.c.account == look.account, plans.c.closed_at.is_(None), plans.c.approved_at.is_(None)
    )
    oldest = look.connection.execute(query).scalar()
    if oldest is not None and look.settings.republish_mode != "off" and look.now - oldest >= APPROVAL_WAITS:
        text = "a plan of missed notifications waits for approval in porting_republish"
        yield seen("approval", HIGH, oldest + APPROVAL_WAITS, text)


KIND = health_kind({"approval": _STEP}, _look, by("health:approval_asked"))
