"""The watcher of the receiver: at once when a webhook came in, again while it waits, else silent; it never raises."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk._shared.module_loading import import_string
from airflow.sdk.serde import deserialize, serialize
from sqlalchemy import insert, update

from telnyx_porting.compat import IS_3_3
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.receipts import read_receipt, store_receipts
from telnyx_porting.flows.findings.health import health
from telnyx_porting.flows.orders.wakeups import looked_at, to_look_at
from telnyx_porting.ledger.tables import alerts
from telnyx_porting.triggers import watching as watchers
from telnyx_porting.triggers.porting import TelnyxPortingWebhooksTrigger
from tests.support.receivers import ACCOUNT, encode, webhook

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger
    from tests.support.ledgers import OpenLedger

pytestmark = pytest.mark.airflow


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the ledger will be, as an Airflow connection."""
    found = tmp_path / "ledger.db"
    monkeypatch.setenv("AIRFLOW_CONN_TELNYX_PORTING_LEDGER", json.dumps({"conn_type": "sqlite", "host": str(found)}))
    return found


@pytest.fixture
def ledger(path: Path, open_ledger: OpenLedger) -> Ledger:
    return open_ledger(path).ready()


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """When it looked."""
    real, found = watchers._look, []

    def look(ledger: Ledger, wrong: Any) -> Any:
        found.append(time.monotonic())
        return real(ledger, wrong)

    monkeypatch.setattr(watchers, "_look", look)
    return found


def hear(ledger: Ledger, count: int = 1, account: str = ACCOUNT) -> None:
    """So many verified webhooks about exceptions come in."""
    now = datetime.now(UTC)
    bodies = []
    for _ in range(count):
        document = webhook()
        document["data"]["payload"]["status"]["value"] = "exception"
        bodies.append(encode(document))
    store_receipts(ledger, [account], [read_receipt(account, body, now, "/", now) for body in bodies], {}, now)


def look_at_all(ledger: Ledger) -> None:
    looked_at(Account(ledger, ACCOUNT), to_look_at(Account(ledger, ACCOUNT))[0])


def trigger() -> TelnyxPortingWebhooksTrigger:
    return TelnyxPortingWebhooksTrigger(poll_interval=0.01)


