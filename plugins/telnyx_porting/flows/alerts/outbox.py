"""The outbox: one row per finding, occurrence and channel, and when it has something to say.

:func:`enqueue` is level-triggered like the findings themselves: it compares what each channel was told with what is
true now, in the transaction that changed the findings, and again before every send.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, delete, func, select, tuple_, update

from telnyx_porting.flows.account import watched_since
from telnyx_porting.flows.alerts.channels import Channel, channels_of, get_channel, touch_channel
from telnyx_porting.flows.alerts.policy import DIGEST, Policy
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.kind import HEALTH
from telnyx_porting.flows.findings.kinds import kind_of
from telnyx_porting.ledger.chunks import chunks
from telnyx_porting.ledger.predicates import alert_is_live
from telnyx_porting.ledger.states import AlertAction, AlertStatus, Feed
from telnyx_porting.ledger.tables import alerts, findings, orders
from telnyx_porting.settings.values import HIGH, LOW, SEVERITIES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

FIRST_LOOK = "first look"
FIRST_LOOK_LASTS = timedelta(minutes=30)  # then we speak even when the first scan could not prove its window
Row = dict[str, Any]


@dataclass(frozen=True)
class _Outbox:
    """One channel's outbox, and everything a decision about it needs."""

    ledger: Ledger
    connection: Connection
    account: str
    channel: Channel
    policy: Policy
    open: dict[str, Row]  # the account's open findings, by key
    baseline_before: datetime | None
    ready: bool  # the first scan is done: what is wrong now is known
    last: dict[str, datetime]
    severities: dict[str, str]
    came_back: set[str] = field(default_factory=set)  # over and true again before anybody was told

    @property
    def now(self) -> datetime:
        return self.policy.now

    def inhibited(self, finding: Mapping[Any, Any]) -> bool:
        return kind_of(finding["kind"], finding["subject"]).inhibited(finding, self.severities)


def enqueue(ledger: Ledger, connection: Connection, account: str, settings: Settings, now: datetime) -> int:
    """Bring every channel's outbox in line with the findings, inside the caller's transaction.

    :return: how many rows wait to be sent.
    """
    feed = get_feed(connection, account, Feed.EVENTS)
    watch_from = watched_since(connection, account)
    covered = feed["covered_until"] if feed else None
    read = covered is not None and watch_from is not None and covered >= watch_from - settings.overlap
    ready = watch_from is not None and (read or now - watch_from >= FIRST_LOOK_LASTS)
    baseline_before = watch_from - timedelta(days=settings.first_look_days) if watch_from else None
    is_open = open_rows(connection, account)
    severities = {key: row["severity"] for key, row in is_open.items()}
    policy = Policy(settings, now)
    for channel in channels_of(settings):
        last = _last_sent(connection, account, channel, now - settings.group_interval)
        box = _Outbox(ledger, connection, account, channel, policy, is_open, baseline_before, ready, last, severities)
        _follow(box)
        _add(box)
    waiting = select(func.count()).where(alerts.c.account == account, alerts.c.next_at.is_not(None))
    return int(connection.execute(waiting).scalar_one())


def open_rows(connection: Connection, account: str) -> dict[str, Row]:
    """Return the open findings by key, with the `customer_reference` of their orders."""
    about = and_(orders.c.account == findings.c.account, orders.c.id == findings.c.order_id)
    query = (
        select(findings, orders.c.customer_reference)
        .outerjoin(orders, about)
        .where(findings.c.account == account, findings.c.resolved_at.is_(None))
    )
    return {row["key"]: {**row, "detail": row["detail"] or {}} for row in connection.execute(query).mappings()}


def _last_sent(connection: Connection, account: str, channel: Channel, since: datetime) -> dict[str, datetime]:
    """Return when each group, and each finding, was last spoken of, as far as that still matters."""
    recent = (alerts.c.account == account, alerts.c.channel == channel.name, alerts.c.sent_at > since)
    query = select(alerts.c.group_key, alerts.c.key, alerts.c.sent_at).where(*recent).order_by(alerts.c.sent_at)
    return {name: row.sent_at for row in connection.execute(query) for name in (row.group_key, row.key)}


# -- what a channel was never told -------------------------------------------------------------------------------------


def _add(box: _Outbox) -> None:
    """Queue what this channel was never told. At first contact everything goes out as one message."""
    met = get_channel(box.connection, box.account, box.channel.name)
    known = met is not None and met["first_look_at"] is not None
    mine = (alerts.c.account == box.account, alerts.c.channel == box.channel.name)
    told: set[tuple[str, int]] = set()
    for keys in chunks(box.open, 500):
        query = select(alerts.c.key, alerts.c.occurrence).where(*mine, alerts.c.key.in_(keys))
        told |= {(row.key, row.occurrence) for row in box.connection.execute(query)}
    rows = [
        _first_row(box, finding, known)
        for finding in box.open.values()
        if (finding["key"], finding["occurrence"]) not in told and _may_add(box, finding)
    ]
    for batch in chunks(rows, 500):
        box.ledger.upsert(box.connection, alerts, batch)
    if box.ready and not known:
        touch_channel(box.ledger, box.connection, box.account, box.channel.name, first_look_at=box.now)


def _may_add(box: _Outbox, finding: Row) -> bool:
    if not box.ready and finding["kind"] != HEALTH:
        return False
    if finding["muted_until"] is not None and finding["muted_until"] > box.now:
        return False
    return box.channel.takes(box.account, finding) and not box.inhibited(finding)


