"""The order whose events a person wants sent again: its events are read from Telnyx first, so that all are meant."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from telnyx_porting.errors import FormError, NotFoundError
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.events.coverage import scanned
from telnyx_porting.flows.events.store import store
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.tables import events

if TYPE_CHECKING:
    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account


def read_order(account: Account, client: TelnyxClient, order_id: str) -> None:
    """Store what Telnyx has of one order: the ledger may know none of its events, or only the newer ones.

    :raises FormError: neither Telnyx nor the ledger knows the order.
    :raises NotScannedError: the account was never scanned.
    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user.
    """
    now = account.clock()
    with account.ledger.read() as connection:
        scanned(connection, account.id)
    client = accept(account, client)
    if found := list(client.iter_porting_events(porting_order_id=order_id)):
        store(account, found, now)
        decide(account)
        return
    with account.ledger.read() as connection:
        mine = (events.c.account == account.id, events.c.order_id == order_id.lower())
        held = connection.execute(select(events.c.id).where(*mine).limit(1)).first()
    if held is None:
        try:
            client.get_porting_order(order_id)
        except NotFoundError:
            raise FormError(
                "porting_order_id", order_id, "an order of this account; Telnyx knows no such order"
            ) from None
