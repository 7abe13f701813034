"""Evidence: read the provider's delivery records into the ledger, and say how far they cover.

The receiver writes its own rows. This flow pulls ``GET /webhook_deliveries``: one row per *attempt*, because the
provider may append attempts to an old record (a republish, say), and only an attempt has a time of its own. A record
still being retried may not be listed; so the feed covers only up to its last complete read minus a lag.

Whether port-in deliveries are recorded there at all is undocumented: the feed counts as proved once it has shown one.

Failed records are read again: those whose event awaits a verdict first, always; then those of other events that are
still lost. Each time so many and no more, the longest unread first, so that all get their turn. Until what awaits a
verdict has been read again after its time was up, the feed does not cover that time: nothing is told not to have
arrived because of a record unread.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, and_, case, func, null, or_, select, update

from telnyx_porting.errors import EnvelopeError, NotFoundError, SettingsError, TelnyxError
from telnyx_porting.flows.clock import Clocks, keep_offset, read_clocks
from telnyx_porting.flows.deliveries.consumer import destinations_seen
from telnyx_porting.flows.deliveries.proofs import same_event
from telnyx_porting.flows.deliveries.receipts import told_by
from telnyx_porting.flows.events.odd import MOST, keep_odd
from telnyx_porting.flows.events.store import CHUNK
from telnyx_porting.flows.feeds import NEVER_READ, get_feed, touch_feed
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.bulk import chunks, write_rows
from telnyx_porting.ledger.engine import excluded
from telnyx_porting.ledger.predicates import is_unresolved
from telnyx_porting.ledger.states import Delivery, Feed
from telnyx_porting.ledger.tables import deliveries, events, republishes
from telnyx_porting.ledger.types import Instant, microseconds
from telnyx_porting.models.keys import WEBHOOK_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.identity import AccountClient
    from telnyx_porting.models.records import WebhookDelivery
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
AT_ONCE = 100  # failed records read again
GIVEN_UP_FOR = timedelta(days=1)  # so long after its last send a late arrival is looked for
HOLE = timedelta(days=1)  # after a longer silence, older records may be gone: coverage begins anew


@dataclass(frozen=True)
class EvidenceResult:
    """What one look at a feed brought."""

    account: str
    source: str
    records: int
    new_attempts: int
    proved: bool
    covered_until: datetime | None
    trouble: str | None = None  # why it covers no more than before, or can prove nothing


def read_deliveries(account: Account, client: TelnyxClient) -> EvidenceResult:
    """Pull the provider's delivery records of port-in notifications.

    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user.
    :raises TelnyxError: the feed could not be read to its end; its coverage does not move.
    """
    now = account.clock()
    client = accept(account, client)
    with account.ledger.read() as connection:
        known = (get_feed(connection, account.id, Feed.DELIVERIES) or NEVER_READ)["covered_until"]
        asked_by = Clocks(client.clock_offset or read_clocks(connection, account.id).provider)
    since = known or now - timedelta(days=account.settings.first_look_days)
    seen = Reading(account, now)
    until = asked_by.to_provider(now)  # records are filtered by the provider's clock
    behind = min(asked_by.provider, timedelta(0))  # its difference may be new: read rather too far back
    try:
        listed = client.iter_webhook_deliveries(
            event_types=sorted(WEBHOOK_TYPES),
            finished_at_gte=since - reach_back(account.settings) + behind,
            finished_at_lte=until,
            unread=seen.odd,
        )
        for batch in chunks(listed, CHUNK):
            seen.take(batch)
        seen.take(failed_again(account, client, now))
    except TelnyxError as error:
        with account.ledger.write() as connection:
            touch_feed(account.ledger, connection, account.id, Feed.DELIVERIES, checked_at=now, error=str(error))
        raise
    keep_odd(account, Feed.DELIVERIES, seen.odd, now)
    if (measured := client.clock_offset) is not None:
        keep_offset(account, measured)
    clocks = Clocks(measured or timedelta(0))
    covered = min(now, clocks.from_provider(until)) - account.settings.settle
    with account.ledger.write() as connection:
        feed = get_feed(connection, account.id, Feed.DELIVERIES) or NEVER_READ
        covered = covered_until(connection, account.id, account.settings, covered)
        held = select(deliveries.c.source_id).where(deliveries.c.account == account.id)
        any_held = connection.execute(held.where(deliveries.c.source == Feed.DELIVERIES).limit(1)).first()
        proved = feed["proved_at"] or (now if any_held else None)
        begin = feed["covers_from"] if known and now - known <= HOLE else covered
        if seen.oldest and feed["covered_until"] is None:
            begin = min(begin, clocks.from_provider(seen.oldest))  # no further back: older records may be gone
        known_lately = {url: feed["known"][url] for url in destinations_seen(feed, now)}
        columns = {"covers_from": begin, "covered_until": max(covered, feed["covered_until"] or covered)}
        columns |= {"proved_at": proved, "known": known_lately | dict.fromkeys(seen.destinations, now.isoformat())}
        touch_feed(account.ledger, connection, account.id, Feed.DELIVERIES, checked_at=now, error=None, **columns)
    log.info("deliveries of %s: %d records, %d attempts not seen before", account.id, seen.records, seen.new)
    return EvidenceResult(account.id, Feed.DELIVERIES, seen.records, seen.new, proved is not None, covered)


def reach_back(settings: Settings) -> timedelta:
    """Return how far behind its coverage a feed is read again: what is not due yet may still come in."""
    return max(settings.overlap, settings.grace, settings.confirm_within)


class Reading:
    """Counts what a reading brought, and stores it."""

    def __init__(self, account: Account, now: datetime) -> None:
        self._account, self._now = account, now
        self.records = self.new = 0
        self.odd: list[str] = []
        self.destinations: set[str] = set()
        self.oldest: datetime | None = None  # when the oldest try began, on the provider's clock

    def take(self, records: Iterable[WebhookDelivery]) -> None:
        """Store the attempts of some records."""
        rows: list[dict[str, Any]] = []
        for record in records:
            self.records += 1
            if record.odd and len(self.odd) < MOST:
                self.odd.append(f"delivery record {record.id}: {'; '.join(record.odd)}")
            rows.extend(_attempts(self._account.id, record, self._now))
        begun = (row["signed_at"] for row in rows)
        self.oldest = min(filter(None, (*begun, self.oldest)), default=None)
        self.destinations.update(row["destination"] for row in rows if row["destination"])
        self.new += store_deliveries(self._account, Feed.DELIVERIES, rows)


def store_deliveries(account: Account, source: str, rows: Iterable[dict[str, Any]]) -> int:
    """Store what is not known yet, or has turned out well since; return how many rows that was.

    A try may be listed before its end, and a table may say later that a webhook was taken: it is matched anew.
    """
    better = {name: excluded(name) for name in ("error_code", "http_status")}
    better |= {"ok": or_(deliveries.c.ok, excluded("ok")), "matched": null()}
    new = 0
    for batch in chunks(rows, CHUNK):
        with account.ledger.write() as connection:
            query = select(deliveries.c.source_id, deliveries.c.ok).where(
                deliveries.c.account == account.id,
                deliveries.c.source == source,
                deliveries.c.source_id.in_([row["source_id"] for row in batch]),
            )
            known = {row.source_id: row.ok for row in connection.execute(query)}
            fresh = {row["source_id"]: row for row in batch if row["ok"] > known.get(row["source_id"], -1)}
            write_rows(account.ledger.upsert, connection, deliveries, list(fresh.values()), better)
        new += len(fresh)
    return new


def _attempts(account: str, record: WebhookDelivery, now: datetime) -> Iterator[dict[str, Any]]:
    webhook = record.webhook
    if webhook.event_type not in WEBHOOK_TYPES:
        return
    common = {"account": account, "source": Feed.DELIVERIES, "record_id": record.id, "stored_at": now}
    common |= told_by(webhook)
    oldest_first = list(reversed(record.attempts))
    begun: Counter[str] = Counter()
    for number, attempt in enumerate(oldest_first):
        started = attempt.started_at.isoformat() if attempt.started_at else f"attempt {number}"
        begun[started] += 1
        again = f"#{begun[started]}" if begun[started] > 1 else ""  # where times have no fraction
        told = attempt.status if attempt.status in ("delivered", "failed") else None
        yield common | {
            "source_id": f"{record.id}:{started}{again}",
            "destination": attempt.url,
            "ok": told == "delivered" or (told is None and 200 <= (attempt.http_status or 0) < 300),
            "signed_at": attempt.started_at,
            "error_code": ",".join(attempt.error_codes) or None,
            "http_status": attempt.http_status,
        }
    if not oldest_first:  # the record alone: when the last try began is not told, so neither is `signed_at`
        yield common | {
            "source_id": f"{record.id}:{record.status}",
            "destination": None,
            "ok": record.status == "delivered",
            "signed_at": record.started_at if record.status != "delivered" else None,
            "error_code": None,
            "http_status": None,
        }


def failed_again(account: Account, client: AccountClient, now: datetime) -> Iterator[WebhookDelivery]:
    """Yield records that had failed, as they are now; at most `AT_ONCE` requests."""
    with account.ledger.read() as connection:
        ids = _to_read_again(connection, account.id, now)
    for record_id in ids:
        try:
            yield client.get_webhook_delivery(record_id)
        except NotFoundError:
            log.info("delivery record %s is no longer listed", record_id)
        except (EnvelopeError, SettingsError) as error:  # an odd answer, or an odd id: the others are read all the same
            log.warning("delivery record %s cannot be read again: %s", record_id, error)
    mine = (deliveries.c.account == account.id, _failed(), deliveries.c.record_id.in_(ids))
    with account.ledger.write() as connection:
        connection.execute(update(deliveries).where(*mine).values(looked_at=now))


def covered_until(connection: Connection, account: str, settings: Settings, until: datetime) -> datetime:
    """Return up to when the records cover: before the time of a verdict whose records were not all read since."""
    late_enough = republishes.c.due_at + microseconds(settings.settle)
    unread = and_(deliveries.c.stored_at < late_enough, _last_read() < late_enough)
    query = (
        select(func.min(republishes.c.due_at, type_=Instant()))
        .join(deliveries, same_event(deliveries, republishes))
        .join(events, same_event(events, republishes))
        .where(republishes.c.account == account, is_unresolved(republishes), republishes.c.due_at <= until)
        .where(_failed(), unread, events.c.arrived_at.is_(None))
    )
    due: datetime | None = connection.execute(query).scalar()
    return until if due is None else min(until, due - timedelta(microseconds=1))


def _to_read_again(connection: Connection, account: str, now: datetime) -> list[str]:
    waiting = select(republishes.c.event_id).where(republishes.c.account == account, is_unresolved(republishes))
    awaited = deliveries.c.event_id.in_(waiting)
    lost = or_(
        events.c.delivery == Delivery.MISSED,
        and_(events.c.delivery == Delivery.GIVEN_UP, events.c.last_sent_at > now - GIVEN_UP_FOR),
    )
    query = (
        select(deliveries.c.record_id)
        .join(events, same_event(events, deliveries))
        .where(deliveries.c.account == account, _failed(), events.c.arrived_at.is_(None), or_(awaited, lost))
        .group_by(deliveries.c.record_id)
        .order_by(func.min(case((awaited, 0), else_=1)), func.max(_last_read()), deliveries.c.record_id)
        .limit(AT_ONCE)
    )
    return list(connection.execute(query).scalars())


def _last_read() -> ColumnElement[datetime]:
    return func.coalesce(deliveries.c.looked_at, deliveries.c.stored_at, type_=Instant())


def _failed() -> ColumnElement[bool]:
    return and_(deliveries.c.source == Feed.DELIVERIES, ~deliveries.c.ok, deliveries.c.record_id.is_not(None))
