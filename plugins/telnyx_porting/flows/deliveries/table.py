"""Your own table as evidence: a team that already receives Telnyx's webhooks keeps its receiver and shows its rows.

The rows come from a query of yours; whoever runs it yields one mapping per received webhook:

    id           what tells two rows apart, stable
    received_at  when it was received: a time, ISO 8601 text, or Unix seconds; a time without a zone is read as UTC
    body         the webhook as received: JSON text, or what a column of JSON gives; it matches the row to an event
    webhook_id, event_type, order_id   instead of `body`, if the webhook's id equals the event's on your account
    signed_at    optional: the header `telnyx-timestamp` (a time or Unix seconds). Without it a republish is never
                 credited, because times of two clocks are not compared: its event is told "arrived otherwise"
    destination  optional
    ok           optional; false for rows of webhooks you refused, or have not taken yet (so is NULL)

Each look wants the newest row again of the day before the coverage ended. A row that was there and is not any more
stops the coverage: the query reads the time it is given otherwise than it was meant (another zone), or rows vanish,
maybe before they were read. After a day the coverage begins anew: what was due until then is never called missed.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import ColumnElement, Connection, func, select

from telnyx_porting.errors import MalformedWebhook, SettingsError
from telnyx_porting.flows.clock import read_clocks
from telnyx_porting.flows.deliveries.pull import HOLE, EvidenceResult, reach_back, store_deliveries
from telnyx_porting.flows.deliveries.receipts import UNTOLD, told_by
from telnyx_porting.flows.events.odd import keep_odd
from telnyx_porting.flows.events.store import CHUNK
from telnyx_porting.flows.feeds import NEVER_READ, get_feed, touch_feed
from telnyx_porting.ledger.bulk import chunks
from telnyx_porting.ledger.tables import deliveries
from telnyx_porting.ledger.types import Instant
from telnyx_porting.models.keys import WEBHOOK_TYPES
from telnyx_porting.models.reading import meant
from telnyx_porting.webhooks import parse_webhook

if TYPE_CHECKING:
    from telnyx_porting.flows.account import Account

log = logging.getLogger(__name__)
COLUMNS = ("id", "received_at", "body", "webhook_id", "event_type", "order_id", "signed_at", "destination", "ok")
SECOND = timedelta(seconds=1)
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
        feed, clocks = get_feed(connection, account.id, source) or NEVER_READ, read_clocks(connection, account.id)
        covered_until = feed["covered_until"]
        since = (covered_until or now - timedelta(days=account.settings.first_look_days)) - reach_back(account.settings)
        if covered_until is not None and (witness := _newest(connection, account.id, source, covered_until)):
            since = min(since, witness - 2 * SECOND)
    records = new = webhooks = 0
    there: set[str] = set()
    odd: list[str] = []
    proved: datetime | None = feed["proved_at"]
    first: list[datetime] = [feed["covers_from"]] if feed["covers_from"] else []
    for batch in chunks(rows(since), CHUNK):
        read = [_Row(account.id, source, row, now) for row in batch]
        if not there and proved is None and all(row.odd for row in read):
            raise SettingsError("evidence_query", *read[0].odd[0])
        odd += [f"row {row.values['source_id']}: {row.odd[0][0]}" for row in read if row.odd]
        records += len(read)
        new += store_deliveries(account, source, [row.values for row in read])
        for row in (row.values for row in read):
            there.add(row["source_id"])
            webhooks += row["type"] is not None
            if proved is None and row["type"] in WEBHOOK_TYPES:  # it vouches from its first port-in webhook on
                first.append(clocks.from_provider(row["signed_at"]) if row["signed_at"] else row["stored_at"])
    keep_odd(account, source, odd, now)
    proved = proved or (now if first else None)
    covered = now - account.settings.settle
    trouble = None
    with account.ledger.read() as connection:
        gone = _gone(connection, account.id, source, since, there) if covered_until else []
        nothing = not webhooks and not _showed(connection, account.id, source, now - HOLE)
    if covered_until is not None and gone:
        trouble = (
            f"rows that {source} showed are not shown any more ({len(gone)}, for example {gone[0]}): its query"
            " reads '{since}', a time with its zone, otherwise than it is meant, or rows are deleted within a day"
        )
        if now - covered_until > HOLE:
            first = [covered]
        else:
            covered = covered_until
    elif records and nothing:
        trouble = f"none of {records} rows that {source} shows is a webhook: look at its column `body`"
    columns = {"covers_from": min(first, default=None), "covered_until": covered, "proved_at": proved}
    with account.ledger.write() as connection:
        touch_feed(account.ledger, connection, account.id, source, checked_at=now, error=trouble, **columns)
    log.info("%s of %s: %d rows, %d not seen before", source, account.id, records, new)
    return EvidenceResult(account.id, source, records, new, proved is not None, covered, trouble)


def _newest(connection: Connection, account: str, source: str, until: datetime) -> datetime | None:
    """Return when the newest row of the day before came: a query that shows it again leaves out nothing newer."""
    day = (*_stored(account, source, until - HOLE), deliveries.c.stored_at <= until)
    return connection.execute(select(func.max(deliveries.c.stored_at, type_=Instant())).where(*day)).scalar()


def _gone(connection: Connection, account: str, source: str, since: datetime, there: set[str]) -> list[str]:
    """Return the rows held of this time that were not shown; at its very begin the query's precision decides."""
    held = select(deliveries.c.source_id).where(*_stored(account, source, since + SECOND))
    return sorted(set(connection.execute(held).scalars()) - there)


