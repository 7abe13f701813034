"""The receiver's one writer: a commit to disk costs the same for one webhook as for hundreds, so they share it.

What arrives while a commit is under way goes into the next one. Nothing else in the process writes to the ledger,
and it does so in a thread of its own, so that a slow database never stops the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.exc import ProgrammingError

from telnyx_porting.errors import LedgerError
from telnyx_porting.flows.receipts import store_receipts

if TYPE_CHECKING:
    from collections.abc import Mapping

    from telnyx_porting.ledger.engine import Ledger

    Waiting: TypeAlias = tuple[Mapping[str, Any], asyncio.Future[bool]]

log = logging.getLogger(__name__)
HEARTBEAT = 10.0  # seconds
_AT_ONCE = 500  # rows per transaction: far below what holds up another writer
_ENOUGH = 32  # rows worth a commit of their own
_GATHER = 0.002  # seconds to wait for that many


def describe(error: BaseException) -> str:
    """Say what is wrong with the ledger, and nothing of what could not be stored."""
    if isinstance(error, LedgerError):
        return str(error)
    if isinstance(error, ProgrammingError):  # no such table, or no right to it
        return str(error.orig).partition("\n")[0]
    return type(error).__name__


class Recorder:
    """Stores receipts durably, beats the heart, and knows whether the ledger takes writes.

    :param ledger: a durable ledger.
    :param accounts: the accounts this receiver answers for.
    """

    def __init__(self, ledger: Ledger, accounts: tuple[str, ...]) -> None:
        self.healthy: bool | None = None  # whether the last write succeeded; None before the first
        self._ledger = ledger
        self._accounts = accounts
        self._waiting: list[Waiting] = []
        self._refused: Counter[str] = Counter()
        self._writing = False
        self._gathering: asyncio.TimerHandle | None = None
        self._thread = ThreadPoolExecutor(1, "receipts")

    def refuse(self, account: str) -> None:
        """Count a refused signature; the count is written with the next heartbeat."""
        self._refused[account] += 1

    async def keep(self, receipt: Mapping[str, Any], seconds: float) -> bool:
        """Return True once the receipt is on disk.

        :param seconds: after them the answer is False, and the receipt may be stored or not.
        """
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[bool] = loop.create_future()
        self._refused.pop(receipt["account"], None)
        self._waiting.append((receipt, stored))
        if not self._writing:
            if len(self._waiting) >= _ENOUGH:
                self._write()
            elif self._gathering is None:
                self._gathering = loop.call_later(_GATHER, self._write)
        too_late = loop.call_later(seconds, _settle, stored, False)
        try:
            return await stored
        finally:
            too_late.cancel()

    async def beat(self) -> None:
        """Write a heartbeat now and then, until cancelled. Every write is one."""
        while True:
            self._write()
            await asyncio.sleep(HEARTBEAT)

    async def close(self) -> None:
        """Write what waits, and a last heartbeat."""
        self._write()
        while self._writing:
            await asyncio.sleep(0.01)

    def _write(self) -> None:
        """Start a commit of what waits, unless one is under way: its end starts the next."""
        if self._gathering is not None:
            self._gathering.cancel()
            self._gathering = None
        if self._writing:
            return
        self._writing = True
        batch = [one for one in self._waiting[:_AT_ONCE] if not one[1].done()]  # done: told 503 already
        del self._waiting[:_AT_ONCE]
        refused, self._refused = self._refused, Counter()
        writing = asyncio.get_running_loop().run_in_executor(
            self._thread,
            store_receipts,
            self._ledger,
            self._accounts,
            [receipt for receipt, _ in batch],
            refused,
            datetime.now(UTC),
        )
        writing.add_done_callback(partial(self._written, batch, refused))

    def _written(self, batch: list[Waiting], refused: Counter[str], writing: asyncio.Future[None]) -> None:
        error = writing.exception()
        if error is not None:
            self._refused.update(refused)
        self._note(error)
        for _, stored in batch:
            _settle(stored, error is None)
        self._writing = False
        if self._waiting:
            self._write()

    def _note(self, error: BaseException | None) -> None:
        if error is None and self.healthy is False:
            log.info("the ledger takes webhooks again")
        elif error is not None and self.healthy is not False:
            log.error("webhooks are answered 503 until the ledger takes them: %s", describe(error))
        self.healthy = error is None


def _settle(stored: asyncio.Future[bool], outcome: bool) -> None:
    if not stored.done():
        stored.set_result(outcome)
