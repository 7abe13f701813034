"""What a porting desk sees first: what needs it, by due time, and as of when that is true."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice

from sqlalchemy import Connection, RowMapping, and_, case, func, select

from telnyx_porting.flows.account import Account, watched_since
from telnyx_porting.flows.clock import complete_to, last_beat, read_clocks
from telnyx_porting.flows.deliveries.consumer import find_record, why_no_record
from telnyx_porting.flows.desk.lines import TITLES, WHO, Line, Open, Where, Who, is_whose, read_open, write_lines
from telnyx_porting.flows.desk.missed import MissedWhere, by_cause
from telnyx_porting.flows.desk.orders import (
    NOBODY,
    OVERDUE,
    OrderWhere,
    day_bounds,
    foc_dates,
    not_ported,
    order_conditions,
)
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import orders, plans
from telnyx_porting.settings.calendar import calendar_of

SHOWN = 10  # lines of a section


@dataclass(frozen=True)
class Headline:
    """The one line on top of every page.

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


@dataclass(frozen=True)
class FocDay:
    """Orders whose agreed date is on one day.

    :param name: ``overdue``, or the day as ``2026-10-02``
    :param title: Overdue, Today, or the day in words
    :param total: orders of `where`
    :param numbers: theirs together, as far as they are known
    """

    name: str
    title: str
    total: int
    numbers: int
    where: OrderWhere


@dataclass(frozen=True)
class Board:
    """The first page.

    :param missed: how many notifications are missed, by cause
    :param plan: the open one, as the table `plans` has it: one that nobody approved waits for a person's answer
    :param mine: open findings of the actor; `unassigned` of nobody, `everything` all
    """

    sections: tuple[Section, ...]
    foc: tuple[FocDay, ...]
    missed: dict[str, int]
    plan: RowMapping | None
    who: Who
    mine: int
    unassigned: int
    everything: int


def read_board(account: Account, *, actor: str, who: Who = "all") -> Board:
    """Return the first page of an account; `actor` is who looks."""
    now = account.clock()
    with account.ledger.read() as connection:
        found = read_open(connection, account, now)
        plan = select(plans).where(plans.c.account == account.id, plans.c.closed_at.is_(None))
        mine, unassigned = (sum(is_whose(each, item.owner, actor) for item in found) for each in WHO[:2])
        return Board(
            _sections(connection, account, who, actor, found, now),
            _foc_board(connection, account, who, actor, now),
            by_cause(connection, account.id, MissedWhere()),
            connection.execute(plan).mappings().first(),
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
    record = find_record(connection, account.id, account.settings, now)
    evidence = record.covered_until if record is not None else None
    if record is not None and record.source == Feed.RECEIVER:
        beat = get_feed(connection, account.id, Feed.RECEIVER)
        evidence = last_beat(beat, read_clocks(connection, account.id), now)
    return Headline(
        account.id,
        complete_to(connection, account.id),
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


def _foc_board(connection: Connection, account: Account, who: Who, actor: str, now: datetime) -> tuple[FocDay, ...]:
    owner = {"mine": actor, "unassigned": NOBODY, "all": ""}[who]
    days = _days(account, now)
    wheres = {name: OrderWhere(owner=owner, foc=name) for name, _, _ in days}
    on_day = case(*((and_(*foc_dates(account, name, now)), name) for name in wheres))
    mine = order_conditions(account, OrderWhere(owner=owner), now)
    until = day_bounds(account, days[-1][0])[1]
    dated = (
        select(orders.c.number_count, on_day.label("day"))
        .where(orders.c.account == account.id, *not_ported(), orders.c.foc_actual < until, *mine)
        .subquery()
    )
    query = select(dated.c.day, func.count(), func.coalesce(func.sum(dated.c.number_count), 0))
    totals = {day: (total, int(numbers)) for day, total, numbers in connection.execute(query.group_by(dated.c.day))}
    return tuple(
        FocDay(name, title, *totals.get(name, (0, 0)), wheres[name])
        for name, title, always in days
        if always or name in totals
    )


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
        if (before := working) >= 5:
            break
    return days
