"""An alert desk with working hours, and what was said in them hour by hour."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from tests.support.watched import Watched, order_id, quick

if TYPE_CHECKING:
    from telnyx_porting.settings import Settings

MONDAY = datetime.fromisoformat("2026-09-14T10:00:00+00:00")


def desk(**more: Any) -> Settings:
    hours = {"business_days": "mon-fri", "business_hours": "09:00-17:00", "digest_at": "08:00"}
    return quick(**(hours | more))


def met(watched: Watched) -> Watched:
    watched.cycle()
    watched.sent.clear()
    return watched


def key(order: int) -> str:
    return f"exception:{order_id(order)}"


def hours(watched: Watched, count: int) -> list[str]:
    """Let time pass with a look every hour; return when something was said."""
    said = []
    for _ in range(count):
        watched.later(hours=1)
        before = len(watched.sent)
        watched.cycle()
        said += [f"{watched.now:%a %H} {message.action}" for _, message in watched.sent[before:]]
    return said
