"""Report: what a plan did, in Markdown for people and as counts for machines. Never says more than was seen."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import BigInteger, ColumnElement, RowMapping, and_, case, func, select, type_coerce

from telnyx_porting.escaping import for_markdown, one_line
from telnyx_porting.flows.deliveries.proofs import FUZZ, same_event
from telnyx_porting.flows.deliveries.settle import ARRIVED_OTHERWISE
from telnyx_porting.flows.republish.plan import of_plan, plan_row
from telnyx_porting.ledger.predicates import is_open
from telnyx_porting.ledger.states import UNRESOLVED, Cause, CloseReason, Republish
from telnyx_porting.ledger.tables import events, republishes
from telnyx_porting.ledger.types import microseconds

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account

LISTED = 50  # rows shown; the rest is counted
_LISTED = (Republish.NOT_ARRIVED, Republish.UNKNOWN, Republish.REFUSED, Republish.DROPPED)
OTHERWISE, WAITING = "arrived_otherwise", "waiting"  # what `unknown` means, and what has no verdict


@dataclass(frozen=True)
class Report:
    """One plan's result: counts only, and the Markdown that a person reads."""

    markdown: str
    counts: dict[str, int]
    confirm_p50: float | None  # seconds from send to the delivery that proved it
    confirm_p95: float | None
    summary: str  # one sentence
    outcome: str  # done | halted | rejected | unanswered | open

    @property
    def all_arrived(self) -> bool:
        """Whether every event that was sent is known to have arrived."""
        unsure = (Republish.NOT_ARRIVED, Republish.UNKNOWN, Republish.REFUSED, WAITING)
        return not any(self.counts.get(state) for state in unsure)


def report(account: Account, plan_id: str) -> Report:
    """Summarise a plan from the ledger.

    :raises PlanError: when the account has no such plan.
    """
    mine = of_plan(account.id, plan_id)
    about = same_event(events, republishes)
    outcome = _outcome()
    after = type_coerce(events.c.arrived_at, BigInteger) - type_coerce(republishes.c.reply_date, BigInteger)
    arrived = (republishes.c.state == Republish.ARRIVED, after >= -microseconds(FUZZ))
    each = select(outcome.label("outcome")).where(mine).subquery().c
    counted = select(each.outcome, func.count())
    columns = (republishes.c.event_id, republishes.c.detail, outcome.label("outcome"), events.c.type)
    with account.ledger.read() as connection:
        plan = plan_row(connection, account.id, plan_id)
        counts = {row.outcome: row[1] for row in connection.execute(counted.group_by(each.outcome))}
        times = select(after).join(events, about).where(mine, *arrived).order_by(after)
        seconds = [max(took, 0) / 1e6 for took in connection.execute(times).scalars()]
        listed = select(*columns).join(events, about).where(mine, outcome.in_(_LISTED))
        rows = connection.execute(listed.order_by(republishes.c.position).limit(LISTED)).mappings().all()
    p50, p95 = _percentile(seconds, 0.50), _percentile(seconds, 0.95)
    summary = ", ".join(f"{number} {_PLAIN[key]}" for key in _PLAIN if (number := counts.get(key)))
    return Report(
        _markdown(plan, rows, counts, p50, p95),
        counts,
        p50,
        p95,
        f"Of {sum(counts.values())} events: {summary}.",
        _ending(plan),
    )


def still_lost(account: Account) -> bool:
    """Whether an event that some plan sent in vain is still waited for, and not given up."""
    query = (
        select(republishes.c.event_id)
        .join(events, same_event(events, republishes))
        .where(republishes.c.account == account.id, republishes.c.state == Republish.NOT_ARRIVED, is_open(events))
    )
    with account.ledger.read() as connection:
        return connection.execute(query.limit(1)).first() is not None


_PLAIN: dict[str, str] = {
    Republish.ARRIVED: "arrived",
    OTHERWISE: "arrived otherwise (not credited to this republish)",
    Republish.NOT_ARRIVED: "not arrived",
    Republish.UNKNOWN: "unknown",
    Republish.REFUSED: "refused by Telnyx",
    Republish.DROPPED: "dropped, not sent",
    WAITING: "sent, verdict open",
    Republish.PLANNED: "not sent yet",
}


def _ending(plan: RowMapping) -> str:
    reason = plan["close_reason"] or ""
    if plan["closed_at"] is None:
        return "open"
    if reason.startswith(CloseReason.REJECTED):
        return "rejected"
    endings: dict[str, str] = {CloseReason.DONE: "done", CloseReason.UNANSWERED: "unanswered"}
    return endings.get(reason, "halted")


def _outcome() -> ColumnElement[str]:
    state = republishes.c.state
    return case(
        (and_(state == Republish.UNKNOWN, republishes.c.detail == ARRIVED_OTHERWISE), OTHERWISE),
        (and_(state.in_(UNRESOLVED), republishes.c.settled_at.is_(None)), WAITING),
        else_=state,
    )


def _percentile(times: list[float], share: float) -> float | None:
    return times[min(int(len(times) * share), len(times) - 1)] if times else None


def _markdown(plan: RowMapping, rows: Any, counts: dict[str, int], p50: float | None, p95: float | None) -> str:
    labels = _PLAIN | {
        Republish.NOT_ARRIVED: "**not arrived**",
        Republish.UNKNOWN: "**unknown**: nothing proves either",
    }
    who = for_markdown(plan["approved_by"] or "nobody")
    lines = [
        f"### Republish of {plan['size']} events ({for_markdown(plan['account'])})",
        "",
        *(f"Found: {found}." for found in [_found(plan["selection"].get("found") or {})] if found),
        for_markdown(plan["selection"]["words"]),
        f"Approved by {who}; plan `{plan['id']}`, hash `{plan['hash'][:12]}`.",
        "",
        "| outcome | events |",
        "|---|---|",
        *(f"| {label} | {counts[key]} |" for key, label in labels.items() if counts.get(key)),
    ]
    if left := plan["selection"].get("superseded_left_alone"):
        lines.append(f"| superseded, left alone | {left} |")
    if p50 is not None and p95 is not None:
        lines += ["", f"Time from send to confirmed arrival: p50 {_seconds(p50)}, p95 {_seconds(p95)}."]
    if plan["close_reason"] not in (None, CloseReason.DONE):
        lines += ["", f"Stopped early: {for_markdown(plan['close_reason'])}."]
    if rows:
        lines += ["", "| event | type | outcome | why |", "|---|---|---|---|"]
        for row in rows:
            event, kind, why = row["event_id"], row["type"].rpartition(".")[2], one_line(row["detail"] or "", 160)
            lines.append(f"| {for_markdown(event)} | {for_markdown(kind)} | {row['outcome']} | {for_markdown(why)} |")
        if (more := sum(counts.get(each, 0) for each in _LISTED) - len(rows)) > 0:
            lines.append(f"\n... and {more} more in the ledger.")
    return "\n".join(lines)


def _found(by_cause: dict[str, int]) -> str:
    words: dict[str, str] = {Cause.FAILED: "missed after failed tries", Cause.NO_TRACE: "missed without a trace"}
    return ", ".join(f"{number} {words.get(cause, cause)}" for cause, number in sorted(by_cause.items()))


def _seconds(value: float) -> str:
    return str(timedelta(seconds=round(value))) if value >= 60 else f"{value:.1f} s"
