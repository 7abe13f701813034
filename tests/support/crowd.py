"""Very many rows at once, as they are after a backfill: written by one statement, whatever their number."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from telnyx_porting.ledger.types import microseconds
from tests.support.rows import ACCOUNT, NOW, OLD, add_feed, add_watch

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger

_ORDER = "printf('%08x-1111-4000-8000-000000000000', n / 10)"
_STATUS = "CASE n % 10 WHEN 9 THEN 'exception' ELSE 'status-' || n % 10 END"
_AT = ":begin + n * 10000000"
_WRITTEN = f"strftime('%Y-%m-%dT%H:%M:%S', ({_AT}) / 1000000, 'unixepoch')"


def crowd(ledger: Ledger, count: int, webhook_id: str = "id") -> None:
    """Store events that nobody has judged, ten of each order, and a receipt of three quarters of them.

    :param webhook_id: SQL over the events: what their webhooks' ids are.
    """
    add_feed(ledger)
    add_watch(ledger, since=OLD)
    named = {
        "account": ACCOUNT,
        "count": count,
        "begin": microseconds(NOW - timedelta(days=25)),
        "now": microseconds(NOW),
    }
    unjudged = (
        "WITH RECURSIVE number (n) AS (SELECT 0 UNION ALL SELECT n + 1 FROM number WHERE n + 1 < :count)"
        " INSERT INTO porting_events (account, id, type, order_id, created_at, updated_at, payload_status, methods,"
        " has_webhook, natural_key, natural_at, copies, value, payload, first_seen_at)"
        " SELECT :account, printf('%08x-0000-4000-8000-000000000000', n), 'porting_order.status_changed',"
        f" {_ORDER}, {_AT}, {_AT}, 'completed', '[\"email\",\"webhook\"]', 1,"
        f" 'status_changed:' || {_ORDER} || ':' || {_STATUS} || ':' || {_WRITTEN}, {_WRITTEN} || 'Z', 1, {_STATUS},"
        " '{}', :now FROM number"
    )
    receipts = (
        "INSERT INTO porting_deliveries (account, source, source_id, webhook_id, type, order_id, natural_key,"
        " natural_at, destination, ok, attempt, occurred_at, signed_at, stored_at)"
        f" SELECT account, 'receiver', id, {webhook_id}, type, order_id, natural_key, natural_at, '/', 1, 1,"
        " created_at, created_at + 1000000, created_at + 1000000 FROM porting_events WHERE rowid % 4 > 0"
    )
    with ledger.write() as connection:
        connection.exec_driver_sql(unjudged, named)
        connection.exec_driver_sql(receipts)
