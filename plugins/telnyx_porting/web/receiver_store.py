"""The receiver's one writer: many webhooks, one commit (a commit to disk costs the same for one row as for hundreds).

What arrives while a commit is under way goes into the next one. Nothing else in the process writes to the ledger, and it
does so from one thread of its own, so a slow database never stops the event loop.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter, deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

from telnyx_porting.errors import LedgerError
from telnyx_porting.flows.receipts import store_receipts
from telnyx_porting.ledger.engine import Ledger

log = logging.getLogger(__name__)
HEARTBEAT = 10.0  # seconds
_AT_ONCE = 500  # rows per transaction: far below what holds up another writer


class Recorder:
    """Stores receipts durably, beats the heart, and knows whether the ledger takes writes.

    :param ledger: a durable ledger.
    :param accounts: the accounts this receiver answers for.
    """

    def __init__(self, ledger: Ledger, accounts: tuple[str, ...]) -> None:
        self.healthy = False
        self._ledger = ledger
        self._accounts = accounts
        self._waiting: deque[tuple[Mapping[str, Any], asyncio.Future[None]]] = deque()
        self._refused: Counter[str] = Counter()
        self._wake = asyncio.Event()
        self._closing = False
        self._thread = ThreadPoolExecutor(1, "receipts")

    def refuse(self, account: str) -> None:
        """Count a refused signature; it is written with the next heartbeat."""
        self._refused[account] += 1

    async def keep(self, receipt: Mapping[str, Any], seconds: float) -> bool:
        """Return True once the receipt is on disk, False when it was not in time (it may be stored later or never)."""
        self._refused.pop(receipt["account"], None)
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((receipt, done))
        self._wake.set()
        try:
            await asyncio.wait_for(done, seconds)
        except (TimeoutError, LedgerError):
            return False
        return True

    async def run(self) -> None:
        """Write until :meth:`close` is called and everything that waits is written."""
        while not self._closing or self._waiting:
            await self._write()
            if not self._waiting and not self._closing:
                self._wake.clear()
                try:
                    await asyncio.wait_for(self._wake.wait(), HEARTBEAT)
                except TimeoutError:
                    continue

    def close(self) -> None:
        """Write what waits, and end."""
        self._closing = True
        self._wake.set()

    async def _write(self) -> None:
        batch = []
        while self._waiting and len(batch) < _AT_ONCE:
            receipt, done = self._waiting.popleft()
            if not done.done():  # else its sender was told 503 already
                batch.append((receipt, done))
        refused, self._refused = self._refused, Counter()
        receipts = [receipt for receipt, _ in batch]
        try:
            await asyncio.get_running_loop().run_in_executor(
                self._thread,
                store_receipts,
                self._ledger,
                self._accounts,
                receipts,
                refused,
                datetime.now(UTC),
            )
        except Exception as error:  # whatever it is: nobody is told 200, and the writer goes on
            self._refused.update(refused)
            self._say(
                healthy=False, reason=str(error) if isinstance(error, LedgerError) else type(error).__name__
            )
            for _, done in batch:
                if not done.done():
                    done.set_exception(LedgerError("not stored"))
            await asyncio.sleep(0.05)
        else:
            self._say(healthy=True)
            for _, done in batch:
                if not done.done():
                    done.set_result(None)

    def _say(self, *, healthy: bool, reason: str = "") -> None:
        if healthy and not self.healthy:
            log.info("the ledger takes what is received")
        elif not healthy and self.healthy:
            log.error("webhooks are answered 503 until the ledger takes them: %s", reason)
        self.healthy = healthy
