"""A simulated provider over real sockets, a ledger, and time that the test sets."""

from __future__ import annotations

import asyncio
import time
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select

from telnyx_porting.client import TelnyxClient
from telnyx_porting.client.clock import Clock
from telnyx_porting.flows.account import Account, watched_since
from telnyx_porting.flows.events.scan import ScanResult, scan
from telnyx_porting.flows.feeds import get_feed
from telnyx_porting.ledger.tables import events, windows
from telnyx_porting.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger

ACCOUNT = "telnyx_default"
MINUTE, HOUR, DAY = timedelta(minutes=1), timedelta(hours=1), timedelta(days=1)


class HurriedClock(Clock):
    """Waiting takes no time, but time has passed."""

    def __init__(self) -> None:
        self.skipped = 0.0
        self.passed = 0.0

    def pass_by(self, time_between: timedelta) -> None:
        """Let the time between two scans pass for whoever waits, forwards; what o'clock it is, the test itself says."""
        self.passed += max(time_between.total_seconds(), 0.0)

    def time(self) -> float:
        return time.time() + self.skipped

    def monotonic(self) -> float:
        return time.monotonic() + self.skipped + self.passed

    async def sleep(self, seconds: float) -> None:
        self.skipped += seconds
        await asyncio.sleep(0)


CLOCK = HurriedClock()  # one for all: the pacer of an account is one per process


class Provider:
    """The simulator's events at times of the test's own, ten days before now so that no clock is passed."""

    def __init__(self, sandbox: RunningSandbox, ledger: Ledger, **knobs: Any) -> None:
        self.sandbox, self.ledger = sandbox, ledger
        sandbox.reset("empty")
        sandbox.control("DELETE", "/switches")
        sandbox.clear_faults()
        sandbox.rate_limit(100_000)
        self.settings = Settings(**{"first_look_days": 2, **knobs})
        self.now = (datetime.now(UTC) - 10 * DAY).replace(microsecond=0)
        self.order = sandbox.order()
        self.clock: Clock = CLOCK

    @contextmanager
    def client(self) -> Iterator[TelnyxClient]:
        with TelnyxClient(self.sandbox.api_key, self.sandbox.base_url, timeout=5, clock=self.clock) as client:
            yield client

    def event(self, *before: timedelta, **fields: Any) -> list[str]:
        """Let events be created so long before now."""
        rows = [{"order_id": self.order, "created_at": (self.now - age).isoformat(), **fields} for age in before]
        return [made["id"] for made in self.sandbox.insert(*rows)]

    def scan(self, after: timedelta = 5 * MINUTE, **knobs: Any) -> ScanResult:
        """Let time pass, then scan."""
        self.now += after
        CLOCK.pass_by(after)
        with self.client() as client:
            return scan(Account(self.ledger, ACCOUNT, self.settings.model_copy(update=knobs), lambda: self.now), client)

    # -- what is true, and what is held --------------------------------------------------------------------------------

    def truth(self) -> dict[str, tuple[datetime, bool]]:
        """Every event of the provider: when it was created, and whether it is complete."""
        with self.client() as client:
            found = list(client.iter_porting_events())
        return {e.id: (e.created_at, e.payload_status == "completed") for e in found if e.created_at}

    def held(self) -> dict[str, tuple[datetime, bool]]:
        with self.ledger.read() as connection:
            query = select(events.c.id, events.c.created_at, events.c.payload_status).where(events.c.account == ACCOUNT)
            return {row.id: (row.created_at, row.payload_status == "completed") for row in connection.execute(query)}

    def feed(self) -> dict[str, Any]:
        with self.ledger.read() as connection:
            return dict(get_feed(connection, ACCOUNT, "events") or {})

    def watched_since(self) -> datetime | None:
        with self.ledger.read() as connection:
            return watched_since(connection, ACCOUNT)

    def open_windows(self) -> list[str]:
        with self.ledger.read() as connection:
            query = select(windows.c.open_reason).where(windows.c.sealed_at.is_(None))
            return list(connection.execute(query).scalars())

    def check_seals(self, late: Iterable[str] = ()) -> None:
        """Nothing the ledger vouches for is missing, no sealed window is unequal, no row is there twice.

        :param late: events that came after what they belong to was sealed.
        """
        truth, held, feed = self.truth(), self.held(), self.feed()
        if feed.get("covered_until"):
            low, high = feed["covers_from"], feed["covered_until"]
            missing = [i for i, (at, _) in truth.items() if low <= at <= high and i not in held and i not in late]
            assert not missing, f"{len(missing)} events inside the coverage are missing"
        with self.ledger.read() as connection:
            rows = connection.execute(select(windows).where(windows.c.sealed_at.is_not(None))).all()
            for row in rows:
                assert row.held == row.counted, row
                if row.made_by == "backfill":
                    inside = {i for i, (at, _) in truth.items() if row.since <= at <= row.until}
                    assert inside <= held.keys()
            doubled = select(events.c.id).group_by(events.c.account, events.c.id).having(func.count() > 1)
            assert not connection.execute(doubled).all()
