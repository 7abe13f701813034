"""What is open, as lines of a desk: what it is, whose step is next, which, since when, and by when."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

from sqlalchemy import ColumnElement, Connection, ScalarSelect, case, func, select

from telnyx_porting.flows.alerts.facts import Facts, gather
from telnyx_porting.flows.alerts.text import line as said
from telnyx_porting.flows.desk.page import Filter, Page, from_row
from telnyx_porting.flows.findings.kind import CARRIER, HEALTH, TELNYX, Told
from telnyx_porting.flows.findings.kinds import kind_of
from telnyx_porting.flows.findings.wording import label
from telnyx_porting.ledger.tables import findings, orders
from telnyx_porting.settings.calendar import calendar_of
from telnyx_porting.settings.values import CRITICAL, rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telnyx_porting.flows.account import Account

Who = Literal["mine", "unassigned", "all"]
WHO: tuple[Who, ...] = get_args(Who)
ACT, QUESTIONS, WAITING, RESEND, QUIET = "act", "questions", "waiting", "resend", "quiet"
TITLES = {
    ACT: "Act now",
    QUESTIONS: "Questions",
    WAITING: "Waiting for Telnyx or the carrier",
    RESEND: "Resend",
    QUIET: "Only listed",
}
"""Sections of open findings; each is in exactly one. `quiet`: muted, dormant, or said by another one already.

What is critical is never only waited for: a desk asks.
"""
_AT_ONCE = 200  # rows: thousands held at once make the collector of garbage stop the page
_RESENDING = frozenset({"approval", "approval_asked", "republish_halted", "not_arrived"})


@dataclass(frozen=True)
class Where(Filter):
    """A filter of open findings. Empty fields filter nothing; nothing is filtered by time.

    :param section: one of `TITLES`
    :param who: `mine` needs an actor
    :param kind: such as ``exception``
    :param severity: ``critical``, ``high`` or ``low``
    """

    section: str = ""
    who: Who = "all"
    kind: str = ""
    severity: str = ""
    order_id: str = ""
    key: str = ""

    def holds(self, item: Open, actor: str | None) -> bool:
        """Whether a finding passes."""
        names = ("section", "kind", "severity", "order_id", "key")
        passes = all(getattr(self, name) in ("", getattr(item, name)) for name in names)
        return passes and is_whose(self.who, item.owner, actor)


class Open(NamedTuple):
    """One open finding, as far as it is needed to find and sort it, and what follows from it."""

    key: str
    kind: str
    severity: str
    order_id: str | None
    owner: str | None
    since: datetime
    whose: str
    next_step: str
    due: datetime | None
    section: str


@dataclass(frozen=True)
class Line:
    """One open finding.

    :param kind: exception, question, stuck, given_up, foc, overdue or health
    :param order_id: None for those of the watch itself
    :param name: what people call the order; of another finding its subject. Foreign text
    :param text: one sentence on what is true. Holds foreign text in one line
    :param whose: whose step is next: us/customer, Telnyx, losing carrier, whoever runs the watch ...
    :param owner: the person who took it, None: nobody. Foreign text
    :param due: by when it should be done: of an exception the date that it endangers; None: as soon as possible
    :param acked_until: no reminder before; `acked_by` said so
    :param muted_until: nobody hears of it before; `muted_by` said so, because of `mute_reason`
    """

    key: str
    kind: str
    severity: str
    section: str
    order_id: str | None
    name: str
    text: str
    whose: str
    next_step: str
    owner: str | None
    note: str | None
    since: datetime
    due: datetime | None
    occurrence: int
    acked_until: datetime | None = None
    acked_by: str | None = None
    muted_until: datetime | None = None
    muted_by: str | None = None
    mute_reason: str | None = None


def find_lines(account: Account, where: Where = Where(), *, actor: str | None = None, page: int = 1) -> Page[Line]:
    """Return the open findings of a filter, by due time; `actor` is who looks."""
    now = account.clock()
    with account.ledger.read() as connection:
        found = [item for item in read_open(connection, account, now) if where.holds(item, actor)]
        shown = found[(page - 1) * Page.size : page * Page.size]
        return Page(write_lines(connection, account, shown, now), len(found), page)


def is_whose(who: Who, owner: str | None, actor: str | None) -> bool:
    """Whether something with this owner, None for nobody, is what `who` asks for."""
    if who == "mine":
        return owner is not None and owner == actor
    return who == "all" or not owner


def read_open(connection: Connection, account: Account, now: datetime, *only: ColumnElement[bool]) -> list[Open]:
    """Return what is open, by due time.

    :param only: of all that is about one order, or of the watch itself: what inhibits a finding is among the same
    """
    mine = (findings.c.account == account.id, findings.c.resolved_at.is_(None), *only)
    severities: dict[str, str] = {}
    for known in connection.execute(select(findings.c.key, findings.c.severity).where(*mine)).partitions(_AT_ONCE):
        severities.update((row.key, row.severity) for row in known)
    settings, calendar = account.settings, calendar_of(account.settings)
    names, found = _OPEN.selected_columns.keys(), []
    for part in connection.execute(_OPEN.where(*mine)).partitions(_AT_ONCE):
        for values in part:
            row = dict(zip(names, values, strict=True))
            told = Told(row, row["detail"] or {}, row, False, settings, now, calendar, {})
            found.append(_judge(told, severities))
    return sorted(found, key=lambda item: (item.due or item.since, rank(item.severity), item.key))


def _of_order(column: ColumnElement[Any]) -> ScalarSelect[Any]:
    """Select a column of a finding's order by a look at its key for each: a join may read all orders."""
    return (
        select(column)
        .where(orders.c.account == findings.c.account, orders.c.id == findings.c.order_id)
        .scalar_subquery()
    )


