"""What a person does with many findings at once: each by itself, over all pages of a filter, and with a count."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from telnyx_porting.errors import SettingsError
from telnyx_porting.flows.desk.lines import Where, read_open
from telnyx_porting.flows.findings.triage import acknowledge, mute, take, unmute, write_note

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from telnyx_porting.flows.account import Account

MOST = 500
"""Findings in one action; what is left takes another."""

Verb = Literal["acknowledge", "mute", "unmute", "own", "release", "note"]


@dataclass(frozen=True)
class Done:
    """What came of it.

    :param why: some of those that failed, and why
    :param left: findings of the filter that were not touched, because they are more than `MOST`
    """

    done: int
    failed: int
    left: int
    why: dict[str, str] = field(default_factory=dict)


def act(
    account: Account,
    by: str,
    verb: Verb,
    these: Where | Sequence[str],
    *,
    until: datetime | None = None,
    text: str = "",
) -> Done:
    """Do it with findings, in the name of `by`; what fails stops no other.

    :param these: their keys, or a filter, whose `mine` is `by`
    :param until: of `acknowledge` (None: the next working day) and `mute`
    :param text: of `mute` the reason, of `own` the owner (empty: who acts), of `note` the note (empty: none)
    """
    keys = list(dict.fromkeys(_keys(account, by, these) if isinstance(these, Where) else these))
    why: dict[str, str] = {}
    for key in keys[:MOST]:
        try:
            _do(account, by, verb, key, until, text)
        except SettingsError as error:
            why[key] = str(error)
    tried = min(len(keys), MOST)
    return Done(tried - len(why), len(why), len(keys) - tried, dict(list(why.items())[:5]))


def _keys(account: Account, by: str, where: Where) -> list[str]:
    with account.ledger.read() as connection:
        found = read_open(connection, account, account.clock())
    return [item.key for item in found if where.holds(item, by)]


def _do(account: Account, by: str, verb: Verb, key: str, until: datetime | None, text: str) -> None:
    if verb == "acknowledge":
        acknowledge(account, key, by, until)
    elif verb == "mute":
        if until is None:
            raise SettingsError("until", "", "a time: until when nobody hears of it")
        mute(account, key, by, text, until)
    elif verb == "unmute":
        unmute(account, key, by)
    elif verb == "note":
        write_note(account, key, by, text or None)
    else:
        take(account, key, by, (text or by) if verb == "own" else None)
