"""What a porting desk sees first: what needs it, by due time, and as of when that is true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING

from sqlalchemy import and_, case, func, select

from telnyx_porting.flows.account import watched_since
from telnyx_porting.flows.clock import last_beat, read_clocks
from telnyx_porting.flows.deliveries.consumer import find_record, why_no_record
from telnyx_porting.flows.desk.lines import TITLES, WHO, Line, Open, Where, Who, is_whose, read_open, write_lines
from telnyx_porting.flows.desk.orders import (
    NOBODY,
    OVERDUE,
    OrderLine,
    OrderWhere,
    day_bounds,
    foc_dates,
    not_ported,
    order_conditions,
    write_orders,
)
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.kind import CARRIER
from telnyx_porting.ledger.predicates import is_open
from telnyx_porting.ledger.states import Delivery, Feed
from telnyx_porting.ledger.tables import events, orders, plans
from telnyx_porting.settings.calendar import calendar_of

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from telnyx_porting.flows.account import Account

SHOWN = 10  # lines of a section
DAYS = 5  # working days ahead on the FOC board
_PORTS = (CARRIER, "nothing to do: the numbers are handed over then")


@dataclass(frozen=True)
class Headline:
    """
    The one line on top of every page.

    :param complete_to: all events of Telnyx's up to then are here; None: never read
    :param evidence_to: up to then it is known what arrived; None: nothing tells
    :param evidence_by: what tells it: the consumer of record; empty where there is none, and then `why_not` says why
    :param mode: of republishing: off, approve or auto
    :param watched_since: None: this account was never read
    """

    account: str
    complete_to: datetime | None
    evidence_to: datetime | None
    evidence_by: str
    why_not: str | None
    mode: str
    watched_since: datetime | None


@dataclass(frozen=True)
class Section:
    """Some open findings: the most urgent ones of those that `where` holds, and how many there are."""

    name: str
    title: str
    total: int
    lines: tuple[Line, ...]
    where: Where

    @property
    def more(self) -> int:
        """How many are not shown."""
        return self.total - len(self.lines)


@dataclass(frozen=True)
class FocLine:
    """An order with an agreed date; `key` and `severity` are of its most urgent open finding, None if it has none."""

    order: OrderLine
    whose: str
    next_step: str
    key: str | None = None
    severity: str | None = None


@dataclass(frozen=True)
class FocDay:
    """
    Orders whose agreed date is on one day.

    :param name: ``overdue``, or the day as ``2026-10-02``
    :param title: Overdue, Today, or the day in words
    :param total: orders of `where`
    :param numbers: theirs together, as far as they are known
    """

    name: str
    title: str
    total: int
    numbers: int
    lines: tuple[FocLine, ...]
    where: OrderWhere

    @property
    def more(self) -> int:
        """How many are not shown."""
        return self.total - len(self.lines)


@dataclass(frozen=True)
class Resend:
    """Notifications that are missed, by cause, and the plan that is open: `plan_waits` for a person's answer."""

    missed: dict[str, int]
    plan: str | None
    plan_size: int
    plan_waits: bool


@dataclass(frozen=True)
class Board:
    """The first page."""

    sections: tuple[Section, ...]
    foc: tuple[FocDay, ...]
    resend: Resend
    who: Who
    mine: int  # open findings of the actor, of nobody, and all
    unassigned: int
    everything: int


def read_board(account: Account, *, actor: str, who: Who = "all") -> Board:
    """Return the first page of an account; `actor` is who looks."""
    now = account.clock()
    with account.ledger.read() as connection:
        found = read_open(connection, account, now)
        mine, unassigned = (sum(is_whose(each, item.owner, actor) for item in found) for each in WHO[:2])
        return Board(
            _sections(connection, account, who, actor, found, now),
            _foc_board(connection, account, who, actor, found, now),
            _resend(connection, account),
            who,
            mine,
            unassigned,
            len(found),
        )


def read_headline(account: Account) -> Headline:
    """Return the one line on top of every page."""
    with account.ledger.read() as connection:
        return write_headline(connection, account, account.clock())


def write_headline(connection: Connection, account: Account, now: datetime) -> Headline:
    feed, clocks = get_feed(connection, account.id, Feed.EVENTS), read_clocks(connection, account.id)
    complete = feed["covered_until"] if feed is not None else None
    record = find_record(connection, account.id, account.settings, now)
    evidence = record.covered_until if record is not None else None
    if record is not None and record.source == Feed.RECEIVER:
        evidence = last_beat(get_feed(connection, account.id, Feed.RECEIVER), clocks, now)
    return Headline(
        account.id,
        clocks.from_provider(complete) if complete is not None else None,
        evidence,
        record.name if record is not None else "",
        None if record is not None else why_no_record(connection, account.id, account.settings, now),
        account.settings.republish_mode,
        watched_since(connection, account.id),
    )


