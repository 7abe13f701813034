"""Your own table as evidence: a team that already receives Telnyx's webhooks keeps its receiver and shows its rows.

The rows come from a query of yours; whoever runs it yields one mapping per received webhook:

    id           what tells two rows apart, stable
    received_at  when it was received: aware datetime, or ISO 8601 text (without a zone it is read as UTC)
    body         the webhook as received, JSON text; it matches the row to an event
    webhook_id, event_type, order_id   instead of `body`, if the webhook's id equals the event's on your account
    signed_at    optional: the header `telnyx-timestamp` (a time or Unix seconds). Without it a republish is never
                 credited, because times of two clocks are not compared: its event is told "arrived otherwise"
    destination  optional
    ok           optional; false for rows of webhooks you refused, or have not taken yet (so is NULL)
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from telnyx_porting.errors import MalformedWebhook, SettingsError
from telnyx_porting.flows.chunks import chunks
from telnyx_porting.flows.evidence import EvidenceResult, reach_back, store_deliveries
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.flows.store import CHUNK
from telnyx_porting.models import WEBHOOK_TYPES
from telnyx_porting.webhooks import parse_webhook

if TYPE_CHECKING:
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.settings import Settings

log = logging.getLogger(__name__)
COLUMNS = ("id", "received_at", "body", "webhook_id", "event_type", "order_id", "signed_at", "destination", "ok")
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0", "")
Rows = Callable[[datetime], Iterable[Mapping[str, Any]]]


def read_table(
    ledger: Ledger, account: str, source: str, rows: Rows, settings: Settings, now: datetime
) -> EvidenceResult:
    """Read what a table of yours has received since the last look.

    :param source: ``table:<connection>``, the feed's name.
    :param rows: called with the time from which on rows are wanted (`received_at`); it may yield older ones.
    :raises SettingsError: naming the column that is missing or unreadable; the feed's coverage does not move.
    """
    with ledger.read() as connection:
        feed = get_feed(connection, account, source)
    covered_until = feed["covered_until"] if feed else None
    since = covered_until or now - timedelta(days=settings.first_look_days)
    records = new = 0
    proved: datetime | None = feed["proved_at"] if feed else None
    first: list[datetime] = [feed["covers_from"]] if feed and feed["covers_from"] else []
    for batch in chunks(rows(since - reach_back(settings)), CHUNK):
        found = [_row(account, source, row, now) for row in batch]
        records += len(found)
        new += store_deliveries(ledger, account, source, found)
        if proved is None:  # it vouches from its first port-in webhook on
            first += [row["stored_at"] for row in found if row["type"] in WEBHOOK_TYPES]
    proved = proved or (now if first else None)
    covered = now - settings.settle
    with ledger.write() as connection:
        columns = {"covers_from": min(first, default=None), "covered_until": covered}
        touch_feed(ledger, connection, account, source, checked_at=now, proved_at=proved, error=None, **columns)
    log.info("%s of %s: %d rows, %d not seen before", source, account, records, new)
    return EvidenceResult(account, source, records, new, proved is not None, covered)


def _row(account: str, source: str, row: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    if row.get("id") in (None, ""):
        raise SettingsError("evidence_query", "a row without id", f"columns named {', '.join(COLUMNS)}")
    received = _time("received_at", row.get("received_at"))
    if received is None:
        raise SettingsError("evidence_query", "a row without received_at", "the time each webhook was received")
    signed = _time("signed_at", row.get("signed_at"))
    common: dict[str, Any] = {
        "account": account,
        "source": source,
        "source_id": _short(str(row["id"])),
        "ok": _flag("ok", row.get("ok", True)),
        "signed_at": signed,
        "stored_at": min(received, now),
        "destination": _text(row.get("destination")),
        "webhook_id": _text(row.get("webhook_id")),
        "type": _text(row.get("event_type")),
        "order_id": _text(row.get("order_id")),
        "natural_key": None,
        "natural_at": None,
        "attempt": None,
        "occurred_at": None,
        "error_code": None,
    }
    if (body := row.get("body")) is None:
        return common
    try:
        webhook = parse_webhook(body.encode() if isinstance(body, str) else bytes(body))
    except (MalformedWebhook, UnicodeEncodeError, TypeError):
        return common  # kept, and it matches nothing
    key = webhook.natural_key
    return common | {
        "webhook_id": webhook.id,
        "type": webhook.event_type,
        "order_id": webhook.order_id,
        "natural_key": key.key if key else None,
        "natural_at": key.at if key else None,
        "attempt": webhook.attempt,
        "occurred_at": webhook.occurred_at,
    }


def _time(column: str, value: Any) -> datetime | None:
    if value is None or value == "":
        return None
    try:
        if isinstance(value, (int, float)) or (isinstance(value, str) and value.isdigit()):
            return datetime.fromtimestamp(float(value), UTC)
        moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        raise SettingsError("evidence_query", f"{column} {value!r}", "a time, ISO 8601 text or Unix seconds") from None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _flag(column: str, value: Any) -> bool:
    if isinstance(value, bytes):  # MySQL's BIT
        return any(value)
    written = str(value or "").lower()
    if isinstance(value, str) and written not in (*_TRUE, *_FALSE):
        raise SettingsError("evidence_query", f"{column} {value!r}", f"true or false ({', '.join(_TRUE)} are true)")
    return written not in _FALSE


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _short(text: str) -> str:
    return (
        text if len(text) <= 300 and text.isprintable() else hashlib.sha256(text.encode(errors="replace")).hexdigest()
    )
