"""What a plan will do, in words: how much, how old, and who gets it for the first time or once more."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import Connection, RowMapping, distinct, func, select

from telnyx_porting.escaping import place
from telnyx_porting.flows.deliveries.consumer import Record, find_record, why_no_record
from telnyx_porting.flows.feeds import NEVER_READ, get_feed
from telnyx_porting.flows.subscriptions import is_below
from telnyx_porting.ledger.states import Consent, Feed
from telnyx_porting.ledger.tables import deliveries, orders

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime, timedelta

    from telnyx_porting.flows.account import Account
    from telnyx_porting.flows.subscriptions import Destinations

LEFT_OUT: dict[str, str] = {  # why an event of a selection is not sent
    "no_uuid": "with an id that cannot be asked for",
    "no_payload": "without a payload yet",
    Consent.ARRIVED: "arrived already",
    Consent.PENDING: "not due yet or not judged",
    Consent.EMAIL_ONLY: "told by mail only",
    Consent.GIVEN_UP: "given up",
    Consent.SUPERSEDED: "superseded",
    Consent.DELETED: "about deletions",
    Consent.UNDETERMINED: "undetermined",
}
NAMED = 3  # own URLs of orders that are written out


def words(
    connection: Connection, account: Account, chosen: Sequence[RowMapping], destinations: Destinations, now: datetime
) -> str:
    """Return one paragraph for the person who approves."""
    order_ids = sorted({row["order_id"] for row in chosen if row["order_id"]})
    oldest = min(row["created_at"] for row in chosen)
    record = find_record(connection, account.id, account.settings, now)
    own = _own_urls(connection, account, order_ids) - set(destinations.webhooks)
    goes_to = [_destination(connection, account, record, chosen, url) for url in destinations.webhooks]
    goes_to += [f"{place(url)} (own URL of an order)" for url in sorted(own)[:NAMED]]
    if len(own) > NAMED:
        goes_to.append(f"{len(own) - NAMED} more URLs of orders")
    if not goes_to:
        goes_to.append("no webhook that is known")
    if destinations.mails is None:
        goes_to.append("possibly mail addresses (the subscriptions could not be read)")
    elif destinations.mails:
        count = len(destinations.mails)
        goes_to.append(f"{_counted(count, 'mail address', 'mail addresses')} ({_counted(count * len(chosen), 'mail')})")
    text = (
        f"{_counted(len(chosen), 'event')}, {_counted(len(order_ids), 'order')}, oldest {_age(now - oldest)}."
        f" Goes to: {', '.join(goes_to)}."
    )
    if (reason := why_no_record(connection, account.id, account.settings, now)) is not None:
        text += f" Whether it arrives cannot be confirmed: {reason}."
    return text


def left_out_words(left_out: Mapping[str, int]) -> str:
    """Return how many events are left out and why, as a list in words."""
    return ", ".join(f"{left_out[reason]} {plain}" for reason, plain in LEFT_OUT.items() if left_out.get(reason))


def _destination(
    connection: Connection, account: Account, record: Record | None, chosen: Sequence[RowMapping], url: str
) -> str:
    here = (deliveries.c.account == account.id, deliveries.c.destination == url)
    theirs = account.ledger.among(deliveries.c.event_id, [row["id"] for row in chosen])
    query = select(func.count(distinct(deliveries.c.event_id))).where(*here, theirs, deliveries.c.ok)
    if got := connection.execute(query).scalar_one():
        return f"{place(url)} (will get {'it' if got == len(chosen) else got} twice)"
    feed = get_feed(connection, account.id, Feed.DELIVERIES) or NEVER_READ
    seen = feed["proved_at"] is not None or decides(connection, account.id, record, url)
    return f"{place(url)} ({'missed it' if seen else 'may get it twice'})"


def decides(connection: Connection, account: str, record: Record | None, url: str) -> bool:
    """Whether this URL is the consumer of record."""
    if record is None:
        return False
    if record.prefix:
        return is_below(url, record.prefix)
    if url.endswith(f"/webhooks/telnyx/{account}"):
        return record.source == Feed.RECEIVER
    query = select(deliveries.c.source_id).where(
        deliveries.c.account == account, deliveries.c.source == record.source, deliveries.c.destination == url
    )
    return connection.execute(query.limit(1)).first() is not None


def _own_urls(connection: Connection, account: Account, order_ids: Sequence[str]) -> set[str]:
    theirs = (orders.c.account == account.id, account.ledger.among(orders.c.id, order_ids))
    query = select(orders.c.webhook_url).where(*theirs, orders.c.webhook_url.is_not(None))
    return set(connection.execute(query.distinct()).scalars())


def _counted(number: int, one: str, many: str | None = None) -> str:
    return f"{number} {one if number == 1 else many or one + 's'}"


def _age(age: timedelta) -> str:
    minutes = max(int(age.total_seconds() // 60), 0)
    if minutes < 120:
        return f"{minutes} min"
    return f"{minutes // 60} h" if minutes < 48 * 60 else f"{minutes // 1440} d"
