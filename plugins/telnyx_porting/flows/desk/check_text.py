"""What a check says to people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from telnyx_porting.client.checks import MAX_PAGE_SIZE
from telnyx_porting.escaping import LONG, address, one_line
from telnyx_porting.flows.findings.wording import label

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from telnyx_porting.client.probe import Habits
    from telnyx_porting.flows.desk.check import Checked

SHOWN = 5  # of each kind spelt out, and of notifications
_KINDS = {"question": "open question", "foc": "FOC date", "overdue": "overdue order", "stuck": "stuck event"}
_TOO_FEW = "cannot be told, there are too few"


def report(seen: Checked) -> str:
    """Return what was seen, in four parts: what needs somebody, notifications, open points, and what is proved."""
    fewer = f" (not {seen.asked_days}: there are too many events for a first look)" * (seen.days < seen.asked_days)
    read = f"{_many(seen.events, 'event')} of {_many(seen.days, 'day')}{fewer}, {_many(seen.orders, 'order')}"
    return "\n".join(
        [
            f"{seen.base_url}: {read}; {_many(seen.requests, 'request')}, all of them GET",
            *(f"NOT READ: {what}: {one_line(why, LONG)}" for what, why in seen.troubles.items()),
            "",
            *_needs(seen),
            "",
            *_notifications(seen),
            "",
            "What this account answers where Telnyx's documentation is silent",
            *_lines(_answers(seen)),
            "",
            "What the watch could prove here, and what not",
            *_lines(_proofs(seen)),
        ]
    )


def _needs(seen: Checked) -> list[str]:
    said = ", ".join(_many(len(them), _KINDS.get(kind, kind)) for kind, them in seen.found.items())
    lines = [f"Needs somebody: {said or 'nothing'}"]
    for them in seen.found.values():
        lines += [f"  {severity:8}  {text}" for severity, text in them[:SHOWN]]
        lines += _more(len(them))
    return lines


def _notifications(seen: Checked) -> list[str]:
    traces = seen.traces
    if not traces.records:
        return ["Notifications: no delivery record shows a port-in webhook, so nothing is known of them"]
    counts = f"{traces.delivered} delivered, {traces.failed} failed at every try on record"
    counts += f", {traces.unclear} not to be told apart" if traces.unclear else ""
    lines = [f"Notifications: {counts}, {len(traces.none)} left no trace in delivery records"]
    if traces.none and not traces.cover_port_ins:
        return [*lines, "  more than half left none: the records do not seem to cover port-ins, so none is named"]
    for each in traces.none[:SHOWN]:
        order = one_line(label(each["order_id"], each, "references"))
        lines.append(f"  no trace  {_minute(each['created_at'])}  {each['type']}  {order}  event {each['id']}")
    lines += _more(len(traces.none))
    if traces.before and traces.since:
        before = f"{_many(traces.before, 'more')} from before {_minute(traces.since)}, when the oldest record begins"
        lines.append(f"  nothing is said of {before}")
    if traces.young:
        lines.append(f"  nothing is said of {_many(traces.young, 'more')} so young that a record may still come")
    return lines


def _answers(seen: Checked) -> Iterator[tuple[str, str]]:
    if (habits := seen.event_list) is not None:
        yield "order of events", str(habits.order or _TOO_FEW)
        yield "rows on a page", _page(habits)
        kept = _kept(habits, seen.now)
        if habits.oldest and seen.oldest_order and (habits.oldest - seen.oldest_order).days >= 1:
            kept += f"; none is listed from before, though the oldest order is from {_minute(seen.oldest_order)}"
        yield "events are kept", kept
    if (habits := seen.delivery_list) is not None:
        yield "order of delivery records", str(habits.order or _TOO_FEW)
        yield "delivery records are kept", _kept(habits, seen.now)
    traces = seen.traces
    if traces.same_ids or traces.other_ids:
        words = f"its event's {traces.same_ids} times, one of its own {traces.other_ids} times"
        yield "id of a webhook", words
    else:
        yield "id of a webhook", "cannot be told: no delivery record fits an event"
    yield "subscribed now", _subscribed(seen)


def _page(habits: Habits) -> str:
    largest = f"cannot be told, there are fewer than {MAX_PAGE_SIZE}"
    if habits.page is not None:
        largest = f"{habits.page} where {MAX_PAGE_SIZE} are asked for"
    if habits.refuses_more:
        return f"{largest}; {MAX_PAGE_SIZE + 1} are refused"
    named = f"a page of {habits.page_of_more}" if habits.page_of_more else "a page that names no size"
    return f"{largest}; {MAX_PAGE_SIZE + 1} give {named}"


def _kept(habits: Habits, now: datetime) -> str:
    if habits.oldest is None:
        return "cannot be told: there are none"
    return f"at least {_many((now - habits.oldest).days, 'day')}: the oldest seen is from {_minute(habits.oldest)}"


def _subscribed(seen: Checked) -> str:
    webhooks, mails = seen.subscribed.webhooks, seen.subscribed.mails
    if mails is None:
        return "cannot be told: the notification settings could not be read"
    said = f"{_many(len(webhooks), 'webhook')}, {_many(len(mails), 'mail address', 'mail addresses')}"
    return said + (f"; {_many(seen.own_urls, 'order')} with a webhook URL of their own" if seen.own_urls else "")


def _proofs(seen: Checked) -> Iterator[tuple[str, str]]:
    stretch = f"every event of {_many(seen.days, 'day')} was read"
    if "events" in seen.troubles or seen.incomplete is not None:
        yield "no", f"{stretch}: {one_line(seen.incomplete or seen.troubles['events'], LONG)}"
    else:
        counted = seen.event_list is None or seen.event_list.total is not None
        yield "yes", f"{stretch}: " + ("as many as Telnyx counts" if counted else "twice, and both times the same")
    urls = seen.traces.destinations
    if not seen.traces.records:
        yield "no", "whether webhooks arrive: no delivery record shows one; a receiver, or a table of yours, would"
    elif len(urls) > 1:
        yield (
            "yes",
            f"whether webhooks got a 2xx at one of {len(urls)} destinations; say which of them decides:",
        )
        for url, count in urls[:SHOWN]:
            yield "", f"TELNYX_PORTING_CONSUMER_OF_RECORD=deliveries:{address(url)}  ({_many(count, 'try', 'tries')})"
    else:
        to = f" at {address(urls[0][0])}" if urls else ""
        yield "yes", f"whether webhooks got a 2xx{to}: delivery records show port-ins"
    yield "no", "whether your system took what it answered with a 2xx: a receiver, or a table of yours, would show it"
    yield "no", "whether e-mails arrive: nothing shows that"


def _lines(pairs: Iterator[tuple[str, str]]) -> list[str]:
    rows = list(pairs)
    width = max((len(name) for name, _ in rows), default=0)
    return [f"  {name:{width}}  {words}" for name, words in rows]


def _more(count: int) -> list[str]:
    return [f"  ... and {count - SHOWN} more"] if count > SHOWN else []


def _many(count: int, one: str, several: str = "") -> str:
    return f"{count} {one if count == 1 or one == 'more' else several or one + 's'}"


def _minute(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