def _first_row(box: _Outbox, finding: Row, known: bool) -> Row:
    key, severity, name = finding["key"], finding["severity"], box.channel.name
    row = {
        "account": box.account,
        "key": key,
        "occurrence": finding["occurrence"],
        "channel": name,
        "action": AlertAction.FIRING,
    }
    if box.baseline_before is not None and finding["since"] < box.baseline_before:
        return row | {"status": AlertStatus.BASELINE, "group_key": FIRST_LOOK, "next_at": None}
    if box.ready and not known:
        return row | {"status": AlertStatus.QUEUED, "group_key": FIRST_LOOK, "next_at": box.now}
    group = box.policy.group(box.channel, finding["kind"], severity)
    next_at = box.policy.first(box.channel, group, severity, key, box.last, waited=key in box.came_back)
    return row | {"status": AlertStatus.QUEUED, "group_key": group, "next_at": next_at}


# -- what it was told, or is about to be -------------------------------------------------------------------------------


def _follow(box: _Outbox) -> None:
    """Let the rows that are still of interest follow their finding."""
    query = select(alerts).where(
        alerts.c.account == box.account,
        alerts.c.channel == box.channel.name,
        alert_is_live(alerts),
    )
    alike: dict[tuple[tuple[str, Any], ...], list[Mapping[Any, Any]]] = {}
    quiet = []
    for row in box.connection.execute(query).mappings():
        finding = box.open.get(row["key"])
        if finding is None or finding["occurrence"] > row["occurrence"]:
            values = _over(box, row, finding)
        elif row["status"] == AlertStatus.QUEUED and row["batch"] is None and box.inhibited(finding):
            quiet.append(row)  # never told: it is queued anew when its parent is over and it is still true
            continue
        else:
            values = _pending(box, row, finding)
        if values:
            alike.setdefault(tuple(sorted(values.items())), []).append(row)
    for same, rows in alike.items():
        update_rows(box.connection, box.account, box.channel.name, rows, **dict(same))
    for batch in chunks(quiet, 200):
        box.connection.execute(delete(alerts).where(*_these(box.account, box.channel.name, batch)))


def _over(box: _Outbox, row: Mapping[Any, Any], newer: Row | None) -> Row:
    """Take back what was told, and only that."""
    digest_ended = row["group_key"] == DIGEST and not box.channel.has_digest(box.policy.settings)
    if row["status"] == AlertStatus.RESOLVING and not digest_ended:
        return {}
    if row["status"] == AlertStatus.QUEUED and row["batch"] is None:
        if newer is not None:  # what flaps faster than the wait would never be told
            box.came_back.add(row["key"])
        return {"status": AlertStatus.DROPPED, "next_at": None}
    kind = row["key"].partition(":")[0]
    severity = newer["severity"] if newer else _severity_of(row["group_key"])
    group = box.policy.group(box.channel, kind, severity)
    next_at = box.policy.first(box.channel, group, severity, row["key"], box.last)
    if row["batch"] is not None:  # in flight, or a crash left it so: wait until that is known
        next_at = max(next_at, row["next_at"] or box.now)
    return {"status": AlertStatus.RESOLVING, "action": AlertAction.RESOLVED, "group_key": group, "next_at": next_at}


def _severity_of(group: str) -> str:
    severity = group.rpartition("/")[2]
    return LOW if group == DIGEST else severity if severity in SEVERITIES else HIGH


def _pending(box: _Outbox, row: Mapping[Any, Any], finding: Row) -> Row:
    """Say what changed, or wait for a better moment."""
    if row["batch"] is not None or row["status"] == AlertStatus.RESOLVING:
        return {}
    muted, acked = finding["muted_until"], finding["acked_until"]
    if muted is not None and muted > box.now:
        return {"next_at": muted} if row["next_at"] is not None and row["next_at"] < muted else {}
    group = box.policy.group(box.channel, finding["kind"], finding["severity"])
    changed = row["status"] == AlertStatus.SENT and row["told"] < finding["revision"]
    moved = row["status"] == AlertStatus.QUEUED and row["group_key"] not in (group, FIRST_LOOK)
    if moved or (changed and (row["action"] != AlertAction.CHANGED or row["group_key"] != group)):
        next_at = box.policy.first(box.channel, group, finding["severity"], row["key"], box.last)
        return {
            "action": AlertAction.CHANGED if changed else AlertAction.FIRING,
            "group_key": group,
            "next_at": next_at,
        }
    if row["action"] == AlertAction.REMINDER and row["next_at"] is not None:
        again = box.policy.reminder(box.channel, finding["severity"])
        if again is None or (row["next_at"] <= box.now and box.inhibited(finding)):
            return {"next_at": again}
    waits = row["action"] in (AlertAction.REMINDER, AlertAction.FIRING) and acked is not None and acked > box.now
    if waits and row["next_at"] is not None and row["next_at"] < acked:
        return {"next_at": acked}
    return {}


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
        connection.execute(update(alerts).where(*_these(account, channel, batch), *conditions).values(**values))


def _these(account: str, channel: str, rows: Sequence[Mapping[Any, Any]]) -> tuple[ColumnElement[bool], ...]:
    keys = tuple_(alerts.c.key, alerts.c.occurrence).in_([(row["key"], row["occurrence"]) for row in rows])
    return alerts.c.account == account, alerts.c.channel == channel, keys
