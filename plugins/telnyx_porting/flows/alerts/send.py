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

from telnyx_porting import links
from telnyx_porting.errors import LedgerError
from telnyx_porting.escaping import one_line
from telnyx_porting.failpoints import failpoint
from telnyx_porting.flows.alerts.bodies import too_large
from telnyx_porting.flows.alerts.channels import Channel, ChannelError, Message, channels_of
from telnyx_porting.flows.alerts.digest import SHOWN, claim_digest, fewer
from telnyx_porting.flows.alerts.dispatch import (
    Batch,
    claim,
    claim_end_of_first_look,
    divide,
    failed,
    mark,
    release,
)
from telnyx_porting.flows.alerts.facts import gather
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.text import entry, headline
from telnyx_porting.flows.findings.health import clear, health
from telnyx_porting.flows.findings.kinds import KINDS
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.ledger.states import AlertAction
from telnyx_porting.ledger.tables import alerts, findings, orders

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.alerts.facts import Facts

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
    messages = told = 0
    not_taken = []
    wordless: dict[str, str] = {}
    for channel in channels_of(account.settings):
        try:
            for number in _tell(account, channel, send, moment, wordless):
                messages, told = messages + 1, told + number
        except (LedgerError, DatabaseError):
            raise
        except _NotTaken:
            not_taken.append(channel.name)
        except Exception as error:  # a message that cannot be composed; the other channels get theirs
            log.exception("channel %s of %s", channel.name, account.id)
            wordless[f"channel {channel.name}"] = type(error).__name__
            not_taken.append(channel.name)
    _say_wordless(account, wordless, any_told=told > 0)
    return AlertsResult(account.id, messages, told, tuple(not_taken))


class _NotTaken(Exception):
    """A channel did not take a message, and that is written down."""


def _tell(
    account: Account, channel: Channel, send: Send, moment: Callable[[], datetime], wordless: dict[str, str]
) -> Iterator[int]:
    """Send to one channel what is due; yield how many findings each message was about."""
    for batch, message in _due(account, channel, moment, wordless):
        failpoint("alerts.claimed")
        try:
            send(channel, message)
        except Exception as error:  # whatever a channel does, the others get theirs
            known = error if isinstance(error, ChannelError) else ChannelError("")
            smaller = known.unfit and divide(account, channel, batch, moment())
            if smaller and (known.too_large or batch.slot is not None):
                continue
            _failed(account, channel, batch, moment(), error)
            raise _NotTaken from error
        failpoint("alerts.sent")
        if mark(account, channel, batch, moment()):
            clear(account, f"channel:{channel.name}")
        failpoint("alerts.marked")
        yield len(message.findings)


def _say_wordless(account: Account, wordless: dict[str, str], *, any_told: bool) -> None:
    """Say that words could not be made; it is over when a round has told something, and had words for all of it."""
    if wordless:
        first = min(wordless)
        text = f"what to say of {one_line(first)} could not be put into words ({wordless[first]})"
        health(account, "wording", text)
    elif any_told:
        clear(account, "wording")


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
        ids = list(connection.execute(query).scalars())
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
) -> Iterator[tuple[Batch, Message]]:
    while (batch := claim(account, channel, moment())) is not None:
        message = _render(account, channel, batch, moment(), wordless)
        if message is None:
            continue
        if (times := too_large(channel, message)) > 1 and divide(account, channel, batch, moment(), times):
            continue
        yield batch, message
    over = claim_end_of_first_look(account, channel, moment())
    if over is not None:
        text = f"What was wrong on {account.id} when the watch began is over."
        yield over, Message(account.id, over.action, (), over.dedup_key, text, moment())
    shown = SHOWN
    while (digest := claim_digest(account, channel, moment(), shown)) is not None:
        yield digest
        shown = fewer(digest[0].shown)  # it was refused: what is taken is not due any more


def _render(
    account: Account, channel: Channel, batch: Batch, now: datetime, wordless: dict[str, str]
) -> Message | None:
    with account.ledger.read() as connection:
        facts = gather(connection, account.id, account.settings, now, [row["key"] for row in batch.rows])
    waits = [] if batch.action == AlertAction.RESOLVED else [row for row in batch.rows if _moved_on(facts, row)]
    if waits:
        again = now + max(account.settings.resolve_hold, LOOK_AGAIN)
        release(account, channel, batch, waits, again)
    entries = []
    for row in batch.rows:
        finding = facts.findings[row["key"]]
        row["revision"] = finding["revision"] if finding["occurrence"] == row["occurrence"] else row["told"]
        entries.append(entry(finding, row["occurrence"], batch.action, facts, short=batch.is_short))
    wordless |= facts.failed
    if not entries:
        return None
    text = headline(account.id, batch.action, entries, account.settings.alert_templates, batch.is_first_look)
    url = "" if batch.is_short else links.console(account.settings.console_url, account.id)
    return Message(
        account.id, batch.action, tuple(entries), batch.dedup_key, text, now, url, account.settings.business_zone
    )


def _moved_on(facts: Facts, row: dict[str, Any]) -> bool:
    """Whether the finding is not true at the moment, though not yet resolved."""
    finding = facts.findings[row["key"]]
    return finding["occurrence"] == row["occurrence"] and finding["absent_since"] is not None


def _failed(account: Account, channel: Channel, batch: Batch, now: datetime, error: Exception) -> None:
    reason = one_line(f"{type(error).__name__}: {error}", 300)
    log.warning("channel %s took no message: %s", channel.name, reason)
    known = error if isinstance(error, ChannelError) else ChannelError("")
    failed(account, channel, batch, now, reason, not_sent=known.not_sent, refused=known.refused)
    text = f"alert channel {channel.name} takes no messages: {reason}"
    health(account, f"channel:{channel.name}", text)