_OPEN = select(
    *(findings.c[name] for name in ("key", "kind", "subject", "order_id", "severity", "detail", "since", "owner")),
    findings.c.muted_until,
    func.coalesce(_of_order(orders.c.foc_actual), _of_order(orders.c.foc_requested)).label("foc"),
    case((findings.c.kind == "foc", _of_order(orders.c.codes))).label("codes"),  # else nothing depends on them
)


def _judge(told: Told, severities: Mapping[str, str]) -> Open:
    row = told.finding
    kind = kind_of(row["kind"], row["subject"])
    whose, step = kind.next_step(told)
    section = _section(told, whose, kind.inhibited(row, severities))
    named = (row["key"], row["kind"], row["severity"], row["order_id"], row["owner"], row["since"])
    return Open(*named, whose, step, _due(told), section)


def _section(told: Told, whose: str, inhibited: bool) -> str:
    row = told.finding
    muted = row["muted_until"] is not None and row["muted_until"] > told.now
    if inhibited or muted or told.detail.get("dormant") or whose == "nobody":
        return QUIET
    if row["kind"] == "question":
        return QUESTIONS
    if row["kind"] == "given_up" or (row["kind"] == HEALTH and row["subject"].partition(":")[0] in _RESENDING):
        return RESEND
    return WAITING if whose in (TELNYX, CARRIER) and row["severity"] != CRITICAL else ACT


def _due(told: Told) -> datetime | None:
    """Return by when somebody should have acted; None: as soon as possible."""
    row = told.finding
    since: datetime = row["since"]
    if row["kind"] == "question":
        return told.calendar.after_working_time(since, told.settings.question_after)
    if row["kind"] == "stuck":
        return since + told.settings.stuck_high_after
    if row["kind"] == "exception" and not told.detail.get("messaging"):
        date: datetime | None = row["foc"]
        return date
    written = told.detail.get("foc") if row["kind"] == "foc" else None
    return datetime.fromisoformat(written) if written else None


def write_lines(connection: Connection, account: Account, shown: Sequence[Open], now: datetime) -> tuple[Line, ...]:
    """Put findings into words."""
    named = account.settings.model_copy(update={"alert_details": "references"})  # who looks here is logged in
    facts = gather(connection, account.id, named, now, [item.key for item in shown])
    return tuple(_line(item, facts) for item in shown)


def _line(item: Open, facts: Facts) -> Line:
    row = facts.findings[item.key]
    by = row["triage"] or {}
    return from_row(
        Line,
        row,
        section=item.section,
        name=label(row["order_id"], facts.order_of(row), "references") or row["subject"],
        text=said(row, facts),
        whose=item.whose,
        next_step=item.next_step,
        due=item.due,
        **{name: by.get(name) for name in ("acked_by", "muted_by", "mute_reason")},
    )
