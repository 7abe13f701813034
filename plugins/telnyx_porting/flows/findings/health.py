"""Health findings: what is wrong with the watch itself. Whoever notices opens them, and clears them when it is over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from telnyx_porting.flows.clock import (
    RECEIVERS,
    clock_differs,
    clock_trouble,
    keep_offset,
    kept_offset,
    read_clocks,
    receiver_differs,
)
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.findings.kind import HEALTH, Seen
from telnyx_porting.flows.findings.reconcile import open_or_update, rows_of, write_rows
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import findings
from telnyx_porting.settings.values import CRITICAL, HIGH

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from telnyx_porting.flows.account import Account


def health(account: Account, subject: str, detail: str | Mapping[str, Any], severity: str = HIGH) -> None:
    """Say that something about the watch is wrong; saying it again changes nothing.

    :param subject: what is wrong, as a short stable word such as ``key_refused``; one finding per subject. Whose step
        it is says `kinds/health.py`.
    :param detail: one sentence for people, or a mapping with that sentence as ``text``. No secrets, no customer data.
    :param severity: critical, high or low.
    """
    now = account.clock()
    told = {"text": detail} if isinstance(detail, str) else dict(detail)
    item = Seen(HEALTH, subject, None, severity, now, told)
    with account.ledger.write(f"findings:{account.id}") as connection:
        known = next(iter(rows_of(connection, account.id, [item.key]).values()), None)  # a long key is kept shortened
        if (move := open_or_update(account.id, item, known, now)) is not None:
            write_rows(account, connection, [move[0]])


def clear(account: Account, subject: str) -> None:
    """Say that it is over; the finding resolves after the hold time, unless it comes back."""
    is_open = (
        findings.c.account == account.id,
        findings.c.key == f"{HEALTH}:{subject}",
        findings.c.resolved_at.is_(None),
        findings.c.absent_since.is_(None),
    )
    with account.ledger.read() as connection:  # nearly always there is nothing to clear, and nobody has to wait
        if connection.execute(select(findings.c.key).where(*is_open)).first() is None:
            return
    with account.ledger.write() as connection:
        connection.execute(update(findings).where(*is_open).values(absent_since=account.clock()))


def tell(account: Account, subject: str, trouble: str | None, severity: str = HIGH) -> None:
    """Say what is wrong, as :func:`health`, or with nothing to say that it is over."""
    if trouble:
        health(account, subject, trouble, severity)
    else:
        clear(account, subject)


def watch_clock(account: Account, offset: timedelta | None) -> None:
    """Keep how far Telnyx's clock is from ours, and say when ours or the receiver's is wrong.

    :param offset: Telnyx's clock minus ours; None: nothing was heard of Telnyx.
    """
    now = account.clock()
    if offset is not None:
        keep_offset(account, offset)
    with account.ledger.read() as connection:
        receiver = get_feed(connection, account.id, Feed.RECEIVER)
        clocks = read_clocks(connection, account.id)
    theirs = clock_trouble(kept_offset(receiver), RECEIVERS) if receiver and receiver["refused"] else None
    if grave := [text for text in (clock_trouble(offset), theirs) if text]:
        health(account, "clock_skew", "; ".join(grave), CRITICAL)
    elif slight := [text for text in (clock_differs(offset), receiver_differs(receiver, clocks, now)) if text]:
        health(account, "clock_skew", "; ".join(slight), HIGH)
    elif offset is not None:
        clear(account, "clock_skew")
