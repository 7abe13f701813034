"""The outbox: one row per finding, occurrence and channel, and when it has something to say.

:func:`enqueue` is level-triggered like the findings themselves: it compares what each channel was told with what is
true now, after every look at the findings and before every send. It decides in a snapshot which rows are concerned, and
once more about a few hundred of them at a time as it writes: a sender or a person may have changed them meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, func, select, tuple_, update

from telnyx_porting.flows.account import Account, watched_since
from telnyx_porting.flows.alerts.channels import Channel, channels_of, get_channel, touch_channel
from telnyx_porting.flows.alerts.policy import DIGEST, Policy
from telnyx_porting.flows.clock import complete_to
from telnyx_porting.flows.findings.kind import HEALTH
from telnyx_porting.flows.findings.kinds import kind_of
from telnyx_porting.ledger.bulk import chunks
from telnyx_porting.ledger.predicates import alert_is_live
from telnyx_porting.ledger.states import AlertAction, AlertStatus
from telnyx_porting.ledger.tables import alerts, findings, orders
from telnyx_porting.settings.values import HIGH, LOW, SEVERITIES

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

FIRST_LOOK = "first look"
FIRST_LOOK_LASTS = timedelta(minutes=30)  # then we speak even when the first scan could not prove its window
_AT_ONCE = 500  # findings whose rows are written in one transaction
Row = dict[str, Any]
Move = tuple[Mapping[Any, Any], Row | None]  # a row, and what is written into it; None: it goes


@dataclass(frozen=True)
class _Outbox:
    """One channel's outbox, and everything a decision about it needs."""

    connection: Connection
    account: str
    channel: Channel
    policy: Policy
    open: dict[str, Row]  # open findings, by key
    keys: list[str] | None  # only these are looked at; None: all
    baseline_before: datetime | None
    ready: bool  # the first scan is done: what is wrong now is known
    known: bool  # the channel has been told what was wrong at first
    last: dict[str, datetime]
    severities: dict[str, str]  # of all open findings of the account
    came_back: set[str] = field(default_factory=set)  # over and true again before anybody was told

    @property
    def now(self) -> datetime:
        return self.policy.now

    def inhibited(self, finding: Mapping[Any, Any]) -> bool:
        return kind_of(finding["kind"], finding["subject"]).inhibited(finding, self.severities)

    def rows(self, *columns: Any) -> Select[Any]:
        """Select of the outbox; to be narrowed further."""
        mine = select(*columns).where(alerts.c.account == self.account, alerts.c.channel == self.channel.name)
        return mine if self.keys is None else mine.where(alerts.c.key.in_(self.keys))


def enqueue(account: Account, now: datetime) -> int:
    """Bring every channel's outbox in line with the findings, in short transactions.

    :return: how many rows wait to be sent.
    """
    for channel in channels_of(account.settings):
        with account.ledger.read() as connection:
            box = _open(connection, account, channel, now)
            moves = _follow(box)
            keys = {row["key"] for row in (*_add(box), *(row for row, _ in moves))}
        for part in chunks(sorted(keys), _AT_ONCE):
            with account.ledger.write(f"findings:{account.id}") as connection:
                found = open_rows(connection, account.id, part)
                _write(account.ledger, replace(box, connection=connection, open=found, keys=part, came_back=set()))
            account.ledger.breathe()
        if box.ready and not box.known:
            with account.ledger.write(f"findings:{account.id}") as connection:
                touch_channel(account.ledger, connection, account.id, channel.name, first_look_at=now)
    with account.ledger.read() as connection:
        waiting = select(func.count()).where(alerts.c.account == account.id, alerts.c.next_at.is_not(None))
        return int(connection.execute(waiting).scalar_one())


def _open(connection: Connection, account: Account, channel: Channel, now: datetime) -> _Outbox:
    """Look at a whole outbox."""
    settings = account.settings
    complete, watch_from = complete_to(connection, account.id), watched_since(connection, account.id)
    read = complete is not None and watch_from is not None and complete >= watch_from - settings.overlap
    met = get_channel(connection, account.id, channel.name)
    is_open = open_rows(connection, account.id)
    return _Outbox(
        connection,
        account.id,
        channel,
        Policy(settings, now),
        is_open,
        None,
        baseline_before=watch_from - timedelta(days=settings.first_look_days) if watch_from else None,
        ready=watch_from is not None and (read or now - watch_from >= FIRST_LOOK_LASTS),
        known=met is not None and met["first_look_at"] is not None,
        last=_last_sent(connection, account.id, channel, now - settings.group_interval),
        severities={key: row["severity"] for key, row in is_open.items()},
    )