def _sections(
    connection: Connection, account: Account, who: Who, actor: str, found: list[Open], now: datetime
) -> tuple[Section, ...]:
    parts: dict[str, list[Open]] = {name: [] for name in TITLES}
    for item in found:
        if is_whose(who, item.owner, actor):
            parts[item.section].append(item)
    lines = iter(write_lines(connection, account, [item for part in parts.values() for item in part[:SHOWN]], now))
    return tuple(
        Section(name, TITLES[name], len(part), tuple(islice(lines, min(len(part), SHOWN))), Where(name, who))
        for name, part in parts.items()
    )


def _foc_board(
    connection: Connection, account: Account, who: Who, actor: str, found: list[Open], now: datetime
) -> tuple[FocDay, ...]:
    owner = {"mine": actor, "unassigned": NOBODY, "all": ""}[who]
    days = _days(account, now)
    wheres = {name: OrderWhere(owner=owner, foc=name) for name, _, _ in days}
    on_day = case(*((and_(*foc_dates(account, name, now)), name) for name in wheres))
    mine = order_conditions(account, OrderWhere(owner=owner), now)
    until = day_bounds(account, days[-1][0])[1]
    rows = (
        select(orders.c.id, orders.c.foc_actual, orders.c.number_count, on_day.label("day"))
        .where(orders.c.account == account.id, *not_ported(), orders.c.foc_actual < until, *mine)
        .subquery()
    )
    day = rows.c.day
    ranked = select(
        rows,
        func.row_number().over(partition_by=day, order_by=(rows.c.foc_actual, rows.c.id)).label("nth"),
        func.count().over(partition_by=day).label("total"),
        func.sum(rows.c.number_count).over(partition_by=day).label("numbers"),
    ).where(day.is_not(None))
    shown = ranked.subquery()
    query = (
        select(orders, shown.c.day, shown.c.total, shown.c.numbers)
        .join(shown, orders.c.id == shown.c.id)
        .where(orders.c.account == account.id, shown.c.nth <= SHOWN)
        .order_by(shown.c.foc_actual, shown.c.id)
    )
    found_rows = connection.execute(query).mappings().all()
    totals = {row["day"]: (row["total"], int(row["numbers"] or 0)) for row in found_rows}
    worst = {item.order_id: item for item in reversed(found) if item.order_id}
    lines: dict[str, list[FocLine]] = {}
    for row, order in zip(found_rows, write_orders(connection, account, found_rows), strict=True):
        lines.setdefault(row["day"], []).append(_foc_line(order, worst.get(order.id)))
    return tuple(
        FocDay(name, title, *totals.get(name, (0, 0)), tuple(lines.get(name, ())), wheres[name])
        for name, title, always in days
        if always or name in totals
    )


def _foc_line(order: OrderLine, item: Open | None) -> FocLine:
    if item is None:
        return FocLine(order, *_PORTS)
    return FocLine(order, item.whose, item.next_step, item.key, item.severity)


def _days(account: Account, now: datetime) -> list[tuple[str, str, bool]]:
    """Return overdue, today, and the days up to the fifth working day: name, title, and whether it is always shown."""
    calendar = calendar_of(account.settings)
    today = calendar.day(now)
    days = [(OVERDUE, "Overdue", True), (today.isoformat(), "Today", True)]
    before = 0
    for ahead in range(1, 15):
        at = now + timedelta(days=ahead)
        day, working = calendar.day(at), calendar.working_days_between(now, at)
        days.append((day.isoformat(), f"{day:%a} {day.day} {day:%b}", working > before))
        if (before := working) >= DAYS:
            break
    return days


def _resend(connection: Connection, account: Account) -> Resend:
    lost = select(func.coalesce(events.c.cause, ""), func.count()).where(
        events.c.account == account.id, is_open(events), events.c.delivery == Delivery.MISSED
    )
    counts = {row[0]: row[1] for row in connection.execute(lost.group_by(events.c.cause))}
    query = select(plans.c.id, plans.c.size, plans.c.approved_at).where(
        plans.c.account == account.id, plans.c.closed_at.is_(None)
    )
    plan = connection.execute(query).first()
    if plan is None:
        return Resend(counts, None, 0, False)
    return Resend(counts, plan.id, plan.size, plan.approved_at is None)