class Watching:
    """A watcher that runs, and what it has told so far."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.at: list[float] = []

    async def __aenter__(self) -> Watching:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_error: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        async with aclosing(trigger().run()) as events:
            async for event in events:
                self.told.append(event.payload)
                self.at.append(time.monotonic())

    async def until(self, condition: Callable[[], bool], seconds: float = 20) -> None:
        async with asyncio.timeout(seconds):
            while not condition():
                assert not self._task.done(), self._task
                await asyncio.sleep(0.005)


def test_round_trip() -> None:
    made = TelnyxPortingWebhooksTrigger(ledger_conn_id="another", poll_interval=2.5)
    path, arguments = made.serialize()
    assert import_string(path) is TelnyxPortingWebhooksTrigger
    carried = deserialize(serialize(arguments))
    assert TelnyxPortingWebhooksTrigger(**carried).serialize() == (path, arguments)
    assert not IS_3_3 or made.shared_stream_key() is None


async def test_tells_at_once_when_more_wait_and_not_what_it_told(ledger: Ledger, looks: list[float]) -> None:
    async with Watching() as watching:
        await watching.until(lambda: len(looks) >= 3)
        assert watching.told == []
        await asyncio.to_thread(hear, ledger, 2)
        await watching.until(lambda: len(watching.told) == 1)
        seen = len(looks)
        await watching.until(lambda: len(looks) >= seen + 10)
        assert watching.told == [{"count": 2, "accounts": {ACCOUNT: 2}}]
        await asyncio.to_thread(hear, ledger)
        await watching.until(lambda: len(watching.told) == 2)
        assert watching.told[1] == {"count": 3, "accounts": {ACCOUNT: 3}}


async def test_another_one_is_told_also_when_no_more_wait_than_before(ledger: Ledger, looks: list[float]) -> None:
    await asyncio.to_thread(hear, ledger)
    async with Watching() as watching:
        await watching.until(lambda: len(watching.told) == 1)
        await asyncio.to_thread(look_at_all, ledger)
        await asyncio.to_thread(hear, ledger)
        await watching.until(lambda: len(watching.told) == 2)


async def test_tells_again_every_ten_seconds_while_any_remains(
    ledger: Ledger, looks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watchers.AGAIN == 10
    monkeypatch.setattr(watchers, "AGAIN", 0.3)
    await asyncio.to_thread(hear, ledger)
    async with Watching() as watching:
        await watching.until(lambda: len(watching.told) == 3)
        gaps = [after - before for before, after in zip(watching.at, watching.at[1:], strict=False)]
        assert all(gap >= 0.29 for gap in gaps)
        await asyncio.to_thread(look_at_all, ledger)
        told, seen = len(watching.told), len(looks)
        await watching.until(lambda: looks[-1] > looks[seen - 1] + 0.4)
        assert len(watching.told) <= told + 1  # one look may have been under way


async def test_nothing_is_told_and_nothing_is_made_without_a_ledger(path: Path, looks: list[float]) -> None:
    async with Watching() as watching:
        await watching.until(lambda: len(looks) >= 5)
        assert watching.told == []
    assert not path.exists()


async def test_a_broken_ledger_is_survived(
    path: Path, looks: list[float], monkeypatch: pytest.MonkeyPatch, open_ledger: OpenLedger
) -> None:
    monkeypatch.setattr(watchers, "LONGEST", 0.01)
    path.write_bytes(b"no database" * 1_000)
    async with Watching() as watching:
        await watching.until(lambda: len(looks) >= 4)
        path.unlink()
        await asyncio.to_thread(lambda: hear(open_ledger(path).ready()))
        await watching.until(lambda: len(watching.told) == 1)


async def test_an_impossible_connection_is_survived(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchers, "LONGEST", 0.01)
    asked = []
    real = watchers.TelnyxLedgerHook.aget_ledger

    def ask(self: Any) -> Any:
        asked.append(self)
        return real(self)

    monkeypatch.setattr(watchers.TelnyxLedgerHook, "aget_ledger", ask)
    monkeypatch.setenv("AIRFLOW_CONN_TELNYX_PORTING_LEDGER", json.dumps({"conn_type": "mysql", "host": "db"}))
    async with Watching() as watching:
        await watching.until(lambda: len(asked) >= 3)
        assert watching.told == []


async def test_accounts_that_nobody_watches_wake_nobody(ledger: Ledger, looks: list[float]) -> None:
    await asyncio.to_thread(hear, ledger, 1, "another")
    async with Watching() as watching:
        await watching.until(lambda: len(looks) >= 5)
        assert watching.told == []


async def test_a_look_needs_no_turn_among_the_writers(ledger: Ledger) -> None:
    await asyncio.to_thread(hear, ledger, 3)
    with ledger.write():
        async with Watching() as watching:
            await watching.until(lambda: len(watching.told) == 1, 10)


async def test_a_message_that_is_due_wakes_until_it_is_sent(
    ledger: Ledger, looks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TELNYX_PORTING_ALERT_CHANNELS", "desk:json")
    monkeypatch.setattr(watchers, "AGAIN", 0.05)
    row = {"account": ACCOUNT, "key": "exception:1", "occurrence": 1, "channel": "desk:json", "group_key": "g"}
    due = {"status": "queued", "action": "firing", "next_at": datetime.now(UTC) - timedelta(seconds=6)}
    async with Watching() as watching:
        await watching.until(lambda: len(looks) >= 3)
        assert watching.told == []
        with ledger.write() as connection:
            connection.execute(insert(alerts).values(**row, **due))
        await watching.until(lambda: len(watching.told) >= 3)
        assert watching.told[0] == {"count": 1, "accounts": {ACCOUNT: 1}}
        with ledger.write() as connection:
            connection.execute(update(alerts).values(status="sent", next_at=None))
        seen = len(looks)
        await watching.until(lambda: len(looks) >= seen + 3)
        told = len(watching.told)
        await watching.until(lambda: len(looks) >= seen + 30)
        assert len(watching.told) == told


async def test_a_wrong_clock_is_told_once(ledger: Ledger, looks: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody marks it as looked at, so it is not repeated: the finding ends it, and the schedule is the sweep."""
    monkeypatch.setattr(watchers, "AGAIN", 0.02)
    async with Watching() as watching:
        store_receipts(ledger, [ACCOUNT], [], {ACCOUNT: 1}, datetime.now(UTC), {ACCOUNT: timedelta(seconds=-400)})
        await watching.until(lambda: bool(watching.told))
        so_far = len(looks)
        await watching.until(lambda: len(looks) > so_far + 20)
        assert len(watching.told) == 1
        hear(ledger)
        await watching.until(lambda: len(watching.told) >= 3)
        look_at_all(ledger)


async def test_a_wrong_clock_of_this_machine_is_told_within_a_minute_though_no_receiver_sees_it(
    ledger: Ledger, sandbox: RunningSandbox, conn_id: str, looks: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert watchers.ASK_AFTER == 60
    monkeypatch.setattr(watchers, "ASK_AFTER", 0.05)

    def asked() -> int:
        return int(sandbox.requests()["total"])

    async with Watching() as watching:
        await watching.until(lambda: asked() >= 2)
        assert watching.told == []
        sandbox.switches(clock_skew_seconds=-400)
        await watching.until(lambda: watching.told == [{"count": 1, "accounts": {conn_id: 1}}])
        health(Account(ledger, conn_id), "clock_skew", "the clocks differ")
        before, looked = asked(), len(looks)
        await watching.until(lambda: asked() > before + 2 and len(looks) > looked + 5)
        assert len(watching.told) == 1
    assert not [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
