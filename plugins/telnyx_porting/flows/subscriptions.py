"""Destinations: whom a republish reaches, and what that means for how often an event may be sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import ColumnElement, Connection, and_, func

from telnyx_porting.errors import TelnyxError
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.states import Feed

if TYPE_CHECKING:
    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.settings import Settings

_ENDS = ("", "/", "?")  # what may follow a URL that stands for all below it


@dataclass(frozen=True)
class Destinations:
    """Whom a republish reaches: what is subscribed now, as far as the key may read it."""

    webhooks: tuple[str, ...] = ()
    mails: tuple[str, ...] | None = None  # None: unreadable, so mails must be assumed


def read_destinations(account: Account, client: TelnyxClient) -> Destinations:
    """Ask the provider who is subscribed to port-in notifications; unreadable counts as unknown.

    A webhook counts when it is enabled; a mail address as long as it may still be written to.

    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user.
    """
    client = accept(account, client)
    try:
        found = list(client.notification_subscriptions())
    except TelnyxError:
        return Destinations()
    webhooks = {s.destination for s in found if s.channel_type == "webhook" and s.status == "enabled"}
    mails = {s.destination for s in found if s.channel_type == "email" and s.status != "deleted"}
    return Destinations(tuple(sorted(filter(None, webhooks))), tuple(sorted(filter(None, mails))))


def is_below(url: str, base: str) -> bool:
    """Whether a destination is this URL or below it: `/hook` is not `/hook-audit`."""
    return url.startswith(base) and (base.endswith("/") or url[len(base) :][:1] in _ENDS)


def below(column: ColumnElement[str], base: str) -> ColumnElement[bool]:
    """Return SQL for :func:`is_below`; not LIKE, which on SQLite takes one letter case for the other."""
    same = func.substr(column, 1, len(base)) == base
    return same if base.endswith("/") else and_(same, func.substr(column, len(base) + 1, 1).in_(_ENDS))


def ends_with(column: ColumnElement[str], end: ColumnElement[str]) -> ColumnElement[bool]:
    """Return SQL: the text ends so, to the letter; in LIKE the `_` of an account's name stands for anything."""
    return func.substr(column, func.length(column) - func.length(end) + 1) == end


def budget(connection: Connection, account: str, settings: Settings) -> int:
    """Return how often one event may be sent: once when people are mailed each time, or when that is not known."""
    feed = get_feed(connection, account, Feed.SUBSCRIPTIONS)
    mails = feed["known"]["mails"] if feed and feed["known"] else None
    return settings.republish_budget if mails == 0 else min(settings.republish_budget, 1)
