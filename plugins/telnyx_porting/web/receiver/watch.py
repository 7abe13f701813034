"""How old the watch's newest complete reading is, asked of the ledger seldom however often it is asked of us."""

from __future__ import annotations

import asyncio
import logging
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from sqlalchemy.exc import ProgrammingError

from telnyx_porting.errors import LedgerError
from telnyx_porting.flows.deliveries.receipts import reading_ages
from telnyx_porting.web.receiver.store import describe

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from telnyx_porting.ledger.engine import Ledger

log = logging.getLogger(__name__)
_KEEP = 2.0  # seconds an answer is used again


class Watch:
    """Age of each account's newest sealed window.

    :param accounts: the accounts that must be read.
    :param limit: the age at which something is wrong.
    """

    def __init__(self, ledger: Ledger, accounts: Sequence[str], limit: timedelta) -> None:
        self.limit = limit.total_seconds()
        self._ledger = ledger
        self._accounts = accounts
        self._asking = asyncio.Lock()
        self._asked_at = float("-inf")
        self._ages: dict[str, float | None] | None = None

    async def ages(self) -> dict[str, float | None] | None:
        """Return seconds per account, None for one never read; None as a whole when the ledger cannot be read."""
        async with self._asking:
            if time.monotonic() - self._asked_at > _KEEP:
                try:
                    self._ages = await asyncio.to_thread(reading_ages, self._ledger, self._accounts, datetime.now(UTC))
                except (LedgerError, ProgrammingError) as error:
                    log.warning("/watch cannot read the ledger: %s", describe(error))
                    self._ages = None
                self._asked_at = time.monotonic()
        return self._ages
