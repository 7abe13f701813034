"""Orders, found by what people call them, a page at a time."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

from sqlalchemy import ColumnElement, Connection, and_, func, or_, select, union

from telnyx_porting.errors import SettingsError
from telnyx_porting.flows.alerts.facts import families
from telnyx_porting.flows.clock import complete_to
from telnyx_porting.flows.desk.page import Filter, Page, count_of, from_row
from telnyx_porting.flows.findings.kind import order_is_open
from telnyx_porting.flows.findings.wording import label
from telnyx_porting.ledger.bulk import rows_by
from telnyx_porting.ledger.states import CLOSED
from telnyx_porting.ledger.tables import findings, orders
from telnyx_porting.ledger.types import BEGINNING, beginning

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telnyx_porting.flows.account import Account

MOST = 2_500
"""Orders that a search finds: where more begin so, the rest is only said to be there."""
OPEN, OVERDUE, NOBODY = "open", "overdue", "-"
_NAMES = ("support_key", "customer_reference", "customer_group_reference", "parent_support_key")
_HEXADECIMAL = re.compile("[0-9a-f-]+")
SORTS = {
    "updated": orders.c.updated_at,
    "since": orders.c.status_since,
    "foc": orders.c.foc_actual,
    "numbers": orders.c.number_count,
}


@dataclass(frozen=True)
class OrderWhere(Filter):
    """A filter of orders. Empty fields filter nothing; nothing is filtered by time.

    :param search: what an order's id, support key, reference, group reference or parent's support key begins with, in
        any letter case
    :param status: Telnyx's word, or `open`: it, or its messaging part, is not finished
    :param owner: who took one of its open findings; ``-``: nobody did
    :param foc: ``overdue``, or a day of the desk's zone as ``2026-10-02``: the agreed date of orders not ported yet
    """

    search: str = ""
    status: str = ""
    owner: str = ""
    foc: str = ""


@dataclass(frozen=True)
class Part:
    """Another order of the same split: `is_parent` is the one whose numbers were divided."""

    id: str
    name: str
    status: str | None
    is_parent: bool


@dataclass(frozen=True)
class OrderLine:
    """One order. Texts are foreign.

    :param status: Telnyx's word; None: not told yet
    :param foc: the date on which the losing carrier hands over, None: none is known
    :param foc_agreed: whether the carrier agreed to it; else it is only asked for
    :param numbers: how many; None: not read yet
    :param proven_as_of: as of when the status is known to be so; None: never read completely
    :param parts: the other orders of its split, whatever the filter
    """

    id: str
    name: str
    status: str | None
    since: datetime | None
    foc: datetime | None
    foc_agreed: bool
    numbers: int | None
    rejections: int
    customer_reference: str | None
    customer_group_reference: str | None
    support_key: str | None
    updated_at: datetime | None
    proven_as_of: datetime | None
    owners: tuple[str, ...] = ()
    findings: int = 0
    parts: tuple[Part, ...] = field(default=())


def find_orders(
    account: Account, where: OrderWhere = OrderWhere(), *, sort: str = "-updated", page: int = 1
) -> Page[OrderLine]:
    """Return the orders of a filter.

    :param sort: one of `SORTS`, with ``-`` in front for the largest or latest first; what has no value comes last
    """
    now, search, skip = account.clock(), where.search.strip(), (page - 1) * Page.size
    with account.ledger.read() as connection:
        mine = and_(orders.c.account == account.id, *order_conditions(account, where, now))
        if search:
            called = _called(connection, mine, search, sort)
            total, ids = len(called), called[skip : skip + Page.size]
        else:
            total, ids = count_of(connection, select(orders.c.id).where(mine)), _sorted(connection, mine, sort, skip)
        rows = rows_by(connection, select(orders).where(orders.c.account == account.id), orders.c.id, ids)
        lines = write_orders(connection, account, [rows[each] for each in ids])
        return Page(lines, total, page, is_least=bool(search) and total == MOST)


def _sorted(connection: Connection, mine: ColumnElement[bool], sort: str, skip: int) -> list[str]:
    """Return ids in order. What has no value is asked for by itself: an index has it at the other end."""
    column = SORTS[sort.removeprefix("-")]
    order_by = (column.desc(), orders.c.id.desc()) if sort.startswith("-") else (column, orders.c.id)
    size, has = Page.size, select(orders.c.id).where(mine, column.is_not(None))
    query = has.order_by(*order_by).limit(size).offset(skip)
    ids = list(connection.execute(query).scalars())
    if len(ids) < size:
        skip = max(skip - count_of(connection, has), 0) if not ids else 0
        rest = select(orders.c.id).where(mine, column.is_(None)).order_by(orders.c.id)
        ids += connection.execute(rest.limit(size - len(ids)).offset(skip)).scalars()
    return ids


def _called(connection: Connection, among: ColumnElement[bool], text: str, sort: str) -> list[str]:
    """Return, in order, at most `MOST` ids of orders of which a name begins so.

    Each name is a stretch of its own index; an id is hexadecimal, none goes beyond `f`.
    """
    said = _small(text[:BEGINNING])
    if not said.isprintable():
        return []  # no database takes what cannot be printed, and no name begins so
    after = f"{said[:-1]}{chr(ord(said[-1]) + 1)}"
    stretches = [and_(beginning(orders.c[name]) >= said, beginning(orders.c[name]) < after) for name in _NAMES]
    if _HEXADECIMAL.fullmatch(said):
        is_so = func.substr(orders.c.id, 1, len(said)) == said
        stretches.append(and_(orders.c.id >= said, orders.c.id < f"{said}g", is_so))
    at = SORTS[sort.removeprefix("-")].label("at")
    some = (select(orders.c.id, at).where(among, each).limit(MOST).subquery() for each in stretches)
    found = union(*map(select, some)).limit(MOST).subquery().c
    order_by = (found.at.desc(), found.id.desc()) if sort.startswith("-") else (found.at, found.id)
    return list(connection.execute(select(found.id).order_by(found.at.is_(None), *order_by)).scalars())


def status_counts(account: Account) -> dict[str, int]:
    """Return how many orders are in each status, the most common first; "" is a status not told yet."""
    query = select(func.coalesce(orders.c.status, ""), func.count()).where(orders.c.account == account.id)
    with account.ledger.read() as connection:
        found = connection.execute(query.group_by(orders.c.status)).all()
    return dict(sorted(found, key=lambda row: (-row[1], row[0])))


def order_conditions(account: Account, where: OrderWhere, now: datetime) -> list[ColumnElement[bool]]:
    """Return SQL of a filter, but for what it searches."""
    found: list[ColumnElement[bool]] = []
    if where.status:
        found.append(order_is_open() if where.status == OPEN else orders.c.status == where.status)
    if where.owner:
        owned = select(func.coalesce(findings.c.order_id, "")).where(
            findings.c.account == account.id,
            findings.c.resolved_at.is_(None),
            findings.c.kind > "",  # always true, and what lets SQLite prefer the index on what is open
        )
        if where.owner == NOBODY:
            found.append(orders.c.id.not_in(owned.where(findings.c.owner.is_not(None))))
        else:
            found.append(orders.c.id.in_(owned.where(findings.c.owner == where.owner)))
    if where.foc:
        found += [*not_ported(), *foc_dates(account, where.foc, now)]
    return found


def not_ported() -> tuple[ColumnElement[bool], ...]:
    """Return SQL: orders whose agreed date still matters."""
    return order_is_open(), or_(orders.c.status.is_(None), orders.c.status.not_in(CLOSED))


def foc_dates(account: Account, day: str, now: datetime) -> list[ColumnElement[bool]]:
    """Return SQL of the date alone."""
    date_, passed = orders.c.foc_actual, now - account.settings.foc_grace
    if day == OVERDUE:
        return [date_ <= passed]
    begin, end = day_bounds(account, day)
    earlier = [] if begin <= now < end else [date_ >= begin]  # late last night is today's, as long as it is in grace
    return [*earlier, date_ < end, date_ > passed]


def day_bounds(account: Account, day: str) -> tuple[datetime, datetime]:
    """Return when a day of the desk's zone begins and ends.

    :raises SettingsError: it is not written as a day
    """
    zone = ZoneInfo(account.settings.business_zone)
    try:
        begins = date.fromisoformat(day)
        days = (begins, begins + timedelta(days=1))
    except (ValueError, OverflowError):
        raise SettingsError("foc", day, "overdue, or a day such as 2026-10-02") from None
    begin, end = (datetime.combine(each, time(0), zone).astimezone(UTC) for each in days)
    return begin, end


def _small(text: str) -> str:
    """Return text as `lower` of SQL writes it, byte by byte: only the letters of ASCII are changed."""
    return "".join(c.lower() if c.isascii() else c for c in text)


def write_orders(connection: Connection, account: Account, rows: Sequence[Mapping[Any, Any]]) -> tuple[OrderLine, ...]:
    """Add to rows of orders what stands elsewhere: owners, parts, and as of when they are known."""
    ids = [row["id"] for row in rows]
    complete = complete_to(connection, account.id)
    owners = _owners(connection, account.id, ids)
    others, known = families(connection, account.id, {row["id"]: row for row in rows})
    return tuple(
        from_row(
            OrderLine,
            row,
            name=label(row["id"], row, "references"),
            since=row["status_since"],
            foc=row["foc_actual"] or row["foc_requested"],
            foc_agreed=row["foc_actual"] is not None,
            numbers=row["number_count"],
            rejections=row["episode"],
            proven_as_of=max(filter(None, (complete, row["api_read_at"])), default=None),
            owners=tuple(sorted({owner for owner in owners.get(row["id"], ()) if owner})),
            findings=len(owners.get(row["id"], ())),
            parts=tuple(_part(known[each], row) for each in others[row["id"]] if each in known),
        )
        for row in rows
    )


def _part(other: Mapping[Any, Any], row: Mapping[Any, Any]) -> Part:
    name = label(other["id"], other, "references")
    return from_row(Part, other, name=name, is_parent=other["id"] == row["split_from"])


def _owners(connection: Connection, account: str, ids: Sequence[str]) -> dict[str, list[str | None]]:
    """Return, per order, the owners of its open findings, None for nobody's."""
    query = select(findings.c.order_id, findings.c.owner).where(
        findings.c.account == account, findings.c.order_id.in_(ids), findings.c.resolved_at.is_(None)
    )
    found: dict[str, list[str | None]] = {}
    for order_id, owner in connection.execute(query):
        found.setdefault(order_id, []).append(owner)
    return found
