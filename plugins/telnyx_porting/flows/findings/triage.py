"""What people do with a finding: acknowledge, mute, take, write down. All of it survives the next look."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, select, update

from telnyx_porting.errors import SettingsError
from telnyx_porting.escaping import LONG
from telnyx_porting.ledger.tables import findings
from telnyx_porting.settings.calendar import calendar_of

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account
    from telnyx_porting.ledger.engine import Ledger

MUTE_MOST = timedelta(days=14)
ACK_MOST = timedelta(days=90)


def acknowledge(account: Account, key: str, by: str, until: datetime | None = None) -> datetime:
    """Say that somebody knows: no reminder before `until`. A question, or a changed date, is answered by it.

    :param until: default the opening of the next working day; at most 90 days ahead.
    :return: until when.
    :raises SettingsError: no such open finding, or an impossible time.
    """
    now = account.clock()
    until = until or calendar_of(account.settings).next_working_day(now)
    if not now < until <= now + ACK_MOST:
        raise SettingsError("until", until.isoformat(), f"a time after now and within {ACK_MOST.days} days")
    with account.ledger.write() as connection:
        triage = _open(account.ledger, connection, account.id, key)["triage"] or {}
        _write(connection, account.id, key, acked_at=now, acked_until=until, triage=triage | {"acked_by": _short(by)})
    return until


def mute(account: Account, key: str, by: str, reason: str, until: datetime) -> None:
    """Say nothing about a subject until a time, however often it occurs.

    :param until: at most 14 days ahead.
    :raises SettingsError: no such open finding, no reason, or an impossible time.
    """
    now = account.clock()
    if not now < until <= now + MUTE_MOST:
        raise SettingsError("until", until.isoformat(), f"a time after now and within {MUTE_MOST.days} days")
    if not reason.strip():
        raise SettingsError("reason", reason, "why nobody needs to hear of it")
    with account.ledger.write() as connection:
        triage = _open(account.ledger, connection, account.id, key)["triage"] or {}
        said = {"muted_by": _short(by), "mute_reason": _short(reason)}
        _write(connection, account.id, key, muted_until=until, triage=triage | said)


def unmute(account: Account, key: str) -> None:
    """End a mute now.

    :raises SettingsError: no such open finding.
    """
    with account.ledger.write() as connection:
        _open(account.ledger, connection, account.id, key)
        _write(connection, account.id, key, muted_until=None)


def take(account: Account, key: str, owner: str | None) -> None:
    """Say whose it is; None: nobody's.

    :raises SettingsError: no such open finding.
    """
    with account.ledger.write() as connection:
        _open(account.ledger, connection, account.id, key)
        _write(connection, account.id, key, owner=_short(owner) if owner else None)


def write_note(account: Account, key: str, note: str | None) -> None:
    """Replace the note of a finding.

    :raises SettingsError: no such open finding.
    """
    with account.ledger.write() as connection:
        _open(account.ledger, connection, account.id, key)
        _write(connection, account.id, key, note=_short(note) if note else None)


def _open(ledger: Ledger, connection: Connection, account: str, key: str) -> dict[str, Any]:
    ledger.lock(connection, f"findings:{account}")
    query = select(findings).where(
        findings.c.account == account, findings.c.key == key, findings.c.resolved_at.is_(None)
    )
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise SettingsError("finding", key, f"the key of an open finding of {account}")
    return dict(row)


def _write(connection: Connection, account: str, key: str, **values: Any) -> None:
    mine = (findings.c.account == account, findings.c.key == key)
    connection.execute(update(findings).where(*mine).values(**values))


def _short(text: str) -> str:
    return text.strip()[:LONG]
