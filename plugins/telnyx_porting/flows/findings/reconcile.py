"""Findings: what is true now that a person should know, and each time it occurs.

Level-triggered: each kind is one SELECT of what is true now, and :func:`reconcile` compares it with what was true
before. Nothing hangs on having seen a change happen, so retries, backfills, restarts and two runs at once cannot repeat
anything.

A finding that is true again after it was resolved, or that began anew in between (another exception of the same order),
is a new occurrence. What is told about it changes inside an occurrence: a new revision.
"""

from __future__ import annotations

import uuid
from collections import Counter
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from telnyx_porting.flows.account import Account, get_account, touch_account
from telnyx_porting.flows.clock import complete_to
from telnyx_porting.flows.findings.kind import HEALTH, Look, Seen
from telnyx_porting.flows.findings.kinds import KINDS, kind_of
from telnyx_porting.ledger.bulk import chunks, rows_by
from telnyx_porting.ledger.engine import excluded
from telnyx_porting.ledger.tables import findings
from telnyx_porting.settings.values import LOW, rank

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Queue = Callable[[Account, datetime], int]
    Mover = Callable[[str, "Row | None"], "Move"]

Row = dict[str, Any]
Move = tuple[Row, str] | None
"""A finding's row as it is to be, and what that is; None while nothing about it changes."""
_BATCH = 500  # findings written in one transaction
_LOOKS = 5  # who began last is never made to look again
_COLUMNS = [column.name for column in findings.columns]
_TOLD = ("key", "kind", "subject", "order_id", "severity", "detail", "since")


@dataclass(frozen=True)
class FindingsResult:
    """What one reconcile changed; counts only."""

    account: str
    opened: int
    changed: int
    resolved: int
    open: int  # findings open afterwards
    queued: int  # alerts that now wait to be sent


def reconcile(account: Account, queue: Queue) -> FindingsResult:
    """Make the findings what the ledger says is true now, in short transactions, then queue their alerts.

    Of two runs at once the one that looked first looks again: the other may have seen more.

    :param queue: queues their alerts, at a time; returns how many wait to be sent.
    """
    now = account.clock()
    counts: Counter[str] = Counter()
    for _ in range(_LOOKS):
        with account.ledger.read() as connection:
            token = _token(connection, account.id)
            look = Look(connection, account.id, account.settings, now)
            seen = see(look)
            complete = complete_to(connection, account.id)
            fresh_at = complete + account.settings.settle if complete is not None else None  # the events are known
            known = _known(connection, account.id, seen)
        move = partial(_move, look, seen, fresh_at)
        if _write(account, token, [key for key in seen | known if move(key, known.get(key))], move, counts):
            break
    queued = queue(account, now)
    with account.ledger.read() as connection:
        query = select(func.count()).where(findings.c.account == account.id, findings.c.resolved_at.is_(None))
        still_open = connection.execute(query).scalar_one()
    return FindingsResult(account.id, counts["opened"], counts["changed"], counts["resolved"], still_open, queued)


def _write(
    account: Account, token: str | None, keys: list[str], move: Callable[..., Move], counts: Counter[str]
) -> bool:
    """Write what moves, as long as nobody else has begun to since the token was read; return whether all is written."""
    for part in list(chunks(keys, _BATCH)) or [[]]:
        with account.ledger.write(f"findings:{account.id}") as connection:
            if _token(connection, account.id) != token:
                return False
            token = uuid.uuid4().hex
            touch_account(account.ledger, connection, account.id, findings_token=token)
            known = rows_of(connection, account.id, part)  # people may have written into them since the look
            moved = [each for key in part if (each := move(key, known.get(key))) is not None]
            write_rows(account, connection, [row for row, _ in moved])
        counts.update(what for _, what in moved)
        account.ledger.breathe()
    return True


def write_rows(account: Account, connection: Connection, rows: list[Row]) -> None:
    """Write findings as they are to be."""
    change = {column.name: excluded(column.name) for column in findings.columns if not column.primary_key}
    account.ledger.upsert(connection, findings, rows, change=change)


def see(look: Look) -> dict[str, Seen]:
    """Return what is true now, by key; what could not be judged is in ``look.failed``, and itself a finding."""
    for kind in KINDS:
        if kind.look is not None:
            look.found.extend(look.kind(kind.name, kind.look))
    return {item.key: _lower_dormant(look, item) for item in look.found}


