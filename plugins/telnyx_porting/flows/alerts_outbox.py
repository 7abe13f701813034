"""The outbox: one row per finding, turn and channel, and when it has something to say.

:func:`enqueue` is level-triggered like the findings themselves: it compares what each channel was told with what is
true now, in the transaction that changed the findings, and again before every send. Grouping and pace are decided here,
as `next_at`.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, func, select, tuple_, update

from telnyx_porting.flows.channels import Channel, channels_of
from telnyx_porting.flows.chunks import chunks
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.ledger.tables import alerts, findings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

LIVE = ("queued", "sent", "resolving")
FIRST_LOOK = "first look"
FIRST_LOOK_LASTS = timedelta(minutes=30)  # then we speak even when the first scan could not prove its window


@dataclass(frozen=True)
class _Look:
    """Everything a decision needs besides the finding."""

    settings: Settings
    now: datetime
    baseline_before: datetime | None
    ready: bool  # the first scan is done: what is wrong now is known


def enqueue(ledger: Ledger, connection: Connection, account: str, settings: Settings, now: datetime) -> int:
    """Bring every channel's outbox in line with the findings, inside the caller's transaction.

    :return: how many rows wait to be sent.
    """
    feed = get_feed(connection, account, "events")
    watch_from = feed["watch_from"] if feed else None
    covered = feed["covered_until"] if feed else None
    look = _Look(
        settings,
        now,
        watch_from - timedelta(days=settings.first_look_days) if watch_from else None,
        watch_from is not None
        and (
            (covered is not None and covered >= watch_from - settings.overlap) or now - watch_from >= FIRST_LOOK_LASTS
        ),
    )
    for channel in channels_of(settings):
        last_sent = _last_sent(connection, account, channel, look)
        _follow(connection, account, channel, look, last_sent)
        _add(ledger, connection, account, channel, look, last_sent)
    waiting = select(func.count()).where(alerts.c.account == account, alerts.c.next_at.is_not(None))
    return int(connection.execute(waiting).scalar_one())


def group_of(kind: str, severity: str) -> str:
    """Name the group a finding is told in."""
    return f"{kind}/{severity}"


def _last_sent(connection: Connection, account: str, channel: Channel, look: _Look) -> dict[str, datetime]:
    """Return when each group, and each finding, was last spoken of, as far as that still matters."""
    recent = (
        alerts.c.account == account,
        alerts.c.channel == channel.name,
        alerts.c.sent_at > look.now - look.settings.group_interval,
    )
    found: dict[str, datetime] = {}
    for column in (alerts.c.group_key, alerts.c.key):
        query = select(column, func.max(alerts.c.sent_at)).where(*recent).group_by(column)
        found |= {row[0]: row[1] for row in connection.execute(query)}
    return found


def _next_at(
    channel: Channel, look: _Look, last_sent: dict[str, datetime], key: str, group: str, severity: str
) -> datetime:
    """Return when to speak: to machines at once; to people in groups, with the interval between two messages."""
    if channel.is_machine:
        return look.now
    interval = look.settings.group_interval
    if severity == "critical":
        return max(look.now, last_sent[key] + interval) if key in last_sent else look.now
    wait = look.now + look.settings.group_wait
    return max(wait, last_sent[group] + interval) if group in last_sent else wait


def _add(
    ledger: Ledger,
    connection: Connection,
    account: str,
    channel: Channel,
    look: _Look,
    last_sent: dict[str, datetime],
) -> None:
    """Queue what this channel was never told. At first contact everything goes out as one message."""
    source = f"channel:{channel.name}"
    met = get_feed(connection, account, source)
    known = met is not None and met["watch_from"] is not None
    same = and_(
        alerts.c.account == account,
        alerts.c.key == findings.c.key,
        alerts.c.turn == findings.c.turn,
        alerts.c.channel == channel.name,
    )
    query = (
        select(findings)
        .outerjoin(alerts, same)
        .where(findings.c.account == account, findings.c.resolved_at.is_(None), alerts.c.key.is_(None))
    )
    rows = []
    for finding in connection.execute(query).mappings().all():
        if finding["kind"] != "health" and not look.ready:
            continue
        rows.append(_first_row(account, channel, finding, look, last_sent, known))
    for batch in chunks(rows, 500):
        ledger.upsert(connection, alerts, batch)
    if look.ready and not known:
        touch_feed(ledger, connection, account, source, watch_from=look.now)


def _first_row(
    account: str, channel: Channel, finding: Mapping[Any, Any], look: _Look, last_sent: dict[str, datetime], known: bool
) -> dict[str, Any]:
    key, severity = finding["key"], finding["severity"]
    row = {"account": account, "key": key, "turn": finding["turn"], "channel": channel.name, "action": "firing"}
    if look.baseline_before is not None and finding["since"] < look.baseline_before:
        return row | {"status": "baseline", "group_key": FIRST_LOOK, "next_at": None}
    if look.ready and not known:
        return row | {"status": "queued", "group_key": FIRST_LOOK, "next_at": look.now}
    group = group_of(finding["kind"], severity)
    next_at = _next_at(channel, look, last_sent, key, group, severity)
    return row | {"status": "queued", "group_key": group, "next_at": next_at}


def _follow(
    connection: Connection, account: str, channel: Channel, look: _Look, last_sent: dict[str, datetime]
) -> None:
    """Let rows that are still of interest follow their finding: over, or changed."""
    query = (
        select(
            alerts,
            findings.c.kind,
            findings.c.severity,
            findings.c.revision,
            findings.c.turn.label("current_turn"),
            findings.c.resolved_at,
        )
        .join(findings, and_(findings.c.account == alerts.c.account, findings.c.key == alerts.c.key))
        .where(alerts.c.account == account, alerts.c.channel == channel.name, alerts.c.status.in_(LIVE))
    )
    alike: dict[tuple[tuple[str, Any], ...], list[Mapping[Any, Any]]] = {}
    for row in connection.execute(query).mappings():
        over = row["current_turn"] > row["turn"] or row["resolved_at"] is not None
        values = (_over if over else _changed)(channel, row, look, last_sent)
        if values:
            alike.setdefault(tuple(sorted(values.items())), []).append(row)
    for same, rows in alike.items():
        update_rows(connection, account, channel.name, rows, **dict(same))


def update_rows(
    connection: Connection,
    account: str,
    channel: str,
    rows: Sequence[Mapping[Any, Any]],
    *conditions: ColumnElement[bool],
    **values: Any,
) -> None:
    """Write the same values into some rows of one channel."""
    for batch in chunks(rows, 200):
        these = tuple_(alerts.c.key, alerts.c.turn).in_([(row["key"], row["turn"]) for row in batch])
        mine = (alerts.c.account == account, alerts.c.channel == channel)
        connection.execute(update(alerts).where(*mine, these, *conditions).values(**values))


def _over(channel: Channel, row: Mapping[Any, Any], look: _Look, last_sent: dict[str, datetime]) -> dict[str, Any]:
    if row["status"] == "resolving":
        return {}
    if row["status"] == "queued" and row["batch"] is None:
        return {"status": "dropped", "next_at": None}  # never told, so there is nothing to take back
    group = group_of(row["kind"], row["severity"])
    next_at = _next_at(channel, look, last_sent, row["key"], group, row["severity"])
    if row["batch"] is not None:  # in flight, or a crash left it so: wait for that to be known
        next_at = max(next_at, row["next_at"] or look.now)
    return {"status": "resolving", "action": "resolved", "group_key": group, "next_at": next_at}


def _changed(channel: Channel, row: Mapping[Any, Any], look: _Look, last_sent: dict[str, datetime]) -> dict[str, Any]:
    pending = row["action"] == "changed" and row["next_at"] is not None
    if row["status"] != "sent" or row["batch"] is not None or pending or row["told"] >= row["revision"]:
        return {}
    group = group_of(row["kind"], row["severity"])
    next_at = _next_at(channel, look, last_sent, row["key"], group, row["severity"])
    return {"action": "changed", "group_key": group, "next_at": next_at}
