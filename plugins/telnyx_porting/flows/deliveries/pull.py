"""Evidence: read the provider's delivery records into the ledger, and say how far they cover.

The receiver writes its own rows. This flow pulls ``GET /webhook_deliveries``: one row per *attempt*, because the
provider may append attempts to an old record (a republish, say), and only an attempt has a time of its own. A record
still being retried may not be listed; so the feed covers only up to its last complete read minus a lag.

Whether port-in deliveries are recorded there at all is undocumented: the feed counts as proved once it has shown one.
"""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import null, or_, select

from telnyx_porting.errors import TelnyxError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.clock import Clocks, keep_offset, read_clocks
from telnyx_porting.flows.deliveries import again as evidence_again
from telnyx_porting.flows.deliveries.consumer import KNOWN_FOR
from telnyx_porting.flows.events.odd import MOST, keep_odd
from telnyx_porting.flows.events.store import CHUNK
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.bulk import chunks, write_rows
from telnyx_porting.ledger.engine import excluded
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import deliveries
from telnyx_porting.models.keys import WEBHOOK_TYPES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from sqlalchemy import RowMapping

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.models.records import WebhookDelivery
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
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
        feed = get_feed(connection, account.id, Feed.DELIVERIES)
        asked_by = Clocks(client.clock_offset or read_clocks(connection, account.id).provider)
    since, anew = _since(feed, account.settings, now)
    seen = _Seen(account.ledger, account.id, now)
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
        seen.take(evidence_again.read(account, client, now))
    except TelnyxError as error:
        with account.ledger.write() as connection:
            touch_feed(account.ledger, connection, account.id, Feed.DELIVERIES, checked_at=now, error=str(error))
        raise
    keep_odd(account, Feed.DELIVERIES, seen.odd, now)
    measured = client.clock_offset
    if measured is not None:
        keep_offset(account, measured)
    clocks = Clocks(measured or timedelta(0))
    covered = min(now, clocks.from_provider(until)) - account.settings.settle
    with account.ledger.write() as connection:
        feed = get_feed(connection, account.id, Feed.DELIVERIES)
        covered = evidence_again.covered(connection, account.id, account.settings, covered)
        proved = feed["proved_at"] if feed else None
        proved = proved or (now if _holds_any(connection, account.id) else None)
        begin = feed["covers_from"] if feed and not anew else covered
        if seen.oldest and (feed is None or feed["covered_until"] is None):
            begin = min(begin, clocks.from_provider(seen.oldest))  # no further back: older records may be gone
        touch_feed(
            account.ledger,
            connection,
            account.id,
            Feed.DELIVERIES,
            covers_from=begin,
            covered_until=max(covered, feed["covered_until"]) if feed and feed["covered_until"] else covered,
            checked_at=now,
            proved_at=proved,
            known=_destinations(feed, seen.destinations, now),
            error=None,
        )
    log.info("deliveries of %s: %d records, %d attempts not seen before", account.id, seen.records, seen.new)
    return EvidenceResult(account.id, Feed.DELIVERIES, seen.records, seen.new, proved is not None, covered)


def reach_back(settings: Settings) -> timedelta:
    """Return how far behind its coverage a feed is read again: what is not due yet may still come in."""
    return max(settings.overlap, settings.grace, settings.confirm_within)


def _since(feed: RowMapping | None, settings: Settings, now: datetime) -> tuple[datetime, bool]:
    """From when on to read, and whether coverage begins anew."""
    if feed is None or feed["covered_until"] is None:
        return now - timedelta(days=settings.first_look_days), True
    return feed["covered_until"], now - feed["covered_until"] > HOLE


class _Seen:
    """Counts what a reading brought, and stores it."""

    def __init__(self, ledger: Ledger, account: str, now: datetime) -> None:
        self._ledger, self._account, self._now = ledger, account, now
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
            rows.extend(_attempts(self._account, record, self._now))
        begun = [row["signed_at"] for row in rows if row["signed_at"]]
        self.oldest = min([*begun, self.oldest] if self.oldest else begun, default=None)
        self.destinations.update(row["destination"] for row in rows if row["destination"])
        self.new += store_deliveries(Account(self._ledger, self._account), Feed.DELIVERIES, rows)


def store_deliveries(account: Account, source: str, rows: Iterable[dict[str, Any]]) -> int:
    """Store what is not known yet, or has turned out well since; return how many rows that was.

    A try may be listed before its end, and a table may say later that a webhook was taken: it is matched anew.
    """
    good = or_(deliveries.c.ok, excluded("ok"))
    better = {
        "ok": good,
        "error_code": excluded("error_code"),
        "http_status": excluded("http_status"),
        "matched": null(),
    }
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


def _holds_any(connection: Any, account: str) -> bool:
    mine = (deliveries.c.account == account, deliveries.c.source == Feed.DELIVERIES)
    return connection.execute(select(deliveries.c.source_id).where(*mine).limit(1)).first() is not None


def _destinations(feed: RowMapping | None, seen: set[str], now: datetime) -> dict[str, str]:
    known = dict(feed["known"] or {}) if feed else {}
    known |= {url: now.isoformat() for url in seen}
    return {url: at for url, at in known.items() if datetime.fromisoformat(at) >= now - KNOWN_FOR}


def _attempts(account: str, record: WebhookDelivery, now: datetime) -> Iterator[dict[str, Any]]:
    webhook = record.webhook
    if webhook.event_type not in WEBHOOK_TYPES:
        return
    key = webhook.natural_key
    common = {
        "account": account,
        "source": Feed.DELIVERIES,
        "record_id": record.id,
        "webhook_id": webhook.id,
        "type": webhook.event_type,
        "order_id": webhook.order_id,
        "natural_key": key.key if key else None,
        "natural_at": key.at if key else None,
        "occurred_at": webhook.occurred_at,
        "stored_at": now,
    }
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