def _showed(connection: Connection, account: str, source: str, since: datetime) -> bool:
    """Whether it showed a webhook of this time, of whatever kind."""
    webhook = select(deliveries.c.source_id).where(*_stored(account, source, since), deliveries.c.type.is_not(None))
    return connection.execute(webhook.limit(1)).first() is not None


def _stored(account: str, source: str, since: datetime) -> tuple[ColumnElement[bool], ...]:
    return deliveries.c.account == account, deliveries.c.source == source, deliveries.c.stored_at >= since


class _Row:
    """One row as a delivery: what of it cannot be read is left out, and named in `odd` with what would be right."""

    def __init__(self, account: str, source: str, row: Mapping[str, Any], now: datetime) -> None:
        self.odd: list[tuple[str, str]] = []
        if not (named := row.get("id") not in (None, "")):
            self.odd.append(("a row without id", f"columns named {', '.join(COLUMNS)}"))
        received = self._time("received_at", row.get("received_at"))
        if received is None and not self.odd:
            self.odd.append(("a row without received_at", "the time each webhook was received"))
        self.values: dict[str, Any] = {
            "account": account,
            "source": source,
            "source_id": _short(str(row["id"])) if named else _digest(repr(sorted(row.items()))),
            "ok": self._flag("ok", row.get("ok", True)),
            "signed_at": self._time("signed_at", row.get("signed_at")),
            "stored_at": min(received or now, now),
            "destination": _text(row.get("destination")),
            **UNTOLD,
            "webhook_id": _text(row.get("webhook_id")),
            "type": _text(row.get("event_type")),
            "order_id": _text(row.get("order_id")),
        }
        if (body := row.get("body")) is not None:
            self._take(body)

    def _take(self, body: Any) -> None:
        """Read the webhook; a body that is none is kept, and matches nothing."""
        if isinstance(body, dict):  # a column of JSON
            body = json.dumps(body)
        if isinstance(body, str):
            body = body.encode(errors="surrogatepass")
        try:
            webhook = parse_webhook(bytes(memoryview(body)))  # a number is no body, nor so many zeros
        except (MalformedWebhook, TypeError):
            return
        self.values |= told_by(webhook)

    def _time(self, column: str, value: Any) -> datetime | None:
        if value is None or value == "":
            return None
        try:
            moment = meant(value if isinstance(value, datetime) else _moment(value))
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


def _moment(value: Any) -> datetime:
    """Read Unix seconds, with or without a fraction, in whatever type; else ISO 8601."""
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        return datetime.fromisoformat(str(value))
    return datetime.fromtimestamp(seconds, UTC)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)


def _short(text: str) -> str:
    return text if len(text) <= 300 and text.isprintable() else _digest(text)


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()
