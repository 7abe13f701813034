"""Identity: whose events these are. A flow takes a `TelnyxClient` and has it accepted before it asks anything.

First contact pins the connection's base URL and key, and the Telnyx user as soon as an order shows one (nothing in the
Events API does). From then on, per client: another base URL is refused before a request is made; the same key is the
same user, without a request; another key must show an order of the pinned user. Until a user is pinned, another key
begins anew where the ledger holds nothing of the account, and is refused where it holds something.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NewType

from sqlalchemy import Connection, delete, select, update

from telnyx_porting.client import AsyncTelnyxClient, TelnyxClient
from telnyx_porting.errors import PermissionDeniedError, WrongAccountError
from telnyx_porting.flows.account import Account, get_account, touch_account, watched_since
from telnyx_porting.ledger.states import Feed
from telnyx_porting.ledger.tables import accounts, deliveries, events, feeds, orders, windows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from telnyx_porting.ledger.engine import Ledger

# what is read with the account's key
PULLED = (Feed.EVENTS, Feed.ORDERS, Feed.DELIVERIES, Feed.SUBSCRIPTIONS, Feed.EXCEPTION_TYPES)
_OR_ELSE = "or use another connection id (another account), or another ledger"

AccountClient = NewType("AccountClient", TelnyxClient)
"""A client that is known to reach the account's own Telnyx user; only this module makes one."""


@dataclass(frozen=True)
class Identity:
    """Who answers a client, as far as it is known."""

    base_url: str | None
    key: str | None  # a fingerprint
    user_id: str | None = None


def accept(account: Account, client: TelnyxClient, *, pin: bool = True) -> AccountClient:
    """Return the client once it is known to reach the account's own Telnyx user; pin who that is at first contact.

    One GET for a client with a new key, or as long as no order has shown the user; else none.

    :param pin: else nothing is written.
    :raises WrongAccountError: it reaches somebody else, or nobody knows whom; nothing was written.
    :raises TelnyxError: a new key could not be looked at.
    """
    now = account.clock()
    shown = _shown(account, client)
    with account.ledger.read() as connection:
        if _judged(connection, account.id, shown) == shown or not pin:
            return AccountClient(client)
    with account.ledger.write(f"identity:{account.id}") as connection:
        pinned = _judged(connection, account.id, shown)
        columns: dict[str, Any] = {"base_url": shown.base_url, "key_fingerprint": shown.key}
        if shown.user_id:
            columns["user_id"] = shown.user_id
        if pinned.user_id is None and pinned.key not in (None, shown.key):
            _forget(connection, account.id)
        if watched_since(connection, account.id) is None:
            columns["watch_from"] = now
        touch_account(account.ledger, connection, account.id, **columns)
    return AccountClient(client)


def reached_by(client: TelnyxClient | AsyncTelnyxClient) -> Identity:
    """Return what the client itself tells: where it goes, and with which key."""
    return Identity(client.base_url, hashlib.sha256(client.key_fingerprint.encode()).hexdigest()[:16])


def recognised(connection: Connection, account: str, shown: Identity) -> bool:
    """Whether these are the base URL and the key that were accepted last, or none was yet; costs no request."""
    pinned = _pinned(connection, account)
    return pinned.base_url is None or (pinned.base_url, pinned.key) == (shown.base_url, shown.key)


def claim_orders(ledger: Ledger, connection: Connection, account: str, users: Iterable[str | None]) -> None:
    """Call in the transaction that stores orders: pins the user they show, where none is pinned yet.

    :param users: whose each order is, as Telnyx says.
    :raises WrongAccountError: one of them is another user's.
    """
    shown = sorted(set(filter(None, users)))
    if not shown:
        return
    pinned = _pinned(connection, account).user_id
    if pinned is None:
        ledger.lock(connection, f"identity:{account}")
        pinned = _pinned(connection, account).user_id
        if pinned is None:
            touch_account(ledger, connection, account, user_id=shown[0])
            pinned = shown[0]
    if strangers := [user for user in shown if user != pinned]:
        raise WrongAccountError(
            f"account {account!r} belongs to Telnyx user {pinned}, an order it lists to {strangers[0]}:"
            f" nothing of this reading is stored; look where its connection points, {_OR_ELSE}"
        )


def _shown(account: Account, client: TelnyxClient) -> Identity:
    """Who answers; asked only where the key does not tell, and never of another base URL."""
    shown = reached_by(client)
    with account.ledger.read() as connection:
        pinned = _pinned_there(connection, account.id, shown)
    if pinned.user_id and pinned.key == shown.key:
        return pinned
    try:
        user_id = client.get_user_id()
    except PermissionDeniedError:  # a key that may not read orders does not show whose it is
        user_id = None
    return replace(shown, user_id=user_id)


def _judged(connection: Connection, account: str, shown: Identity) -> Identity:
    """Return what is pinned, or raise when it is not who answers."""
    pinned = _pinned_there(connection, account, shown)
    now_to = f"to {shown.user_id}" if shown.user_id else "to nobody who can be told: it shows no order"
    if pinned.user_id and pinned.user_id != shown.user_id:
        raise WrongAccountError(
            f"account {account!r} belongs to Telnyx user {pinned.user_id}, its key now {now_to}:"
            f" put a key of that user into its connection, {_OR_ELSE}"
        )
    if not pinned.user_id and pinned.key not in (None, shown.key) and _holds_anything(connection, account):
        raise WrongAccountError(
            f"account {account!r} was read with another key before an order showed whose it is, its key now belongs"
            f" {now_to}: put the former key back into its connection, {_OR_ELSE}"
        )
    return pinned


def _pinned_there(connection: Connection, account: str, shown: Identity) -> Identity:
    """Return who is pinned, or raise where it is at another base URL."""
    pinned = _pinned(connection, account)
    if pinned.base_url and pinned.base_url != shown.base_url:
        raise WrongAccountError(
            f"account {account!r} was first seen at {pinned.base_url}, its connection now points to {shown.base_url}:"
            f" point it back, {_OR_ELSE}"
        )
    return pinned


def _pinned(connection: Connection, account: str) -> Identity:
    row = get_account(connection, account)
    return Identity(row["base_url"], row["key_fingerprint"], row["user_id"]) if row else Identity(None, None)


def _holds_anything(connection: Connection, account: str) -> bool:
    """Whether anything that was read with the account's key is held."""
    pulled = (deliveries.c.account == account, deliveries.c.source == Feed.DELIVERIES)
    queries = [select(table.c.id).where(table.c.account == account) for table in (events, orders)]
    queries.append(select(deliveries.c.source_id).where(*pulled))
    return any(connection.execute(query.limit(1)).first() for query in queries)


def _forget(connection: Connection, account: str) -> None:
    """Begin anew: what was proved with another key, though it was only that there is nothing, says nothing of this."""
    connection.execute(update(accounts).where(accounts.c.account == account).values(watch_from=None, record=None))
    connection.execute(delete(feeds).where(feeds.c.account == account, feeds.c.source.in_(PULLED)))
    connection.execute(delete(windows).where(windows.c.account == account))
