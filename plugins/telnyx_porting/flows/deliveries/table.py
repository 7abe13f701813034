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
from telnyx_porting.flows.clock import read_clocks
from telnyx_porting.flows.deliveries.pull import EvidenceResult, reach_back, store_deliveries
from telnyx_porting.flows.events.odd import keep_odd
from telnyx_porting.flows.events.store import CHUNK
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.ledger.chunks import chunks
from telnyx_porting.models import WEBHOOK_TYPES, meant
from telnyx_porting.webhooks import parse_webhook

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account

log = logging.getLogger(__name__)
COLUMNS = ("id", "received_at", "body", "webhook_id", "event_type", "order_id", "signed_at", "destination", "ok")
_TRUE, _FALSE = ("true", "t", "yes", "y", "1"), ("false", "f", "no", "n", "0", "")
Rows = Callable[[datetime], Iterable[Mapping[str, Any]]]


def read_table(account: Account, source: str, rows: Rows) -> EvidenceResult:
    """Read what a table of yours has received since the last look.

    :param source: ``table:<connection>``, the feed's name.
    :param rows: called with the time from which on rows are wanted (`received_at`); it may yield older ones.
    :raises SettingsError: not one row can be read as it is meant, of a table that never showed a port-in webhook: the
        query is to be mended. Names the column and its value; the feed's coverage does not move.
    """
    now = account.clock()
    with account.ledger.read() as connection:
        feed, clocks = get_feed(connection, account.id, source), read_clocks(connection, account.id)
    covered_until = feed["covered_until"] if feed else None
    since = covered_until or now - timedelta(days=account.settings.first_look_days)
    records = new = 0
    odd: list[str] = []
    proved: datetime | None = feed["proved_at"] if feed else None
    first: list[datetime] = [feed["covers_from"]] if feed and feed["covers_from"] else []
    for batch in chunks(rows(since - reach_back(account.settings)), CHUNK):
        read = [_Row(account.id, source, row, now) for row in batch]
        if not records and proved is None and all(row.odd for row in read):
            raise SettingsError("evidence_query", *read[0].odd[0])
        odd += [f"row {row.values['source_id']}: {row.odd[0][0]}" for row in read if row.odd]
        found = [row.values for row in read]
        records += len(found)
        new += store_deliveries(account, source, found)
        if proved is None:  # it vouches from its first port-in webhook on
            for row in (row for row in found if row["type"] in WEBHOOK_TYPES):
                first.append(clocks.from_provider(row["signed_at"]) if row["signed_at"] else row["stored_at"])
    keep_odd(account, source, odd, now)
    proved = proved or (now if first else None)
    covered = now - account.settings.settle
    with account.ledger.write() as connection:
        columns = {"covers_from": min(first, default=None), "covered_until": covered}
        touch_feed(
            account.ledger, connection, account.id, source, checked_at=now, proved_at=proved, error=None, **columns
        )
    log.info("%s of %s: %d rows, %d not seen before", source, account.id, records, new)
    return EvidenceResult(account.id, source, records, new, proved is not None, covered)


class _Row:
    """One row as a delivery: what of it cannot be read is left out, and named in `odd` with what would be right."""

    def __init__(self, account: str, source: str, row: Mapping[str, Any], now: datetime) -> None:
        self.odd: list[tuple[str, str]] = []
        if row.get("id") in (None, ""):
            self.odd.append(("a row without id", f"columns named {', '.join(COLUMNS)}"))
        received = self._time("received_at", row.get("received_at"))
        if received is None and not self.odd:
            self.odd.append(("a row without received_at", "the time each webhook was received"))
        self.values: dict[str, Any] = {
            "account": account,
            "source": source,
            "source_id": _short(str(row["id"]))
            if row.get("id") not in (None, "")
            else _digest(repr(sorted(row.items()))),
            "ok": self._flag("ok", row.get("ok", True)),
            "signed_at": self._time("signed_at", row.get("signed_at")),
            "stored_at": min(received or now, now),
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
        if (body := row.get("body")) is not None:
            self._take(body)

    def _take(self, body: Any) -> None:
        """Read the webhook; a body that is none is kept, and matches nothing."""
        try:
            webhook = parse_webhook(body.encode(errors="surrogatepass") if isinstance(body, str) else bytes(body))
        except (MalformedWebhook, TypeError):
            return
        key = webhook.natural_key
        self.values |= {
            "webhook_id": webhook.id,
            "type": webhook.event_type,
            "order_id": webhook.order_id,
            "natural_key": key.key if key else None,
            "natural_at": key.at if key else None,
            "attempt": webhook.attempt,
            "occurred_at": webhook.occurred_at,
        }

    def _time(self, column: str, value: Any) -> datetime | None:
        if value is None or value == "":
            return None
        moment = None
        try:
            if isinstance(value, (int, float)) or (isinstance(value, str) and value.isdigit()):
                moment = datetime.fromtimestamp(float(value), UTC)
            else:
                moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
            moment = meant(moment)
        except (ValueError, OverflowError, OSError):
            moment = None
        if moment is None:
            self.odd.append((f"{column} {str(value)[:60]!r}", "a time, ISO 8601 text or Unix seconds"))
        return moment

    def _flag(self, column: str, value: Any) -> bool:
        """Read whether you took it; what is neither yes nor no proves nothing."""
        if isinstance(value, bytes):  # MySQL's BIT
            return any(value)
        written = str(value or "").lower()
        if isinstance(value, str) and written not in (*_TRUE, *_FALSE):
            self.odd.append((f"{column} {value[:60]!r}", f"true or false ({', '.join(_TRUE)} are true)"))
            return False
        return written not in _FALSE


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _short(text: str) -> str:
    return text if len(text) <= 300 and text.isprintable() else _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
