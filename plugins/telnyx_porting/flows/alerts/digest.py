"""The daily digest: what is open by age, what was missed and recovered, and how complete it all is."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, func, select

from telnyx_porting.flows.alerts.bodies import too_large
from telnyx_porting.flows.alerts.channels import Channel, Message, get_channel, touch_channel
from telnyx_porting.flows.alerts.dispatch import LEASE, Batch, mark, revision
from telnyx_porting.flows.alerts.facts import gather
from telnyx_porting.flows.alerts.outbox import may_say, open_rows
from telnyx_porting.flows.alerts.policy import DIGEST, Policy
from telnyx_porting.flows.alerts.text import entry, render, sentence
from telnyx_porting.flows.clock import complete_to
from telnyx_porting.flows.findings import wording as words
from telnyx_porting.flows.findings.reconcile import rows_of
from telnyx_porting.ledger.bulk import rows_by
from telnyx_porting.ledger.states import AlertAction
from telnyx_porting.ledger.tables import alerts, events, orders, republishes, windows
from telnyx_porting.models.keys import LOA_UPDATED, SHARING_TOKEN_EXPIRED
from telnyx_porting.settings.values import SEVERITIES, rank

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from telnyx_porting.flows.account import Account
    from telnyx_porting.settings import Settings

SHOWN = 40  # lines of a kind
FEWER = 4  # times fewer where they are more than a channel takes; at last it is counts alone
DRAFTS_LIVE = timedelta(days=30)  # then Telnyx deletes a draft that was not submitted


def claim_digest(account: Account, channel: Channel, now: datetime, shown: int) -> tuple[Batch, Message] | None:
    """Take the digest of a channel when it is due, and compose it.

    Like any message it is claimed before it is sent: a crash ends in one repeat under the same dedup key.

    :param shown: most lines of a kind; fewer, where they are more than the channel takes.
    """
    if not channel.has_digest(account.settings):
        return None
    policy = Policy(account.settings, now)
    with account.ledger.write(f"findings:{account.id}") as connection:
        met = get_channel(connection, account.id, channel.name)
        if met is None or met["digest_at"] is None:  # the first one comes at its time, not at first contact
            touch_channel(account.ledger, connection, account.id, channel.name, digest_at=now)
            return None
        slot = policy.digest_after(met["digest_at"])
        if now < slot or (met["digest_paused_until"] is not None and now < met["digest_paused_until"]):
            return None
        while (later := policy.digest_after(slot)) <= now:
            slot = later  # after a long pause one digest is enough
        touch_channel(account.ledger, connection, account.id, channel.name, digest_paused_until=now + LEASE)
        query = select(alerts).where(
            alerts.c.account == account.id,
            alerts.c.channel == channel.name,
            alerts.c.group_key == DIGEST,
            alerts.c.next_at.is_not(None),
        )
        rows = [dict(row) for row in connection.execute(query).mappings()]
    with account.ledger.read() as connection:
        found = rows_of(connection, account.id, [row["key"] for row in rows])
    for row in rows:
        row["revision"] = revision(row, found.get(row["key"]))
    batch = Batch(f"{DIGEST}:{account.id}:{channel.name}:{slot.isoformat()}", DIGEST, rows, slot=slot, shown=shown)
    over = [row for row in rows if row["action"] == AlertAction.RESOLVED]
    while True:
        with account.ledger.read() as connection:
            said = _compose(connection, account, channel, now, met["digest_at"], over, batch.shown)
        if said is None:
            mark(account, channel, batch, now)
            return None
        text, entries = said
        message = batch.message(account, entries, text, now)
        if not batch.shown or too_large(channel, message) <= 1:
            return batch, message
        batch.shown //= FEWER


def _compose(
    connection: Connection,
    account: Account,
    channel: Channel,
    now: datetime,
    since: datetime,
    over: Sequence[Mapping[str, Any]],
    shown: int,
) -> tuple[str, list[dict[str, Any]]] | None:
    """Compose the digest for one channel: what its filter takes, and each trouble under one name; None: nothing to say.

    :param since: how far back what happened is told.
    :param over: outbox rows that wait to say that something low is over.
    :param shown: most lines of a kind; what is more is counted.
    """
    name, settings = account.id, account.settings
    is_open = open_rows(connection, name)
    severities = {key: row["severity"] for key, row in is_open.items()}
    rows = [row for row in is_open.values() if may_say(channel, name, row, severities, now)]
    active = [row for row in rows if not row["detail"].get("dormant")]
    dormant = sorted({row["order_id"] for row in rows if row["detail"].get("dormant") and row["order_id"]})
    active.sort(key=lambda row: (rank(row["severity"]), row["since"], row["key"]))
    keys = [row["key"] for row in (*active[:shown], *over[:shown])]
    facts = gather(connection, name, settings, now, keys)
    everything = channel.takes_everything(name)
    loa = _loa_expired(connection, name, settings, since, shown) if everything else []
    drafts = _drafts(connection, name, settings, now, shown) if everything else []
    missed, sent, recovered = _notifications(connection, name, since) if everything else (0, 0, 0)
    covered = complete_to(connection, name)
    if not (rows or over or loa or drafts or missed or sent):
        return None
    text = render(
        AlertAction.DIGEST,
        settings.alert_templates,
        account=name,
        today=words.day(now, now, settings.business_zone),
        open=len(active),
        counts=_counts(active),
        dormant=_labels(connection, name, settings, dormant, shown),
        dormant_days=settings.dormant_after_days,
        complete=words.moment(covered, now, settings.business_zone) if covered else "",
        open_windows=_open_windows(connection, name, since),
        missed=missed,
        sent=sent,
        recovered=recovered,
        lines=[f"{row['severity']}: {sentence(row, DIGEST, facts, leads=False)}" for row in active[:shown]],
        more=max(len(active) - shown, 0),
        over=[
            sentence(facts.findings[row["key"]], AlertAction.RESOLVED, facts, leads=False)
            for row in over[:shown]
            if row["key"] in facts.findings
        ],
        over_more=max(len(over) - shown, 0),
        loa=loa,
        drafts=drafts,
    )
    return text.strip(), [entry(row, row["occurrence"], DIGEST, facts) for row in active[:shown]]


def _counts(rows: Sequence[Mapping[str, Any]]) -> str:
    found = Counter(row["severity"] for row in rows)
    return ", ".join(f"{found[name]} {name}" for name in SEVERITIES if name in found)


def _notifications(connection: Connection, account: str, since: datetime) -> tuple[int, int, int]:
    """Return how many notifications are missed now, and since then were sent again, and arrived by it."""
    settled = (republishes.c.account == account, republishes.c.sent_at >= since)
    query = select(republishes.c.state, func.count()).where(*settled).group_by(republishes.c.state)
    states = {row[0]: row[1] for row in connection.execute(query)}
    missed = select(func.count()).where(events.c.account == account, events.c.delivery == "missed")
    return int(connection.execute(missed).scalar_one()), sum(states.values()), int(states.get("arrived", 0))


def _open_windows(connection: Connection, account: str, since: datetime) -> int:
    query = select(func.count()).where(
        windows.c.account == account, windows.c.until >= since, windows.c.sealed_at.is_(None)
    )
    return int(connection.execute(query).scalar_one())


def _loa_expired(connection: Connection, account: str, settings: Settings, since: datetime, shown: int) -> list[str]:
    """Return the orders whose link for signing expired and that got no new letter since."""
    query = select(events.c.order_id, events.c.type).where(
        events.c.account == account,
        events.c.created_at >= since,
        events.c.type.in_((SHARING_TOKEN_EXPIRED, LOA_UPDATED)),
    )
    last = {row.order_id: row.type for row in connection.execute(query.order_by(events.c.created_at)) if row.order_id}
    ids = [order_id for order_id, kind in last.items() if kind == SHARING_TOKEN_EXPIRED]
    return _labels(connection, account, settings, ids, shown)


def _drafts(connection: Connection, account: str, settings: Settings, now: datetime, shown: int) -> list[str]:
    query = select(orders.c.id).where(
        orders.c.account == account,
        orders.c.status == "draft",
        orders.c.created_at <= now - timedelta(days=settings.draft_warn_days),
        orders.c.created_at > now - DRAFTS_LIVE,
    )
    return _labels(connection, account, settings, connection.scalars(query).all(), shown)


def _labels(connection: Connection, account: str, settings: Settings, ids: Sequence[str], shown: int) -> list[str]:
    known = rows_by(connection, select(orders).where(orders.c.account == account), orders.c.id, ids[:shown])
    said = [words.label(order_id, known.get(order_id), settings.alert_details) for order_id in ids[:shown]]
    return said + ([f"{len(ids) - shown} more"] if len(ids) > shown else [])
