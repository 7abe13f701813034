"""Words and numbers of texts about findings: ages, dates, counts, and what an order is called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from telnyx_porting.escaping import one_line

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from telnyx_porting.settings.calendar import Calendar

SOME = 3  # names written out in a sentence
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def age(span: timedelta) -> str:
    """Return a duration as a person says it: 25 min, 3 h, 12 days."""
    minutes = max(int(span.total_seconds() // 60), 0)
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{minutes // 60} h"
    return f"{minutes // (24 * 60)} days"


def day(at: datetime, now: datetime, zone: str) -> str:
    """Return a day in the calendar's zone: 2 Oct, with the year only when it is another one."""
    local = at.astimezone(ZoneInfo(zone))
    year = "" if local.year == now.astimezone(ZoneInfo(zone)).year else f" {local.year}"
    return f"{local.day} {_MONTHS[local.month - 1]}{year}"


def moment(at: datetime, now: datetime, zone: str) -> str:
    """Return a day, time and zone: 2 Oct 17:00 UTC."""
    return f"{day(at, now, zone)} {at.astimezone(ZoneInfo(zone)):%H:%M %Z}"


def in_working_days(at: datetime, now: datetime, calendar: Calendar) -> str:
    """Return how far away a date is: today, in 4 working days, 2 working days ago."""
    days = calendar.working_days_between(now, at)
    if days == 0:
        if calendar.day(at) == calendar.day(now):
            return "today"
        return "before the next working day" if at > now else "just passed"
    unit = "working day" if abs(days) == 1 else "working days"
    return f"in {days} {unit}" if days > 0 else f"{-days} {unit} ago"


def label(order_id: str | None, order: Mapping[Any, Any] | None, details: str) -> str:
    """Return what people call an order, as far as alerts may say it."""
    if order is None or details == "ids":
        return f"order {order_id}" if order_id else ""
    reference, key = order["customer_reference"], order["support_key"]
    if reference:
        return one_line(reference) + (f" ({one_line(key, 40)})" if key else "")
    return one_line(key, 40) if key else f"order {order_id}"


def family(ids: Sequence[str], known: Mapping[str, Mapping[str, Any]], details: str) -> list[str]:
    """Return what people call some orders: the first few, and how many more there are."""
    named = [label(order_id, known.get(order_id), details) for order_id in ids[:SOME]]
    return named + ([f"{len(ids) - SOME} more"] if len(ids) > SOME else [])


def numbers(order: Mapping[str, Any] | None) -> str:
    """Return how many numbers of which kind: 12 local US numbers."""
    if order is None or not order["number_count"]:
        return ""
    kind = one_line(str(order["number_type"] or "").replace("_", " "), 20)
    words = [str(order["number_count"]), kind, one_line(order["country"] or "", 10)]
    return " ".join(word for word in [*words, "number" if order["number_count"] == 1 else "numbers"] if word)


def foc(order: Mapping[str, Any] | None, now: datetime, calendar: Calendar) -> str:
    """Return the order's date: requested FOC 2 Oct (in 4 working days)."""
    if order is None:
        return ""
    date, word = (order["foc_actual"], "FOC") if order["foc_actual"] else (order["foc_requested"], "requested FOC")
    if date is None:
        return ""
    return f"{word} {day(date, now, calendar.zone)} ({in_working_days(date, now, calendar)})"


def event_type(name: str | None) -> str:
    """Return the type of an event, without what all of them begin with."""
    return one_line((name or "").removeprefix("porting_order."))
