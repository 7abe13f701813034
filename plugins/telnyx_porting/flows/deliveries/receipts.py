"""Receipts: what the receiver has verified becomes a `deliveries` row, and its feed says since when it counts.

A receipt's identity is (account, signed timestamp, sha256 of the body): the same pair again is a replay and adds
nothing, the same body under a newly signed timestamp is a new delivery. Of the body nothing is kept but what matches
it to an event.

What is written here is all that the receiver's database role may write: docs/operations.md has its grants.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from sqlalchemy import case, func, select, text

from telnyx_porting.client.clock import read_difference
from telnyx_porting.errors import MalformedWebhook
from telnyx_porting.flows.clock import kept_offset
from telnyx_porting.flows.feeds import NEVER_READ, noted_outages
from telnyx_porting.ledger.engine import Ledger, excluded
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import deliveries, feeds
from telnyx_porting.models.keys import WEBHOOK_TYPES
from telnyx_porting.webhooks import parse_webhook

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from sqlalchemy import Connection

    from telnyx_porting.models.records import Webhook

ON_ITS_WAY = timedelta(seconds=5)  # nothing signed later than that ago is worth looking up
_LONGEST = 300  # characters: longer than any id of Telnyx, short enough for an index of every database
UNTOLD = dict.fromkeys(("webhook_id", "type", "order_id", "natural_key", "natural_at", "attempt", "occurred_at"))
"""What a delivery's row says of its webhook where that cannot be read."""

_BEAT = {
    "heartbeat": excluded("heartbeat"),
    "covers_from": func.coalesce(feeds.c.covers_from, excluded("covers_from")),
    "proved_at": func.coalesce(feeds.c.proved_at, excluded("proved_at")),
    "refused": case(
        (excluded("covers_from").is_not(None), excluded("refused")),
        else_=feeds.c.refused + excluded("refused"),
    ),
    "clock_offset": func.coalesce(excluded("clock_offset"), feeds.c.clock_offset),
    "outages": noted_outages(),
}


def told_by(webhook: Webhook) -> dict[str, Any]:
    """Return what a delivery's row says of its webhook: which event it is about, and which try it was."""
    key = webhook.natural_key
    return {
        "webhook_id": webhook.id,
        "type": webhook.event_type,
        "order_id": webhook.order_id,
        "natural_key": key.key if key else None,
        "natural_at": key.at if key else None,
        "attempt": webhook.attempt,
        "occurred_at": webhook.occurred_at,
    }


def read_receipt(account: str, body: bytes, signed_at: datetime, path: str, now: datetime) -> dict[str, Any]:
    """Turn a verified webhook into its `deliveries` row; one of unknown shape becomes a row that matches nothing.

    :param signed_at: the signature's timestamp, the provider's clock.
    :param path: where it came in; the destination when the webhook does not name one.
    :raises MalformedWebhook: the body is no JSON object.
    """
    row: dict[str, Any] = {
        "account": account,
        "source": Feed.RECEIVER,
        "source_id": f"{int(signed_at.timestamp())}:{hashlib.sha256(body).hexdigest()}",
        "ok": True,
        "signed_at": signed_at,
        "stored_at": now,
        "destination": path,
        **UNTOLD,
    }
    try:
        webhook = parse_webhook(body)
    except MalformedWebhook:
        _require_object(body)
        return row
    row |= {name: _short(value) for name, value in told_by(webhook).items()}
    if (at := row["natural_at"]) is not None and not (at.isascii() and at.isprintable()):
        row["natural_at"] = None
    return row | {"destination": _short(webhook.delivered_to) or path}


def _short(value: Any) -> Any:
    return None if isinstance(value, str) and len(value) > _LONGEST else value


def _require_object(body: bytes) -> None:
    try:
        value = json.loads(body)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise MalformedWebhook("the body is no JSON object")


def store_receipts(
    ledger: Ledger,
    accounts: Iterable[str],
    receipts: Sequence[Mapping[str, Any]],
    refused: Mapping[str, int],
    now: datetime,
    stale: Mapping[str, timedelta] = MappingProxyType({}),
) -> None:
    """Store receipts and the heartbeat of every account in one transaction.

    A gap of more than a minute since the last heartbeat is kept as an outage: whether the receiver was down, frozen or
    without its database, no webhook was accepted.

    :param accounts: the accounts this receiver answers for.
    :param receipts: rows of :func:`read_receipt`.
    :param refused: per account, signatures refused since the last accepted one or the last call.
    :param stale: per account, how far off the newest of them was that was refused for its time only.
    :raises LedgerError: nothing was stored.
    """
    with ledger.write() as connection:
        if not ledger.is_sqlite:
            connection.execute(text("SET LOCAL synchronous_commit = on"))  # whatever the server's default is
        offsets = {**_offsets(connection, receipts), **stale}
        beats = []
        for account in accounts:
            mine = [row for row in receipts if row["account"] == account]
            port_ins = (row["signed_at"] for row in mine if row["type"] in WEBHOOK_TYPES)
            beat = {"account": account, "source": Feed.RECEIVER, "heartbeat": now, "refused": refused.get(account, 0)}
            beat |= {"covers_from": min((row["signed_at"] for row in mine), default=None)}
            beat |= {"proved_at": min(port_ins, default=None)}
            beat["clock_offset"] = offsets[account] // timedelta(milliseconds=1) if account in offsets else None
            beats.append(beat)
        ledger.upsert(connection, deliveries, receipts)
        ledger.upsert(connection, feeds, beats, change=_BEAT)


def _offsets(connection: Connection, receipts: Sequence[Mapping[str, Any]]) -> dict[str, timedelta]:
    """Return the provider's clock minus ours: a replay does not tell it, and time on the way only makes it less."""
    late = [row["source_id"] for row in receipts if row["stored_at"] - row["signed_at"] > ON_ITS_WAY]
    held: set[tuple[str, str]] = set()
    if late:
        query = select(deliveries.c.account, deliveries.c.source_id)
        query = query.where(deliveries.c.source == Feed.RECEIVER, deliveries.c.source_id.in_(late))
        held = {(row.account, row.source_id) for row in connection.execute(query)}
    found: dict[str, timedelta] = {}
    for row in receipts:
        account, offset = row["account"], read_difference(row["signed_at"], row["stored_at"])
        if (account, row["source_id"]) not in held:
            found[account] = max(offset, found.get(account, offset))
    return found


def reading_ages(ledger: Ledger, accounts: Iterable[str], now: datetime) -> dict[str, float | None]:
    """Return how long ago each account's newest sealed window ends, in seconds; None where there is none.

    :param now: the receiver's clock.
    :raises LedgerError: the ledger cannot be read.
    """
    query = select(feeds).where(feeds.c.source.in_((Feed.EVENTS, Feed.RECEIVER)))
    with ledger.read() as connection:
        known = {(feed["account"], feed["source"]): feed for feed in connection.execute(query).mappings()}
    ages: dict[str, float | None] = {}
    for account in accounts:
        end = known.get((account, Feed.EVENTS), NEVER_READ)["covered_until"]
        telnyx_now = now + (kept_offset(known.get((account, Feed.RECEIVER))) or timedelta(0))
        ages[account] = None if end is None else (telnyx_now - end).total_seconds()
    return ages
