"""Send what is due: claim one message, send it, mark it.

A message is a batch of outbox rows. The batch is committed before the send, so that a crash between send and mark
ends in one repeat under the same dedup key, and two senders never send the same row. What is said is rendered at the
last moment from what is true then.
"""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select

from telnyx_porting.flows.alerts_outbox import enqueue, update_rows
from telnyx_porting.flows.alerts_text import entry, headline
from telnyx_porting.flows.channels import Channel, Message, channels_of
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.flows.findings_health import clear, health
from telnyx_porting.ledger.tables import alerts, findings, orders

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
Send = Callable[[Channel, Message], None]

AT_ONCE = 100  # findings per message
LEASE = timedelta(minutes=5)  # after that a claimed message counts as left behind by a crash
BACK_OFF = timedelta(minutes=1)
BACK_OFF_MOST = timedelta(minutes=15)


@dataclass(frozen=True)
class AlertsResult:
    """What one round of sending did; counts only."""

    account: str
    messages: int = 0
    findings: int = 0
    failed: tuple[str, ...] = ()  # channels that did not take a message


@dataclass
class _Batch:
    """One claimed message."""

    id: str
    action: str
    rows: list[dict[str, Any]] = field(default_factory=list)


def send_due(ledger: Ledger, account: str, settings: Settings, now: datetime, send: Send) -> AlertsResult:
    """Send every message that is due.

    :param account: Airflow connection id of the Telnyx account.
    :param send: delivers one message to one channel, or raises; a channel that raised waits and stops no other.
    """
    started = time.monotonic()

    def moment() -> datetime:
        return now + timedelta(seconds=time.monotonic() - started)

    with ledger.write() as connection:
        ledger.lock(connection, f"findings:{account}")
        enqueue(ledger, connection, account, settings, now)
    messages = told = 0
    failed = []
    for channel in channels_of(settings):
        while (batch := _claim(ledger, account, channel, moment())) is not None:
            message = _render(ledger, account, channel, batch)
            try:
                send(channel, message)
            except Exception as error:  # whatever a channel does, the others get theirs
                _failed(ledger, account, channel, batch, moment(), error)
                failed.append(channel.name)
                break
            _mark(ledger, account, channel, batch, moment())
            messages, told = messages + 1, told + len(batch.rows)
    if not settings.alert_channels:
        log.info("no alert channel is configured for %s: findings are kept, nobody is told", account)
    return AlertsResult(account, messages, told, tuple(failed))


def _claim(ledger: Ledger, account: str, channel: Channel, now: datetime) -> _Batch | None:
    """Take the next due message of a channel, and commit that before anything is sent."""
    mine = and_(alerts.c.account == account, alerts.c.channel == channel.name)
    due = and_(mine, alerts.c.next_at.is_not(None), alerts.c.next_at <= now)
    with ledger.write() as connection:
        ledger.lock(connection, f"findings:{account}")
        query = select(alerts).where(due).order_by(alerts.c.next_at, alerts.c.key).limit(1)
        first = connection.execute(query).mappings().one_or_none()
        if first is None:
            return None
        action = first["action"]
        left_behind = first["batch"] is not None and first["batch"].startswith(f"{action}:")
        if left_behind:
            members, batch = and_(due, alerts.c.batch == first["batch"]), first["batch"]
        else:
            other = or_(alerts.c.batch.is_(None), alerts.c.batch.not_like(f"{action}:%"))
            members = and_(due, alerts.c.group_key == first["group_key"], other)
            batch = f"{action}:{uuid.uuid4()}"
        size = 1 if channel.kind == "pagerduty" else AT_ONCE
        rows = connection.execute(
            select(alerts).where(members, alerts.c.action == action).order_by(alerts.c.key, alerts.c.turn).limit(size)
        )
        taken = [dict(row) for row in rows.mappings()]
        update_rows(connection, account, channel.name, taken, batch=batch, next_at=now + LEASE)
    return _Batch(batch, action, taken)


def _render(ledger: Ledger, account: str, channel: Channel, batch: _Batch) -> Message:
    found, known = _facts(ledger, account, batch)
    entries = []
    for row in batch.rows:
        finding = found[row["key"]]
        row["revision"] = finding["revision"] if finding["turn"] == row["turn"] else row["told"]
        entries.append(entry(row, finding, known.get(finding["order_id"]), batch.action))
    dedup_key = batch.id.partition(":")[2]
    return Message(account, batch.action, tuple(entries), dedup_key, headline(account, batch.action, entries))


def _facts(ledger: Ledger, account: str, batch: _Batch) -> tuple[dict[str, dict[str, Any]], dict[str, dict[str, Any]]]:
    with ledger.read() as connection:
        query = select(findings).where(
            findings.c.account == account, findings.c.key.in_([row["key"] for row in batch.rows])
        )
        found = {row["key"]: dict(row) for row in connection.execute(query).mappings()}
        ids = {row["order_id"] for row in found.values() if row["order_id"]}
        about = select(orders).where(orders.c.account == account, orders.c.id.in_(ids))
        known = {row["id"]: dict(row) for row in connection.execute(about).mappings()}
    return found, known


def _mark(ledger: Ledger, account: str, channel: Channel, batch: _Batch, now: datetime) -> None:
    """Write down that a message went out; what changed meanwhile stays queued."""
    final = batch.action == "resolved"
    with ledger.write() as connection:
        ledger.lock(connection, f"findings:{account}")
        for revision in {row["revision"] for row in batch.rows}:
            rows = [row for row in batch.rows if row["revision"] == revision]
            said = {"batch": None, "sent_at": now, "sends": alerts.c.sends + 1, "error": None, "told": revision}
            status = {"status": "resolved" if final else "sent", "next_at": None}
            mine, same = alerts.c.batch == batch.id, alerts.c.action == batch.action
            update_rows(connection, account, channel.name, rows, mine, ~same, **said)
            update_rows(connection, account, channel.name, rows, mine, same, **said, **status)
        met = get_feed(connection, account, f"channel:{channel.name}")
        touch_feed(ledger, connection, account, f"channel:{channel.name}", checked_at=now, error=None, refused=0)
    if met is not None and met["error"] is not None:
        clear(ledger, account, f"channel:{channel.name}", now)


def _failed(ledger: Ledger, account: str, channel: Channel, batch: _Batch, now: datetime, error: Exception) -> None:
    """Keep the message for a later try under the same dedup key, and say that the channel fails."""
    reason = f"{type(error).__name__}: {error}"[:500]
    log.warning("channel %s took no message: %s", channel.name, reason)
    source = f"channel:{channel.name}"
    with ledger.write() as connection:
        ledger.lock(connection, f"findings:{account}")
        met = get_feed(connection, account, source)
        failures = (met["refused"] if met else 0) + 1
        pause = min(BACK_OFF * 2 ** min(failures - 1, 10), BACK_OFF_MOST)
        touch_feed(ledger, connection, account, source, error=reason, refused=failures)
        update_rows(connection, account, channel.name, batch.rows, next_at=now + pause, error=reason)
    health(ledger, account, source, f"alert channel {channel.name} takes no messages: {reason}", "high", now)
