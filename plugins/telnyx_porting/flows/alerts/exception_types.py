"""The provider's own descriptions of exception codes, read once a day and kept: the last resort of alert texts."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from telnyx_porting.errors import TelnyxError
from telnyx_porting.flows.feeds import get_feed, touch_feed
from telnyx_porting.flows.identity import accept
from telnyx_porting.ledger.states import Feed

if TYPE_CHECKING:
    from telnyx_porting.client import TelnyxClient
    from telnyx_porting.flows.account import Account

log = logging.getLogger(__name__)
EVERY = timedelta(days=1)


def keep_exception_types(account: Account, client: TelnyxClient) -> None:
    """Read the list when it is a day old. It is a comfort: without it alerts say less, so no failure stops anything.

    :raises WrongAccountError: the connection does not lead to the account's own Telnyx user.
    """
    now = account.clock()
    with account.ledger.read() as connection:
        feed = get_feed(connection, account.id, Feed.EXCEPTION_TYPES)
    if feed is not None and feed["checked_at"] is not None and now - feed["checked_at"] < EVERY:
        return
    try:
        known = accept(account, client).list_exception_types()
    except TelnyxError as error:
        log.info("exception types of %s could not be read: %s", account.id, error)
        return
    with account.ledger.write() as connection:
        touch_feed(account.ledger, connection, account.id, Feed.EXCEPTION_TYPES, known=known, checked_at=now)
