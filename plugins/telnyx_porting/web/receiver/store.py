"""The receiver and the ledger: its one writer, and how old the watch's newest reading is.

A commit to disk costs the same for one webhook as for hundreds, so they share it: what arrives while a commit is under
way goes into the next one, which starts at once. Nothing else in the process writes to the ledger; the writer is a
thread, so that a slow disk or database never stops the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from datetime import UTC, datetime
from queue import Empty, SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy.exc import ProgrammingError

from telnyx_porting.errors import LedgerError, SettingsError
from telnyx_porting.flows.deliveries.receipts import reading_ages, store_receipts

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta

    from telnyx_porting.ledger.engine import Ledger

    Waiting: TypeAlias = tuple[Mapping[str, Any], asyncio.Future[bool]]
    Refused: TypeAlias = tuple[str, timedelta | None]
    from collections.abc import Sequence
    from datetime import timedelta

log = logging.getLogger(__name__)
HEARTBEAT = 10.0  # seconds
_AT_ONCE = 500  # rows per transaction: far below what holds up another writer
_ENOUGH = 32  # rows worth a commit of their own
_GATHER = 0.002  # seconds to wait for that many


def describe(error: BaseException) -> str:
    """Say what is wrong, and nothing of what could not be stored."""
    if isinstance(error, (LedgerError, SettingsError)):
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
        self._queue: SimpleQueue[Waiting | Refused | None] = SimpleQueue()  # None: the end
        self._thread: Thread | None = None

    def start(self) -> None:
        """Write a first heartbeat, and go on."""
        self._thread = Thread(target=self._work, args=(asyncio.get_running_loop(),), name="receipts")
        self._thread.start()

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    async def close(self) -> None:
        """Write what waits and a last heartbeat, and end."""
        self._queue.put(None)
        while self.alive:
            await asyncio.sleep(0.01)

    def refuse(self, account: str, offset: timedelta | None = None) -> None:
        """Count a refused signature; the count is written with the next heartbeat.

        :param offset: how far its time is off, where that alone is wrong.
        """
        self._queue.put((account, offset))

    async def keep(self, receipt: Mapping[str, Any], seconds: float) -> bool:
        """Return True once the receipt is on disk.

        :param seconds: after them the answer is False, and the receipt may be stored or not.
        """
        loop = asyncio.get_running_loop()
        stored: asyncio.Future[bool] = loop.create_future()
        self._queue.put((receipt, stored))
        too_late = loop.call_later(seconds, _settle, stored, False)
        try:
            return await stored
        finally:
            too_late.cancel()

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        refused: Counter[str] = Counter()
        stale: dict[str, timedelta] = {}
        ended = False
        batch: list[Waiting] = []
        while True:
            now = datetime.now(UTC)
            error: BaseException | None = None
            try:
                store_receipts(self._ledger, self._accounts, [receipt for receipt, _ in batch], refused, now, stale)
                refused.clear()
                stale.clear()
            except Exception as problem:  # whatever it is: nobody is told 200, and the writer goes on
                error = problem
            self._note(error)
            loop.call_soon_threadsafe(_settle_all, batch, error is None)
            if ended:
                return
            batch, ended = self._next(refused, stale)

    def _next(self, refused: Counter[str], stale: dict[str, timedelta]) -> tuple[list[Waiting], bool]:
        """Wait for something to store or for the time of a heartbeat, and take what there is."""
        batch: list[Waiting] = []
        until = time.monotonic() + HEARTBEAT
        gathered = False
        while len(batch) < _AT_ONCE:
            try:
                item = self._queue.get(timeout=0 if batch else max(0.0, until - time.monotonic()))
            except Empty:
                return batch, False
            if item is None:
                return batch, True
            if isinstance(item[0], str):
                account, offset = item
                refused[account] += 1
                if offset is not None:
                    stale[account] = offset
            elif not item[1].done():  # else its sender has been told 503
                refused.pop(item[0]["account"], None)
                stale.pop(item[0]["account"], None)
                batch.append(item)
                if not gathered and self._queue.qsize() < _ENOUGH:
                    time.sleep(_GATHER)
                gathered = True
        return batch, False

    def _note(self, error: BaseException | None) -> None:
        if error is None and self.healthy is False:
            log.info("the ledger takes webhooks again")
        elif error is not None and self.healthy is not False:
            log.error("webhooks are answered 503 until the ledger takes them: %s", describe(error))
        self.healthy = error is None


def _settle_all(batch: list[Waiting], outcome: bool) -> None:
    for _, stored in batch:
        _settle(stored, outcome)


def _settle(stored: asyncio.Future[bool], outcome: bool) -> None:
    if not stored.done():
        stored.set_result(outcome)


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
