"""The consumer of record: the one destination per account whose deliveries decide, and the time its feed covers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, select

from telnyx_porting.escaping import address
from telnyx_porting.flows.account import get_account, touch_account, watched_since
from telnyx_porting.flows.clock import RECEIVERS, Clocks, clock_trouble, kept_offset, last_beat, read_clocks
from telnyx_porting.flows.feeds import NEVER_READ, get_feed, read_outages
from telnyx_porting.flows.subscriptions import below, is_below
from telnyx_porting.ledger.predicates import is_open
from telnyx_porting.ledger.states import Delivery, Feed
from telnyx_porting.ledger.tables import deliveries, events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

COMMIT_LAG = timedelta(seconds=2)  # the receiver may hold a webhook this long before it is committed
SILENT = timedelta(minutes=1)  # a receiver that has not beaten for this long is down
AROUND = timedelta(minutes=1)  # a notification may be lost to an outage that begins just after its event
KNOWN_FOR = timedelta(days=7)  # a destination not seen for this long no longer counts
OVERDUE = timedelta(hours=1)


@dataclass(frozen=True)
class Record:
    """What decides, for one account."""

    account: str
    source: str
    prefix: str  # the destination, or what it is below; empty = any
    covers_from: datetime
    covered_until: datetime
    settled_by: datetime  # until then all of one sending's webhooks have come in, or are lost; the provider's clock
    outages: tuple[tuple[datetime, datetime], ...]  # known ones of the feed, newest last
    refused: str | None  # why its newest signatures were refused, in words
    urls: tuple[str, ...]  # its destinations, as the provider's records show them
    doubled: bool  # lately it got one notification as several webhooks, with ids of their own

    @property
    def name(self) -> str:
        """As shown to people: a URL without its query, which may hold a secret."""
        return f"{self.source}:{address(self.prefix)}" if self.prefix else self.source

    @property
    def here(self) -> list[ColumnElement[bool]]:
        """SQL: a delivery to this destination, by whichever source."""
        return [below(deliveries.c.destination, self.prefix)] if self.prefix else []

    @property
    def good(self) -> list[ColumnElement[bool]]:
        """SQL: a success here."""
        return [deliveries.c.source == self.source, deliveries.c.ok, *self.here]


def find_record(connection: Connection, account: str, settings: Settings, now: datetime) -> Record | None:
    """Return the consumer of record, or None: then nothing is ever missed, and nothing is planned by itself.

    Not set: the receiver once it has verified a webhook of this account, else the provider's delivery records once they
    have shown a port-in notification to a single destination, else none. A receiver that is set up later takes over
    when what was sent before its first webhook is judged.
    """
    source, prefix = _chosen(settings)
    for name in [source] if source else [Feed.RECEIVER, Feed.DELIVERIES]:
        found = _record(connection, account, settings, name, prefix, now)
        if found is not None:
            return (None if source else _finishing(connection, account, found, settings, now)) or found
    return None


def _record(
    connection: Connection, account: str, settings: Settings, name: str, prefix: str, now: datetime
) -> Record | None:
    feed = get_feed(connection, account, name) or NEVER_READ
    if feed["proved_at"] is None or feed["covers_from"] is None:
        return None
    if name == Feed.DELIVERIES and not prefix and len(destinations_seen(feed, now)) > 1:
        return None
    until = now - COMMIT_LAG if name == Feed.RECEIVER else feed["covered_until"]
    if until is None:
        return None
    clocks = read_clocks(connection, account)
    signed = name == Feed.RECEIVER
    return Record(
        account,
        name,
        prefix,
        covers_from=clocks.from_provider(feed["covers_from"]) if signed else feed["covers_from"],
        covered_until=until,
        settled_by=clocks.to_provider(until) - settings.confirm_within / 2,
        outages=_outages(feed, clocks, now) if signed else (),
        refused=why_refused(feed),
        urls=_urls(connection, account, name, prefix, now),
        doubled=feed["doubled_at"] is not None and feed["doubled_at"] >= now - KNOWN_FOR,
    )


def _finishing(connection: Connection, account: str, new: Record, settings: Settings, now: datetime) -> Record | None:
    """Return the record that decided so far until it has judged what came before the new one's coverage, or None.

    At most for an hour longer than that takes: a feed that is read no more judges nothing.
    """
    kept = kept_record(connection, account)
    if kept is None or kept["source"] == new.source:
        return None
    judged = new.covers_from + max(settings.grace, settings.confirm_within)
    old = _record(connection, account, settings, kept["source"], kept["prefix"], now)
    return old if old is not None and old.covered_until < judged and now < judged + OVERDUE else None


def kept_record(connection: Connection, account: str) -> dict[str, str] | None:
    """Return who decided at the last look: `source`, `prefix`, `name`, `since`, and `before` where it took over."""
    row = get_account(connection, account)
    return row["record"] if row else None


def keep_record(ledger: Ledger, connection: Connection, record: Record, now: datetime) -> None:
    """Keep who decides, so that a change of it is seen."""
    kept = kept_record(connection, record.account)
    prefix = record.prefix or (record.urls[0] if record.source == Feed.DELIVERIES and len(record.urls) == 1 else "")
    same = kept is not None and kept["source"] == record.source
    if kept is not None and same and prefix in ("", kept["prefix"]):
        return
    new = {"source": record.source, "prefix": prefix, "name": record.name, "since": now.isoformat()}
    if kept is not None:  # where its URL was not known yet, it is still the same
        new |= {"before": kept["name"]} if kept["prefix"] or not same else {"since": kept["since"]}
    touch_account(ledger, connection, record.account, record=new)


def why_no_record(connection: Connection, account: str, settings: Settings, now: datetime) -> str | None:
    """Return in one sentence why an account that is watched has no consumer of record, or None when it has one."""
    if find_record(connection, account, settings, now) is not None:
        return None
    source, prefix = _chosen(settings)
    seen = destinations_seen(get_feed(connection, account, Feed.DELIVERIES) or NEVER_READ, now)
    if source in ("", Feed.DELIVERIES) and not prefix and len(seen) > 1:
        return (
            f"notifications go to {len(seen)} destinations and none was chosen to decide whether one arrived:"
            f" set consumer_of_record, for example to deliveries:{address(min(seen))}"
        )
    if source:
        chosen = f"{source}:{address(prefix)}" if prefix else source
        return f"consumer_of_record is {chosen}, which has not shown a port-in notification yet"
    return "nothing has shown a port-in notification yet: whether notifications arrive cannot be told"


def undecided(connection: Connection, account: str, settings: Settings, now: datetime) -> str | None:
    """Return why notifications that should have arrived long ago cannot be judged, or None."""
    if (reason := why_no_record(connection, account, settings, now)) is None:
        return None
    since = read_clocks(connection, account).to_provider(watched_since(connection, account) or now)
    late = (events.c.delivery == Delivery.PENDING, events.c.due_at < now - OVERDUE, events.c.created_at >= since)
    waiting = select(events.c.id).where(events.c.account == account, is_open(events), *late)
    return reason if connection.execute(waiting.limit(1)).first() else None


def why_refused(feed: Mapping[Any, Any]) -> str | None:
    """Return in words why the receiver refuses signatures, or None: the newest one was good."""
    if not feed["refused"]:
        return None
    skew = clock_trouble(kept_offset(feed), RECEIVERS)
    return skew or f"the receiver refused {feed['refused']} signatures since the last good one"


def destinations_seen(feed: Mapping[Any, Any], now: datetime) -> set[str]:
    """Return the destinations that the provider's records showed lately."""
    known: dict[str, str] = feed["known"] or {}
    return {url for url, seen in known.items() if datetime.fromisoformat(seen) >= now - KNOWN_FOR}


