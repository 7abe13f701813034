"""The watchers of assets: one tells of new port-in events and needs no ledger, one wakes the DAG that alerts."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import Asset
from airflow.triggers.base import BaseEventTrigger, TriggerEvent

from telnyx_porting.compat import asset_state
from telnyx_porting.errors import REFUSED_SECRETS
from telnyx_porting.hooks.inputs import as_time
from telnyx_porting.hooks.ledger import DEFAULT_CONN_ID, TelnyxLedgerHook
from telnyx_porting.hooks.outputs import for_airflow
from telnyx_porting.hooks.settings import load_settings
from telnyx_porting.hooks.telnyx import TelnyxHook
from telnyx_porting.triggers.polling import pause_after, to_the_end

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, AsyncIterator

    from telnyx_porting.client import AsyncTelnyxClient
    from telnyx_porting.flows.identity import Identity
    from telnyx_porting.flows.orders.wakeups import Receipt
    from telnyx_porting.ledger.engine import Ledger

CURSOR = "telnyx_porting_events:created_at"
PERSISTED_AFTER = 5.0  # seconds until an event that left here is surely in Airflow's database
MAX_IDS = 500  # ids in one event, which Airflow logs and stores whole


class TelnyxPortingEventsTrigger(BaseEventTrigger):
    """
    Tell an asset about new port-in events, for ``AssetWatcher``.

    ::

        events = Asset(
            "port_in_events",
            watchers=[
                AssetWatcher(
                    name="telnyx",
                    trigger=TelnyxPortingEventsTrigger(asset_name="port_in_events", telnyx_conn_id="telnyx_default"),
                )
            ],
        )

    One event per poll that found something: ``{"count", "event_ids", "since", "until"}`` (several when there are more
    than 500). The cursor is kept in the asset's state, one poll behind, and each poll looks ``overlap`` back: after a
    restart events may be told twice, none is left out that became visible within the overlap. The first start begins
    at its own time (on Airflow 3.2, which keeps no cursor, every start: it looks ``overlap`` back and no further).
    Treat an event as a wake-up: Airflow may put several into one run. Polls that fail are logged
    and followed by longer pauses; nothing is raised, because Airflow restarts a watcher that raises every 2 s.

    :param asset_name: name of the watched asset, whose state keeps the cursor
    :param telnyx_conn_id: connection of type ``telnyx``
    :param event_type: tell only about this type
    :param poll_interval: seconds between polls
    :param overlap: seconds that each poll looks back behind the cursor
    """

    def __init__(
        self,
        *,
        asset_name: str,
        telnyx_conn_id: str = TelnyxHook.default_conn_name,
        event_type: str | None = None,
        poll_interval: float = 60.0,
        overlap: float = 300.0,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.asset_name = asset_name
        self.telnyx_conn_id = telnyx_conn_id
        self.event_type = event_type
        self.poll_interval = poll_interval
        self.overlap = overlap
        self._cursor: datetime | None = None
        self._told: dict[str, datetime] = {}
        self._unsafe: list[tuple[float, datetime]] = []  # cursors whose events may not be in Airflow's database yet

    def serialize(self) -> tuple[str, dict[str, Any]]:
        return (
            "telnyx_porting.triggers.porting.TelnyxPortingEventsTrigger",
            {
                "asset_name": self.asset_name,
                "telnyx_conn_id": self.telnyx_conn_id,
                "event_type": self.event_type,
                "poll_interval": self.poll_interval,
                "overlap": self.overlap,
            },
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        failures = 0
        while True:
            try:
                async with TelnyxHook(self.telnyx_conn_id).aclient() as client:
                    while True:
                        for event in await self._poll(client):
                            yield TriggerEvent(for_airflow(event))
                        failures = 0
                        await asyncio.sleep(self.poll_interval)
            except Exception as error:  # a watcher that raises is restarted every 2 s, without end
                failures += 1
                self.log.warning("Poll failed (%d in a row): %s", failures, error)
            await asyncio.sleep(pause_after(failures, self.poll_interval))

    async def load_cursor(self) -> datetime | None:
        """Read the cursor from the asset's state; None when there is none yet."""
        if (store := asset_state(self)) is None:
            return None
        stored = await store[Asset.ref(name=self.asset_name)].aget(CURSOR)
        return as_time("cursor", stored) if isinstance(stored, str) else None

    async def save_cursor(self, cursor: datetime) -> None:
        if (store := asset_state(self)) is not None:
            await store[Asset.ref(name=self.asset_name)].aset(CURSOR, cursor.isoformat())

    async def _poll(self, client: AsyncTelnyxClient) -> list[dict[str, Any]]:
        if self._cursor is None:
            self._cursor = await self.load_cursor() or await self._begin(client)
        await self._keep_what_is_safe()
        since, until = self._cursor - timedelta(seconds=self.overlap), datetime.now(UTC)
        fresh: list[str] = []
        windows = client.iter_proved_windows(since, until, self.event_type)
        async with aclosing(windows) as proved:
            async for window in proved:
                fresh.extend(event.id for event in window.rows if event.id not in self._told)
        self._told = {each: told for each, told in self._told.items() if told >= since}
        self._told.update(dict.fromkeys(fresh, until))
        self._cursor = max(self._cursor, self._not_after_provider(client, until))
        self._unsafe.append((time.monotonic(), self._cursor))
        parts = [fresh[start : start + MAX_IDS] for start in range(0, len(fresh), MAX_IDS)]
        about = {"since": since.isoformat(), "until": until.isoformat()}
        return [{"count": len(part), "event_ids": part, **about} for part in parts]

    async def _begin(self, client: AsyncTelnyxClient) -> datetime:
        """Begin now, and keep that at once: else a restart before the first event would leave out the time between."""
        now = datetime.now(UTC)
        await client.count_porting_events(created_at_gte=now)  # the answer brings the provider's clock
        cursor = self._not_after_provider(client, now)
        await self.save_cursor(cursor)
        return cursor

    async def _keep_what_is_safe(self) -> None:
        """Keep the newest cursor whose events have left for the database long enough ago."""
        limit = time.monotonic() - PERSISTED_AFTER
        safe = [cursor for told_at, cursor in self._unsafe if told_at <= limit]
        if safe:
            await self.save_cursor(safe[-1])
            del self._unsafe[: len(safe)]

    @staticmethod
    def _not_after_provider(client: AsyncTelnyxClient, moment: datetime) -> datetime:
        """Hold a time of our clock back to the provider's: what that one writes next must not lie behind the cursor."""
        return min(moment, moment + (client.clock_offset or timedelta(0)))


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