def _write(ledger: Ledger, box: _Outbox) -> None:
    connection, channel = box.connection, box.channel.name
    alike: dict[tuple[tuple[str, Any], ...] | None, list[Mapping[Any, Any]]] = {}
    for row, values in _follow(box):  # first, because it notices what came back: that is added without a further wait
        alike.setdefault(tuple(sorted(values.items())) if values else None, []).append(row)
    ledger.upsert(connection, alerts, _add(box))
    for batch in chunks(alike.pop(None, ()), 200):
        connection.execute(delete(alerts).where(*_these(box.account, channel, batch)))
    for same, rows in alike.items():
        update_rows(connection, box.account, channel, rows, **dict(same or ()))


def open_rows(connection: Connection, account: str, keys: Sequence[str] | None = None) -> dict[str, Row]:
    """Return the open findings by key, all or some of them, with the `customer_reference` of their orders."""
    about = and_(orders.c.account == findings.c.account, orders.c.id == findings.c.order_id)
    query = (
        select(findings, orders.c.customer_reference)
        .outerjoin(orders, about)
        .where(findings.c.account == account, findings.c.resolved_at.is_(None))
    )
    if keys is not None:
        query = query.where(findings.c.key.in_(keys))
    return {row["key"]: dict(row) for row in connection.execute(query).mappings()}


def _last_sent(connection: Connection, account: str, channel: Channel, since: datetime) -> dict[str, datetime]:
    """Return when each group, and each finding, was last spoken of, as far as that still matters."""
    recent = (alerts.c.account == account, alerts.c.channel == channel.name, alerts.c.sent_at > since)
    query = select(alerts.c.group_key, alerts.c.key, alerts.c.sent_at).where(*recent).order_by(alerts.c.sent_at)
    return {name: row.sent_at for row in connection.execute(query) for name in (row.group_key, row.key)}


# -- what a channel was never told -------------------------------------------------------------------------------------


def _add(box: _Outbox) -> list[Row]:
    """Return rows for what this channel was never told. At first contact everything goes out as one message."""
    told: set[tuple[str, int]] = set()
    for keys in chunks(box.open, 500):
        query = box.rows(alerts.c.key, alerts.c.occurrence).where(alerts.c.key.in_(keys))
        told |= {(row.key, row.occurrence) for row in box.connection.execute(query)}
    return [
        _first_row(box, finding)
        for finding in box.open.values()
        if (finding["key"], finding["occurrence"]) not in told
        and (box.ready or finding["kind"] == HEALTH)
        and may_say(box.channel, box.account, finding, box.severities, box.now)
    ]


def may_say(channel: Channel, account: str, finding: Row, severities: Mapping[str, str], now: datetime) -> bool:
    """Whether a channel is to hear of a finding: it wants to, nobody muted it, and no other says it all already."""
    is_muted = finding["muted_until"] is not None and finding["muted_until"] > now
    is_inhibited = kind_of(finding["kind"], finding["subject"]).inhibited(finding, severities)
    return channel.takes(account, finding) and not is_muted and not is_inhibited


def _first_row(box: _Outbox, finding: Row) -> Row:
    key, severity = finding["key"], finding["severity"]
    row = {"account": box.account, "key": key, "occurrence": finding["occurrence"], "channel": box.channel.name}
    row["action"] = AlertAction.FIRING
    if box.baseline_before is not None and finding["since"] < box.baseline_before:
        return row | {"status": AlertStatus.BASELINE, "group_key": FIRST_LOOK, "next_at": None}
    if box.ready and not box.known:
        return row | {"status": AlertStatus.QUEUED, "group_key": FIRST_LOOK, "next_at": box.now}
    group = box.policy.group(box.channel, finding["kind"], severity)
    next_at = box.policy.first(box.channel, group, severity, key, box.last, waited=key in box.came_back)
    return row | {"status": AlertStatus.QUEUED, "group_key": group, "next_at": next_at}


# -- what it was told, or is about to be -------------------------------------------------------------------------------


def _follow(box: _Outbox) -> list[Move]:
    """Return how the rows that are still of interest follow their finding."""
    moves: list[Move] = []
    for row in box.connection.execute(box.rows(alerts).where(alert_is_live(alerts))).mappings():
        finding = box.open.get(row["key"])
        if finding is None or finding["occurrence"] > row["occurrence"]:
            values = _over(box, row, finding)
        elif row["status"] == AlertStatus.QUEUED and row["batch"] is None and box.inhibited(finding):
            values = None  # never told: it is queued anew when its parent is over and it is still true
        else:
            values = _pending(box, row, finding)
        if values != {}:
            moves.append((row, values))
    return moves


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
        action = AlertAction.CHANGED if changed else AlertAction.FIRING
        return {"action": action, "group_key": group, "next_at": next_at}
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
    rows_alone = tuple_(alerts.c.key, alerts.c.occurrence).in_([(row["key"], row["occurrence"]) for row in rows])
    by_index = alerts.c.key.in_([row["key"] for row in rows])  # pairs alone would read the whole outbox
    return alerts.c.account == account, alerts.c.channel == channel, by_index, rows_alone
