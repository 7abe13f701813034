"""Claim what is due, and write down what became of it.

A message is a batch of outbox rows, committed before it is sent: a crash between send and mark ends in one repeat under
the same dedup key, and two senders never take the same row.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, RowMapping, and_, or_, select

from telnyx_porting import links
from telnyx_porting.flows.alerts.channels import Channel, ChannelError, Message, channels_of, get_channel, touch_channel
from telnyx_porting.flows.alerts.outbox import FIRST_LOOK, update_rows
from telnyx_porting.flows.alerts.policy import DIGEST, Policy
from telnyx_porting.ledger.bulk import chunks, rows_by
from telnyx_porting.ledger.states import AlertAction, AlertStatus
from telnyx_porting.ledger.tables import alerts, channels, findings
from telnyx_porting.settings.values import LOW

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from telnyx_porting.flows.account import Account
    from telnyx_porting.settings import Settings

Rows = list[dict[str, Any]]
AT_ONCE = 100  # findings per message
MOST_AT_FIRST = 5_000
_WRITTEN_AT_ONCE = 500  # findings marked in one transaction
LEASE = timedelta(minutes=5)  # after that a claimed message counts as left behind by a crash
BACK_OFF = timedelta(minutes=1)
BACK_OFF_MOST = timedelta(minutes=15)
BACK_OFF_SHORT = timedelta(hours=1)  # of a finding that was refused even without its details
SENT_BY_ITSELF = timedelta(seconds=5)  # by then the run that queued a message has sent it, if it was due at once
TOLD_WITHIN = timedelta(minutes=10)  # what is due for longer is left to the schedule


@dataclass
class Batch:
    """One claimed message."""

    dedup_key: str
    action: str
    rows: Rows = field(default_factory=list)
    id: str | None = None  # of the rows in flight; a digest has none
    slot: datetime | None = None  # of a digest
    shown: int = 0  # of a digest: most lines of a kind
    again: bool = False  # an earlier try may have arrived: its dedup key stays, whatever happens to this one

    @property
    def is_short(self) -> bool:
        """Whether it says only that there is something: more was refused."""
        return bool(self.rows) and self.rows[0]["at_most"] == 0

    @property
    def is_first_look(self) -> bool:
        """Whether this is what was wrong when the watch began."""
        return self.action == AlertAction.FIRING and bool(self.rows) and self.rows[0]["group_key"] == FIRST_LOOK

    def message(self, account: Account, entries: Iterable[dict[str, Any]], text: str, at: datetime) -> Message:
        """Return what is sent."""
        url = "" if self.is_short else links.console(account.settings.console_url, account.id)
        zone = account.settings.business_zone
        return Message(account.id, self.action, tuple(entries), self.dedup_key, text, at, url, zone)


def due_now(connection: Connection, account: str, settings: Settings, now: datetime) -> bool:
    """Whether a message that a channel would take was not sent at its time; a digest waits for the schedule."""
    names = [] if settings.problems else [channel.name for channel in channels_of(settings)]
    paused = select(channels.c.name).where(channels.c.account == account, channels.c.paused_until > now)
    waits = select(alerts.c.key).where(
        alerts.c.account == account,
        alerts.c.next_at > now - TOLD_WITHIN,
        alerts.c.next_at <= now - SENT_BY_ITSELF,
        alerts.c.group_key != DIGEST,
        alerts.c.channel.in_(names),
        alerts.c.channel.not_in(paused),
    )
    return bool(names) and connection.execute(waits.limit(1)).first() is not None


def claim(account: Account, channel: Channel, now: datetime) -> Batch | None:
    """Take the next due message of a channel, and commit that before anything is sent."""
    mine = (alerts.c.account == account.id, alerts.c.channel == channel.name, alerts.c.group_key != DIGEST)
    due = and_(*mine, alerts.c.next_at.is_not(None), alerts.c.next_at <= now)
    with account.ledger.write(f"findings:{account.id}") as connection:
        if _is_paused(get_channel(connection, account.id, channel.name), now):
            return None
        query = select(alerts).where(due).order_by(alerts.c.next_at).limit(1)
        first = connection.execute(query).mappings().one_or_none()
        if first is None:
            return None
        action = first["action"]
        again = first["batch"] is not None and first["batch"].startswith(f"{action}:")
        if again:  # left behind by a crash, or nobody knows whether it arrived
            members, batch = alerts.c.batch == first["batch"], first["batch"]
        else:
            other = or_(alerts.c.batch.is_(None), alerts.c.batch.not_like(f"{action}:%"))
            alike = alerts.c.at_most.is_not_distinct_from(first["at_most"])
            members = and_(alerts.c.group_key == first["group_key"], other, alike)
            batch = f"{action}:{uuid.uuid4()}"
        query = (
            select(alerts).where(due, members, alerts.c.action == action).order_by(alerts.c.key, alerts.c.occurrence)
        )
        taken = [dict(row) for row in connection.execute(query.limit(_size(channel, first))).mappings()]
        update_rows(connection, account.id, channel.name, taken, batch=batch, next_at=now + LEASE)
    return Batch(batch.partition(":")[2], action, taken, batch, again=again)


def claim_end_of_first_look(account: Account, channel: Channel, now: datetime) -> Batch | None:
    """Return the end of PagerDuty's incident of the first look, once nothing that it told is true any more.

    Nothing is committed: sent twice, it ends the same incident.
    """
    with account.ledger.read() as connection:
        met = get_channel(connection, account.id, channel.name)
        if met is None or met["incident"] is None or _is_paused(met, now):
            return None
        same = and_(
            alerts.c.account == findings.c.account,
            alerts.c.key == findings.c.key,
            alerts.c.occurrence == findings.c.occurrence,
        )
        still = (
            select(findings.c.key)
            .join(alerts, same)
            .where(findings.c.account == account.id, findings.c.resolved_at.is_(None), alerts.c.channel == channel.name)
            .where(findings.c.opened_at <= met["first_look_at"])
        )
        if connection.execute(still.limit(1)).first() is not None:
            return None
    return Batch(met["incident"], AlertAction.RESOLVED)


def _is_paused(met: RowMapping | None, now: datetime) -> bool:
    """Whether a channel failed a moment ago."""
    return met is not None and met["paused_until"] is not None and met["paused_until"] > now


def _size(channel: Channel, first: RowMapping) -> int:
    if first["at_most"] is not None:
        return max(int(first["at_most"]), 1)
    if first["group_key"] == FIRST_LOOK:
        return MOST_AT_FIRST  # everything that is wrong now is one message
    return 1 if channel.kind == "pagerduty" else AT_ONCE


def release(account: Account, channel: Channel, batch: Batch, rows: Rows, at: datetime) -> None:
    """Put some rows of a batch back: what they would say is not true any more, or not yet known."""
    with account.ledger.write(f"findings:{account.id}") as connection:
        kept = batch.id if batch.again else None
        update_rows(connection, account.id, channel.name, rows, alerts.c.batch == batch.id, batch=kept, next_at=at)
    batch.rows = [row for row in batch.rows if row not in rows]


def divide(account: Account, channel: Channel, batch: Batch, now: datetime, by: float = 2) -> bool:
    """Put the findings of a message back, so that fewer go out in each; a single one goes without its details.

    A digest is given back, to be composed anew.

    :return: False when it is as small as can be.
    """
    if batch.shown:
        with account.ledger.write(f"findings:{account.id}") as connection:
            touch_channel(account.ledger, connection, account.id, channel.name, digest_paused_until=None)
        return True
    if batch.id is None or batch.is_short:
        return False
    count = len(batch.rows)
    fewer = 0 if count == 1 else max(1, int(count / max(by, 2)))
    if channel.kind == "pagerduty":
        fewer = min(fewer, 1)  # of several incidents of the first look only the last would end
    with account.ledger.write(f"findings:{account.id}") as connection:
        back = {"batch": None, "next_at": now, "at_most": fewer}
        update_rows(connection, account.id, channel.name, batch.rows, alerts.c.batch == batch.id, **back)
    return True


def mark(account: Account, channel: Channel, batch: Batch, now: datetime) -> bool:
    """Write down that a message went out, in short transactions; what changed meanwhile stays queued.

    What a crash leaves unmarked is said once more under the same dedup key.

    :return: whether the channel had failed before.
    """
    parts = list(chunks(batch.rows, _WRITTEN_AT_ONCE)) or [[]]
    for number, part in enumerate(parts, start=1):
        fares: dict[str, Any] = {}
        opens = batch.is_first_look and len(batch.rows) > 1  # a single finding has an incident of its own
        if channel.kind == "pagerduty" and number == 1 and (opens or not batch.rows):
            fares["incident"] = batch.dedup_key if opens else None
        if number == len(parts):
            fares |= {"error": None, "failures": 0, "paused_until": None}
            if batch.slot is not None:
                fares |= {"digest_at": batch.slot, "digest_paused_until": None}
        with account.ledger.write(f"findings:{account.id}") as connection:
            _mark(connection, account, channel, batch, part, now)
            met = get_channel(connection, account.id, channel.name)
            if fares:
                touch_channel(account.ledger, connection, account.id, channel.name, **fares)
        account.ledger.breathe()
    return met is not None and met["error"] is not None


def _mark(connection: Connection, account: Account, channel: Channel, batch: Batch, rows: Rows, now: datetime) -> None:
    policy = Policy(account.settings, now)
    query = select(findings.c.key, findings.c.severity).where(findings.c.account == account.id)
    found = rows_by(connection, query, findings.c.key, (row["key"] for row in rows))
    alike: dict[tuple[Any, ...], Rows] = {}
    for row in rows:
        over = row["action"] == AlertAction.RESOLVED
        severity = found[row["key"]]["severity"] if row["key"] in found else LOW
        reminder = None if over else policy.reminder(channel, severity)
        alike.setdefault((row["revision"], over, reminder), []).append(row)
    for (revision, over, reminder), these in alike.items():
        said = {"batch": None, "sent_at": now, "sends": alerts.c.sends + 1, "error": None, "told": revision}
        status = AlertStatus.RESOLVED if over else AlertStatus.SENT
        after = {"status": status, "action": AlertAction.REMINDER, "next_at": reminder, "at_most": None}
        flight = alerts.c.batch.is_not_distinct_from(batch.id)
        same = or_(*(alerts.c.action == action for action in {row["action"] for row in these}))
        update_rows(connection, account.id, channel.name, these, flight, ~same, **said)
        update_rows(connection, account.id, channel.name, these, flight, same, **said, **after)


def revision(row: Mapping[str, Any], finding: Mapping[str, Any] | None) -> int | None:
    """Return which revision of a finding a message tells; of an earlier occurrence what was told before."""
    is_current = finding is not None and finding["occurrence"] == row["occurrence"]
    told: int | None = finding["revision"] if finding is not None and is_current else row["told"]
    return told


def failed(account: Account, channel: Channel, batch: Batch, now: datetime, reason: str, error: ChannelError) -> None:
    """Keep the message for a later try; under the same dedup key, unless it certainly reached nobody."""
    with account.ledger.write(f"findings:{account.id}") as connection:
        met = get_channel(connection, account.id, channel.name)
        failures = (met["failures"] if met else 0) + 1
        pause = BACK_OFF_MOST if error.refused else min(BACK_OFF * 2 ** min(failures - 1, 10), BACK_OFF_MOST)
        fares: dict[str, Any] = {"error": reason, "failures": failures, "paused_until": now + pause}
        if batch.slot is not None:
            fares["digest_paused_until"] = now + pause
        touch_channel(account.ledger, connection, account.id, channel.name, **fares)
        if batch.is_short and error.not_sent:
            pause = BACK_OFF_SHORT
        if batch.id is not None:
            kept = {"next_at": now + pause, "error": reason}
            kept |= {"batch": None} if error.not_sent and not batch.again else {}
            update_rows(connection, account.id, channel.name, batch.rows, alerts.c.batch == batch.id, **kept)
