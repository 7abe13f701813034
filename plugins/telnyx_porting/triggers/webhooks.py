"""The watcher of the ledger: it wakes the DAG that alerts, for a webhook about an exception and for a due message."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import aclosing
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from telnyx_porting.errors import REFUSED_SECRETS
from telnyx_porting.hooks.ledger import DEFAULT_CONN_ID, TelnyxLedgerHook
from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.triggers.polling import pause_after, to_the_end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from telnyx_porting.flows.identity import Identity
    from telnyx_porting.flows.orders.wakeups import Receipt
    from telnyx_porting.ledger.engine import Ledger

AGAIN = 10.0  # seconds after which what still waits is told again: Airflow may have dropped the wake-up
LONGEST = 60.0  # seconds between looks while the ledger cannot be read, and for an answer of Telnyx
ASK_AFTER = 60.0  # seconds between two questions to Telnyx what time it is
DUE = "alerts"  # instead of a receipt: a message is due
REFUSED_REST = 3600.0  # seconds without a question after a refusal: a wrong secret again and again locks accounts


class TelnyxPortingWebhooksTrigger(BaseEventTrigger):
    """
    Tell an asset that a webhook about an exception was verified, or that a message is due, for ``AssetWatcher``.

    Level-triggered: one event ``{"count", "accounts"}`` (counts by account) at once when a webhook came in that nobody
    has looked at, or when a message was not sent at its time; then every 10 s as long as one remains, at most for 10
    minutes each; and once when the receiver shows that a clock is wrong, or Telnyx, whose time is asked with one cheap
    GET a minute and account. An event is only a wake-up; who is woken reads the ledger. Looks at the accounts of the
    setting ``accounts``, in short queries, and writes nothing.
    A look that fails is logged and followed by longer pauses; nothing is raised, because Airflow restarts a watcher
    that raises every 2 s.

    :param ledger_conn_id: Airflow connection of the ledger
    :param poll_interval: seconds between looks
    """

    def __init__(self, *, ledger_conn_id: str = DEFAULT_CONN_ID, poll_interval: float = 0.5) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.ledger_conn_id = ledger_conn_id
        self.poll_interval = poll_interval

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "telnyx_porting.triggers.porting.TelnyxPortingWebhooksTrigger",
            {"ledger_conn_id": self.ledger_conn_id, "poll_interval": self.poll_interval},
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        wrong: dict[str, Identity] = {}
        asking = asyncio.create_task(self._ask_the_time(wrong))
        try:
            async with aclosing(self._look_for_ever(wrong)) as events:
                async for event in events:
                    yield event
        finally:
            asking.cancel()
            await asyncio.gather(asking, return_exceptions=True)

    async def _look_for_ever(self, wrong: dict[str, Identity]) -> AsyncGenerator[TriggerEvent]:
        from telnyx_porting.flows.orders.wakeups import CLOCK

        known: set[Receipt] = set()
        told_at, failures = 0.0, 0
        while True:
            try:
                async with TelnyxLedgerHook(self.ledger_conn_id).aget_ledger() as ledger:
                    while True:
                        found = await to_the_end(_look, ledger, dict(wrong))
                        failures = 0
                        waits = any(receipt != CLOCK for _, receipt in found)
                        if not found <= known or (waits and time.monotonic() - told_at >= AGAIN):
                            told_at = time.monotonic()
                            accounts = dict(Counter(account for account, _ in sorted(found)))
                            yield TriggerEvent({"count": len(found), "accounts": accounts})
                        known = found
                        await asyncio.sleep(self.poll_interval)
            except Exception as error:  # a watcher that raises is restarted every 2 s, without end
                failures += 1
                self.log.warning("The receiver's webhooks cannot be seen (%d in a row): %s", failures, error)
            await asyncio.sleep(min(pause_after(failures, self.poll_interval), LONGEST))

    async def _ask_the_time(self, wrong: dict[str, Identity]) -> None:
        """Keep in `wrong` the accounts whose Telnyx has another time than this machine, and who was asked."""
        from telnyx_porting.flows.clock import clock_differs
        from telnyx_porting.flows.identity import reached_by

        refused: dict[str, float] = {}
        while True:
            for account in (await asyncio.to_thread(load_settings)).accounts:
                if time.monotonic() < refused.get(account, 0.0):
                    continue
                try:
                    async with asyncio.timeout(LONGEST), TelnyxHook(account).aclient() as client:
                        await client.count_porting_events(created_at_gte=datetime.now(UTC))
                except REFUSED_SECRETS:  # so is this
                    refused[account] = time.monotonic() + REFUSED_REST
                    continue
                except Exception as error:  # that Telnyx does not answer is the scan's to tell
                    self.log.debug("Telnyx (%s) did not tell the time: %s", account, error)
                    continue
                wrong.pop(account, None)
                if clock_differs(client.clock_offset):
                    wrong[account] = reached_by(client)
            await asyncio.sleep(ASK_AFTER)


def _look(ledger: Ledger, wrong: dict[str, Identity]) -> set[Receipt]:
    from telnyx_porting.flows.alerts.dispatch import due_now
    from telnyx_porting.flows.identity import recognised
    from telnyx_porting.flows.orders.wakeups import clocks_wrong, waking

    if not ledger.is_there:
        return set()
    with ledger.read() as connection:
        accounts, now = load_settings().accounts, datetime.now(UTC)
        ours = {account for account, shown in wrong.items() if recognised(connection, account, shown)}
        due = {(each, DUE) for each in accounts if due_now(connection, each, load_settings(each), now)}
        return waking(connection, accounts, now) | clocks_wrong(connection, accounts, now, ours) | due