def _chosen(settings: Settings) -> tuple[str, str]:
    source, _, prefix = settings.consumer_of_record.partition(":")
    return (settings.consumer_of_record, "") if source == "table" else (source, prefix)


def _urls(connection: Connection, account: str, source: str, prefix: str, now: datetime) -> tuple[str, ...]:
    """Which of the destinations in the provider's records are the consumer of record."""
    found = sorted(destinations_seen(get_feed(connection, account, Feed.DELIVERIES) or NEVER_READ, now))
    if source == Feed.DELIVERIES:
        return tuple(url for url in found if not prefix or is_below(url, prefix))
    mine = select(deliveries.c.source_id).where(deliveries.c.account == account, deliveries.c.source == source)
    return tuple(
        url for url in found if connection.execute(mine.where(deliveries.c.destination == url).limit(1)).first()
    )


def _outages(feed: Mapping[Any, Any], clocks: Clocks, now: datetime) -> tuple[tuple[datetime, datetime], ...]:
    """Return the ones that ended, and the one that is going on: no webhook was accepted in them."""
    ended = read_outages(feed["outages"])
    found = [(clocks.from_provider(since) - AROUND, clocks.from_provider(until) + AROUND) for since, until in ended]
    beat = last_beat(feed, clocks, now)
    if beat is not None and now - beat > SILENT:
        found.append((beat - AROUND, now))
    return tuple(found)
