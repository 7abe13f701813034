"""Evidence: read a feed's delivery attempts into the ledger, and say how far the feed covers.

The receiver writes its own rows. This flow pulls ``GET /webhook_deliveries``: one row per *attempt*, because the provider
may append attempts to an old record (a republish, say), and only an attempt has a time of its own. A record still being
retried may not be listed; so the feed covers only up to its last complete read minus a lag.

Whether port-in deliveries are recorded there at all is undocumented: the feed counts as proved once it has shown one.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from telnyx_porting.errors import NotFoundError
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.flows.store import CHUNK
from telnyx_porting.ledger.tables import deliveries, events, republishes
from telnyx_porting.models import WEBHOOK_TYPES, WebhookDelivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
SOURCE = "deliveries"
LAG = timedelta(seconds=60)  # a delivery may be listed only after its last retry
REREAD_AT_ONCE = 100


@dataclass(frozen=True)
class EvidenceResult:
    """What one look at a feed brought."""

    account: str
    source: str
    records: int
    new_attempts: int
    proved: bool
    covered_until: datetime | None


def read_deliveries(
    ledger: Ledger, account: str, client: TelnyxClient, settings: Settings, now: datetime
) -> EvidenceResult:
    """Pull the provider's delivery records of port-in notifications.

    :raises TelnyxError: the feed could not be read to its end; its coverage does not move.
    """
    with ledger.read() as connection:
        feed = get_feed(connection, account, SOURCE)
        started_over = feed is None or feed["covered_until"] is None
        since = now - timedelta(days=settings.first_look_days) if started_over else feed["covered_until"]
    records = new = 0
    batch: list[dict[str, Any]] = []
    for record in client.iter_webhook_deliveries(
        event_types=sorted(WEBHOOK_TYPES), finished_at_gte=since - settings.overlap, finished_at_lte=now
    ):
        records += 1
        batch.extend(_attempts(account, record, now))
        if len(batch) >= CHUNK:
            new += _store(ledger, account, batch)
            batch = []
    new += _store(ledger, account, batch)
    new += _store(ledger, account, _reread_failed(ledger, account, client, now))
    lag = max(LAG if settings.settle >= LAG else settings.settle, settings.settle)
    with ledger.write() as connection:
        proved = feed["proved_at"] if feed else None
        if proved is None and _holds_any(connection, account):
            proved = now
        covered = now - lag
        touch_feed(
            ledger,
            connection,
            account,
            SOURCE,
            covers_from=feed["covers_from"] if feed and feed["covers_from"] else since,
            covered_until=covered,
            checked_at=now,
            proved_at=proved,
            error=None,
        )
    log.info("deliveries of %s: %d records, %d attempts not seen before", account, records, new)
    return EvidenceResult(account, SOURCE, records, new, proved is not None, covered)


def _holds_any(connection: Any, account: str) -> bool:
    query = (
        select(deliveries.c.source_id).where(deliveries.c.account == account, deliveries.c.source == SOURCE).limit(1)
    )
    return connection.execute(query).first() is not None


def _attempts(account: str, record: WebhookDelivery, now: datetime) -> Iterator[dict[str, Any]]:
    webhook = record.webhook
    if webhook is None or webhook.event_type not in WEBHOOK_TYPES:
        return
    key = webhook.natural_key
    common = {
        "account": account,
        "source": SOURCE,
        "webhook_id": webhook.id,
        "type": webhook.event_type,
        "order_id": webhook.order_id,
        "natural_key": key.key if key else None,
        "natural_at": key.at if key else None,
        "occurred_at": webhook.occurred_at,
        "stored_at": now,
    }
    if not record.attempts:
        yield common | {
            "source_id": record.id,
            "destination": None,
            "ok": record.status == "delivered",
            "signed_at": record.started_at,
            "error_code": None,
        }
    for attempt in record.attempts:
        yield common | {
            "source_id": f"{record.id}:{attempt.started_at.isoformat() if attempt.started_at else 'unknown'}",
            "destination": attempt.url,
            "ok": attempt.status == "delivered",
            "signed_at": attempt.started_at,
            "error_code": ",".join(attempt.error_codes) or None,
        }


def _store(ledger: Ledger, account: str, rows: Iterable[dict[str, Any]]) -> int:
    rows = list(rows)
    new = 0
    for start in range(0, len(rows), CHUNK):
        with ledger.write() as connection:
            before = _count(connection, account)
            ledger.upsert(connection, deliveries, rows[start : start + CHUNK], change=None)
            new += _count(connection, account) - before
    return new


def _count(connection: Any, account: str) -> int:
    query = select(func.count()).where(deliveries.c.account == account, deliveries.c.source == SOURCE)
    return int(connection.execute(query).scalar_one())


def _reread_failed(ledger: Ledger, account: str, client: TelnyxClient, now: datetime) -> Iterator[dict[str, Any]]:
    """Failed records of events still open: the provider may append attempts to them."""
    record_id = func.substr(deliveries.c.source_id, 1, 36)
    waiting = select(republishes.c.event_id).where(
        republishes.c.account == account,
        republishes.c.state.in_(("sending", "accepted", "unknown")),
        republishes.c.settled_at.is_(None),
    )
    query = (
        select(record_id)
        .join(events, (events.c.account == deliveries.c.account) & (events.c.id == deliveries.c.event_id))
        .where(deliveries.c.account == account, deliveries.c.source == SOURCE, ~deliveries.c.ok)
        .where(deliveries.c.event_id.in_(waiting), events.c.arrived_at.is_(None))
        .distinct()
        .limit(REREAD_AT_ONCE)
    )
    with ledger.read() as connection:
        ids = list(connection.execute(query).scalars())
    for delivery_id in ids:
        try:
            yield from _attempts(account, client.get_webhook_delivery(delivery_id), now)
        except NotFoundError:
            log.info("delivery record %s is no longer listed", delivery_id)
