"""Report: what a plan did, in Markdown for people and as counts for machines. Never says more than was seen."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import RowMapping, and_, select

from telnyx_porting.escaping import for_markdown, one_line
from telnyx_porting.flows.deliveries.proofs import FUZZ
from telnyx_porting.flows.deliveries.settle import ARRIVED_OTHERWISE
from telnyx_porting.flows.republish.plan import plan_row
from telnyx_porting.ledger.predicates import is_open
from telnyx_porting.ledger.states import UNRESOLVED, Cause, CloseReason, Republish
from telnyx_porting.ledger.tables import events, republishes

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account

LISTED = 50  # rows shown; the rest is counted
OTHERWISE, WAITING = "arrived_otherwise", "waiting"  # what `unknown` means, and what has no verdict


@dataclass(frozen=True)
class Report:
    """One plan's result: counts only, and the Markdown that a person reads."""

    markdown: str
    counts: dict[str, int] = field(default_factory=dict)
    confirm_p50: float | None = None  # seconds from send to the delivery that proved it
    confirm_p95: float | None = None
    summary: str = ""  # one sentence
    outcome: str = ""  # done | halted | rejected | unanswered | open

    @property
    def all_arrived(self) -> bool:
        """Whether every event that was sent is known to have arrived."""
        unsure = (Republish.NOT_ARRIVED, Republish.UNKNOWN, Republish.REFUSED, WAITING)
        return not any(self.counts.get(state) for state in unsure)


def report(account: Account, plan_id: str) -> Report:
    """Summarise a plan from the ledger.

    :raises PlanError: when the account has no such plan.
    """
    columns = [republishes.c[name] for name in ("event_id", "state", "detail", "reply_date", "settled_at")]
    with account.ledger.read() as connection:
        plan = plan_row(connection, account.id, plan_id)
        rows = (
            connection.execute(
                select(*columns, events.c.type, events.c.arrived_at)
                .join(events, and_(events.c.account == republishes.c.account, events.c.id == republishes.c.event_id))
                .where(republishes.c.account == account.id, republishes.c.plan_id == plan_id)
                .order_by(republishes.c.position)
            )
            .mappings()
            .all()
        )
    counts: dict[str, int] = {}
    for row in rows:
        outcome = _outcome(row)
        counts[outcome] = counts.get(outcome, 0) + 1
    times = sorted(seconds for row in rows if (seconds := _confirmed_after(row)) is not None)
    p50, p95 = _percentile(times, 0.50), _percentile(times, 0.95)
    summary = ", ".join(f"{number} {_PLAIN[key]}" for key in _PLAIN if (number := counts.get(key)))
    return Report(
        _markdown(plan, rows, counts, p50, p95),
        counts,
        p50,
        p95,
        f"Of {len(rows)} events: {summary}.",
        _ending(plan),
    )


def still_lost(account: Account) -> bool:
    """Whether an event that some plan sent in vain is still waited for, and not given up."""
    query = (
        select(republishes.c.event_id)
        .join(events, and_(events.c.account == republishes.c.account, events.c.id == republishes.c.event_id))
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


def _confirmed_after(row: RowMapping) -> float | None:
    """Seconds from the reply to the delivery that proved it, both the provider's clock."""
    arrived_at, sent = row["arrived_at"], row["reply_date"]
    if row["state"] != Republish.ARRIVED or arrived_at is None or sent is None or arrived_at < sent - FUZZ:
        return None
    return max(float((arrived_at - sent).total_seconds()), 0.0)


def _outcome(row: RowMapping) -> str:
    if row["state"] == Republish.UNKNOWN and row["detail"] == ARRIVED_OTHERWISE:
        return OTHERWISE
    if row["state"] in UNRESOLVED and row["settled_at"] is None:
        return WAITING
    return str(row["state"])


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
    listed = (Republish.NOT_ARRIVED, Republish.UNKNOWN, Republish.REFUSED, Republish.DROPPED)
    open_rows = [row for row in rows if _outcome(row) in listed]
    if open_rows:
        lines += ["", "| event | type | outcome | why |", "|---|---|---|---|"]
        for row in open_rows[:LISTED]:
            event, kind, why = row["event_id"], row["type"].rpartition(".")[2], one_line(row["detail"] or "", 160)
            lines.append(f"| {for_markdown(event)} | {for_markdown(kind)} | {_outcome(row)} | {for_markdown(why)} |")
        if len(open_rows) > LISTED:
            lines.append(f"\n... and {len(open_rows) - LISTED} more in the ledger.")
    return "\n".join(lines)


def _found(by_cause: dict[str, int]) -> str:
    words: dict[str, str] = {Cause.FAILED: "missed after failed tries", Cause.NO_TRACE: "missed without a trace"}
    return ", ".join(f"{number} {words.get(cause, cause)}" for cause, number in sorted(by_cause.items()))


def _seconds(value: float) -> str:
    return str(timedelta(seconds=round(value))) if value >= 60 else f"{value:.1f} s"