def _is_held(look: Look, finding: Row) -> bool:
    """Whether a finding that is not seen may be true all the same, because what it hangs on could not be judged."""
    kind = kind_of(finding["kind"], finding["subject"])
    looked_for = () if kind.look is None else (kind.name, *kind.hangs_on)
    return any(
        name in looked_for if order_id is None else order_id == finding["order_id"] for name, order_id in look.failed
    )


def _lower_dormant(look: Look, item: Seen) -> Seen:
    """Lower what nobody touched for very long: it is listed, and nobody is reminded."""
    if item.kind == HEALTH:
        return item
    order = look.open_orders.get(item.order_id or "")
    last = item.touched or item.since
    if order is not None and order["status_since"] is not None and order["status"] != "ported":
        last = max(last, order["status_since"])
    if look.now - last < timedelta(days=look.settings.dormant_after_days):
        return item
    return replace(item, severity=LOW, detail={**item.detail, "dormant": True})


def _token(connection: Connection, account: str) -> str | None:
    row = get_account(connection, account)
    return row["findings_token"] if row else None


def _move(look: Look, seen: Mapping[str, Seen], fresh_at: datetime | None, key: str, row: Row | None) -> Move:
    """Return what a look makes of a finding."""
    if (item := seen.get(key)) is not None:
        return open_or_update(look.account, item, row, look.now)
    if row is None or row["resolved_at"] is not None or _is_held(look, row):
        return None
    return _resolve(row, look.settings.resolve_hold, look.now, fresh_at)


def _known(connection: Connection, account: str, seen: Iterable[str]) -> dict[str, Row]:
    """Return open findings, and resolved ones that are true again."""
    known = {row["key"]: row for row in open_findings(connection, account)}
    return known | rows_of(connection, account, (key for key in seen if key not in known))


def rows_of(connection: Connection, account: str, keys: Iterable[str]) -> dict[str, Row]:
    """Return findings by key."""
    return rows_by(connection, select(findings).where(findings.c.account == account), findings.c.key, keys)


def open_or_update(account: str, item: Seen, row: Row | None, now: datetime) -> Move:
    """Return the row of what is true; what people wrote stays with it, however often it occurs."""
    before = row if row is not None and row["resolved_at"] is None else None  # what is open
    if before is not None and item.kind == HEALTH:
        item = replace(item, since=before["since"])
    told = {name: getattr(item, name) for name in _TOLD}
    after = {**(row or dict.fromkeys(_COLUMNS)), "account": account, **told, "absent_since": None, "resolved_at": None}
    if before is None or item.since > before["since"]:
        occurrence = 1 if row is None else row["occurrence"] + 1
        fresh = {"opened_at": now, "changed_at": None, "acked_until": None, "occurrence": occurrence, "revision": 1}
        return after | fresh, "opened"
    if _is_news(item, before):
        return after | {"changed_at": now, "revision": before["revision"] + 1}, "changed"
    return None if after == before else (after, "same")


def _is_news(item: Seen, row: Row) -> bool:
    """Whether what is told of a finding changed; that it became dormant is only age."""
    kind = kind_of(item.kind, item.subject)
    quiet = kind.quiet | {"dormant"}
    rises = rank(item.severity) < rank(row["severity"]) and not item.is_history
    moves = item.severity != row["severity"] and "severity" not in quiet
    if (rises or moves) and not item.detail.get("dormant"):
        return True

    def news(detail: Mapping[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in detail.items() if name not in quiet}

    return kind.look is not None and news(item.detail) != news(row["detail"] or {})


def _resolve(row: Row, hold: timedelta, now: datetime, fresh_at: datetime | None) -> Move:
    """Return the row of a finding that is no longer true, or None while nothing about it changes."""
    absent = row["absent_since"]
    over = absent is not None and now - absent >= hold
    if kind_of(row["kind"], row["subject"]).look is None:
        return (row | {"resolved_at": now}, "resolved") if over else None
    if not hold or (over and fresh_at is not None and fresh_at >= absent):
        return row | {"absent_since": absent or now, "resolved_at": now}, "resolved"
    return (row | {"absent_since": now}, "absent") if absent is None else None


def open_findings(connection: Connection, account: str, kind: str | None = None) -> list[Row]:
    """Return what is true now, the most severe and oldest first."""
    query = select(findings).where(findings.c.account == account, findings.c.resolved_at.is_(None))
    if kind is not None:
        query = query.where(findings.c.kind == kind)
    rows = [dict(row) for row in connection.execute(query).mappings()]
    return sorted(rows, key=lambda row: (rank(row["severity"]), row["since"], row["key"]))
