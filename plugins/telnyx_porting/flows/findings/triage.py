"""What people do with a finding: acknowledge, mute, take, write down. All of it survives the next look.

Who did what stays with the finding, the newest `KEPT` of it: ``triage["log"]`` is a list of ``[at, by, did, about]``.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select, update

from telnyx_porting.errors import SettingsError
from telnyx_porting.escaping import LONG
from telnyx_porting.ledger.tables import findings
from telnyx_porting.settings.calendar import calendar_of

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account

MUTE_MOST = timedelta(days=14)
ACK_MOST = timedelta(days=90)
KEPT = 50


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
    did = ("acknowledged", until.isoformat())
    _write(account, key, by, did, {"acked_by": _short(by)}, acked_at=now, acked_until=until)
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
    who = {"muted_by": _short(by), "mute_reason": _short(reason)}
    _write(account, key, by, ("muted", f"until {until.isoformat()}: {reason}"), who, muted_until=until)


def unmute(account: Account, key: str, by: str) -> None:
    """End a mute now.

    :raises SettingsError: no such open finding.
    """
    _write(account, key, by, ("unmuted", ""), muted_until=None)


def take(account: Account, key: str, by: str, owner: str | None) -> None:
    """Say whose it is; None: nobody's.

    :raises SettingsError: no such open finding.
    """
    did = ("gave it to", _short(owner)) if owner else ("gave it back", "")
    _write(account, key, by, did, owner=_short(owner) if owner else None)


def write_note(account: Account, key: str, by: str, note: str | None) -> None:
    """Replace the note of a finding.

    :raises SettingsError: no such open finding.
    """
    did = ("noted", _short(note)) if note else ("took the note away", "")
    _write(account, key, by, did, note=_short(note) if note else None)


def _write(
    account: Account,
    key: str,
    by: str,
    did: tuple[str, str],
    who: dict[str, str] | None = None,
    /,
    **values: Any,
) -> None:
    what, about = did
    mine = (findings.c.account == account.id, findings.c.key == key, findings.c.resolved_at.is_(None))
    with account.ledger.write(f"findings:{account.id}") as connection:
        row = connection.execute(select(findings.c.triage).where(*mine)).one_or_none()
        if row is None:
            raise SettingsError("finding", key, f"the key of an open finding of {account.id}")
        triage = (row.triage or {}) | (who or {})
        entry = [account.clock().isoformat(), _short(by), what, _short(about)]
        triage["log"] = [*triage.get("log", ()), entry][-KEPT:]
        connection.execute(update(findings).where(*mine).values(triage=triage, **values))


def _short(text: str) -> str:
    return text.strip()[:LONG]
