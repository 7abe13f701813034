"""Destinations: whom a republish reaches, and what that means for how often an event may be sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from telnyx_porting.errors import TelnyxError
from telnyx_porting.flows.feeds import get_feed

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.settings import Settings

SOURCE = "subscriptions"


@dataclass(frozen=True)
class Destinations:
    """Whom a republish reaches: what is subscribed now, as far as the key may read it."""

    webhooks: tuple[str, ...] = ()
    mails: tuple[str, ...] | None = None  # None: unreadable, so mails must be assumed


def read_destinations(client: TelnyxClient) -> Destinations:
    """Ask the provider who is subscribed to port-in notifications; unreadable counts as unknown.

    A webhook counts when it is enabled; a mail address as long as it may still be written to.
    """
    try:
        found = list(client.notification_subscriptions())
    except TelnyxError:
        return Destinations()
    webhooks = {s.destination for s in found if s.channel_type == "webhook" and s.status == "enabled"}
    mails = {s.destination for s in found if s.channel_type == "email" and s.status != "deleted"}
    return Destinations(tuple(sorted(filter(None, webhooks))), tuple(sorted(filter(None, mails))))


def budget(connection: Connection, account: str, settings: Settings) -> int:
    """Return how often one event may be sent: once when people are mailed each time, or when that is not known."""
    feed = get_feed(connection, account, SOURCE)
    mails = feed["known"]["mails"] if feed and feed["known"] else None
    return settings.republish_budget if mails == 0 else min(settings.republish_budget, 1)
