"""What is found of an account whose people work from nine to five."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from telnyx_porting.flows.findings.reconcile import open_findings
from tests.support.watched import Watched, quick

if TYPE_CHECKING:
    from telnyx_porting.settings import Settings

MONDAY = datetime.fromisoformat("2026-09-14T09:00:00+00:00")


def desk(**more: Any) -> Settings:
    """People who work from nine to five."""
    return quick(business_days="mon-fri", business_hours="09:00-17:00", **more)


def found(watched: Watched, kind: str) -> dict[str, str]:
    watched.look()
    with watched.ledger.read() as connection:
        rows = open_findings(connection, watched.account, kind)
    return {row["subject"]: row["severity"] for row in rows}
