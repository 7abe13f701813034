"""Send what is due: look once more at the orders, claim one message, render it, send it, mark it.

What is said is rendered at the last moment from what is true then; what is not true any more is not said.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, or_, select
from sqlalchemy.exc import DatabaseError

from telnyx_porting.errors import LedgerError
from telnyx_porting.escaping import one_line
from telnyx_porting.failpoints import failpoint
from telnyx_porting.flows.alerts import dispatch
from telnyx_porting.flows.alerts.bodies import too_large
from telnyx_porting.flows.alerts.channels import Channel, ChannelError, Message, channels_of
from telnyx_porting.flows.alerts.digest import FEWER, SHOWN, claim_digest
from telnyx_porting.flows.alerts.facts import Facts, gather
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.text import entry, headline
from telnyx_porting.flows.findings.health import clear, health
from telnyx_porting.flows.findings.kinds import KINDS
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.ledger.states import AlertAction
from telnyx_porting.ledger.tables import alerts, findings, orders

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account

log = logging.getLogger(__name__)
Send = Callable[[Channel, Message], None]
ReadOrders = Callable[[Sequence[str]], None]
JUST_READ = timedelta(seconds=60)  # an order read so recently is not read again before its alert leaves
LOOK_AGAIN = timedelta(minutes=1)


@dataclass(frozen=True)
class AlertsResult:
    """What one round of sending did; counts only."""

    account: str
    messages: int = 0
    findings: int = 0
    failed: tuple[str, ...] = ()  # channels that did not take a message


def send_due(account: Account, send: Send, read_orders: ReadOrders | None = None) -> AlertsResult:
    """Send every message that is due.

    :param send: delivers one message to one channel, or raises; a channel that raised waits and stops no other.
    :param read_orders: reads orders again before anything is said about them; without it, what is known is said.
    """
    now = account.clock()
    started = time.monotonic()

    def moment() -> datetime:
        return now + timedelta(seconds=time.monotonic() - started)

    if not account.settings.alert_channels:
        log.info("no alert channel is configured for %s: findings are kept, nobody is told", account.id)
        return AlertsResult(account.id)
    enqueue(account, now)
    if read_orders is not None:
        _look_again(account, now, read_orders)
    told: list[int] = []  # findings of each message
    not_taken = []
    wordless: dict[str, str] = {}
    for channel in channels_of(account.settings):
        try:
            is_taken = _tell(account, channel, send, moment, told, wordless)
        except (LedgerError, DatabaseError):
            raise
        except Exception as error:  # a message that cannot be composed; the other channels get theirs
            log.exception("channel %s of %s", channel.name, account.id)
            wordless[f"channel {channel.name}"] = type(error).__name__
            is_taken = False
        not_taken += [] if is_taken else [channel.name]
    if wordless:
        first = min(wordless)
        health(account, "wording", f"what to say of {one_line(first)} could not be put into words ({wordless[first]})")
    elif sum(told):  # and there were words for all of it
        clear(account, "wording")
    return AlertsResult(account.id, len(told), sum(told), tuple(not_taken))


def _tell(
    account: Account,
    channel: Channel,
    send: Send,
    moment: Callable[[], datetime],
    told: list[int],
    wordless: dict[str, str],
) -> bool:
    """Send to one channel what is due, as long as it takes it."""
    for batch, message in _due(account, channel, moment, wordless):
        failpoint("alerts.claimed")
        try:
            send(channel, message)
        except Exception as error:  # whatever a channel does, the others get theirs
            known = error if isinstance(error, ChannelError) else ChannelError("")
            smaller = known.unfit and dispatch.divide(account, channel, batch, moment())
            if smaller and (known.too_large or batch.slot is not None):
                continue
            reason = one_line(f"{type(error).__name__}: {error}", 300)
            log.warning("channel %s took no message: %s", channel.name, reason)
            dispatch.failed(account, channel, batch, moment(), reason, known)
            health(account, f"channel:{channel.name}", f"alert channel {channel.name} takes no messages: {reason}")
            return False
        failpoint("alerts.sent")
        if dispatch.mark(account, channel, batch, moment()):
            clear(account, f"channel:{channel.name}")
        failpoint("alerts.marked")
        told.append(len(message.findings))
    return True


def _look_again(account: Account, now: datetime, read_orders: ReadOrders) -> None:
    """Read the orders of what is about to be said: if they moved on, nothing is said."""
    query = (
        select(findings.c.order_id)
        .join(alerts, and_(alerts.c.account == findings.c.account, alerts.c.key == findings.c.key))
        .join(orders, and_(orders.c.account == findings.c.account, orders.c.id == findings.c.order_id))
        .where(
            findings.c.account == account.id,
            alerts.c.next_at <= now,
            alerts.c.action != AlertAction.RESOLVED,
            findings.c.kind.not_in([kind.name for kind in KINDS if not kind.order_decides]),
            or_(orders.c.api_read_at.is_(None), orders.c.api_read_at < now - JUST_READ),
        )
        .distinct()
    )
    with account.ledger.read() as connection:
        ids = connection.scalars(query).all()
    if not ids:
        return
    try:
        read_orders(ids)
    except Exception as error:  # silence would be worse than a word too many
        log.warning(
            "the orders of %s could not be read again before their alerts: %s", account.id, type(error).__name__
        )
        return
    reconcile(account, enqueue)


def _due(
    account: Account, channel: Channel, moment: Callable[[], datetime], wordless: dict[str, str]
) -> Iterator[tuple[dispatch.Batch, Message]]:
    while (batch := dispatch.claim(account, channel, moment())) is not None:
        message = _render(account, channel, batch, moment(), wordless)
        if message is None:
            continue
        if (times := too_large(channel, message)) > 1 and dispatch.divide(account, channel, batch, moment(), times):
            continue
        yield batch, message
    over = dispatch.claim_end_of_first_look(account, channel, moment())
    if over is not None:
        yield over, over.message(account, (), f"What was wrong on {account.id} when the watch began is over.", moment())
    shown = SHOWN
    while (digest := claim_digest(account, channel, moment(), shown)) is not None:
        yield digest
        shown = digest[0].shown // FEWER  # it was refused: what is taken is not due any more


def _render(
    account: Account, channel: Channel, batch: dispatch.Batch, now: datetime, wordless: dict[str, str]
) -> Message | None:
    with account.ledger.read() as connection:
        facts = gather(connection, account.id, account.settings, now, [row["key"] for row in batch.rows])
    waits = [] if batch.action == AlertAction.RESOLVED else [row for row in batch.rows if _moved_on(facts, row)]
    if waits:
        again = now + max(account.settings.resolve_hold, LOOK_AGAIN)
        dispatch.release(account, channel, batch, waits, again)
    entries = []
    for row in batch.rows:
        finding = facts.findings[row["key"]]
        row["revision"] = dispatch.revision(row, finding)
        entries.append(entry(finding, row["occurrence"], batch.action, facts, short=batch.is_short))
    wordless |= facts.failed
    if not entries:
        return None
    text = headline(account.id, batch.action, entries, account.settings.alert_templates, batch.is_first_look)
    return batch.message(account, entries, text, now)


def _moved_on(facts: Facts, row: dict[str, Any]) -> bool:
    """Whether the finding is not true at the moment, though not yet resolved."""
    finding = facts.findings[row["key"]]
    return finding["occurrence"] == row["occurrence"] and finding["absent_since"] is not None
