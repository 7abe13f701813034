"""How soon people hear of an exception, whenever it falls between two runs: the bounds that the guide gives hold."""

from __future__ import annotations

import heapq
import random
import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from telnyx_porting.client import TelnyxClient
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.dispatch import due_now
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.events.store import store
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.flows.orders.sync import sync_orders
from tests.support.places import ROOT
from tests.support.watched import Watched, quick

if TYPE_CHECKING:
    from collections.abc import Iterator

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.ledger.engine import Ledger
    from telnyx_porting.models.events import PortingEvent

PHASES = 40
MINUTE = timedelta(minutes=1)
STARTS_WITHIN = timedelta(seconds=10)  # of being woken


class Day(Watched):
    """A watched account whose DAGs run by the default intervals, a little early or late; the watcher wakes them."""

    client: TelnyxClient
    sandbox: RunningSandbox
    listed: list[tuple[datetime, PortingEvent]]
    runs: list[tuple[datetime, str]]
    jitter: random.Random

    def begin(self) -> None:
        self.listed, self.runs, self.jitter = [], [], random.Random(7)
        self.plan("scan", timedelta(minutes=2))
        self.plan("look", timedelta(0))

    def plan(self, what: str, after: timedelta) -> None:
        heapq.heappush(self.runs, (self.now + after, what))

    def until(self, at: datetime) -> None:
        """Let what is planned run until then."""
        while self.runs[0][0] <= at:
            self.now, what = heapq.heappop(self.runs)
            early = timedelta(seconds=self.jitter.uniform(-5, 5))
            if what == "scan":
                self.plan("scan", self.settings.scan_every + early)
                if self.scan():
                    self.plan("woken", STARTS_WITHIN)
            else:
                if what == "look":
                    self.plan("look", self.settings.look_every + early)
                self.run()
        self.now = at

    def watch(self, at: datetime) -> None:
        """The same, with the watcher of the ledger: it looks all the time."""
        while self.now < at:
            self.until(min(self.now + timedelta(seconds=15), at))
            with self.ledger.read() as connection:
                due = due_now(connection, self.account, self.settings, self.now)
            if due and not any(what == "woken" for _, what in self.runs):
                self.plan("woken", STARTS_WITHIN)

    def scan(self) -> int:
        """Take what Telnyx lists; a scan stays behind by `settle`."""
        seen = [event for made, event in self.listed if made <= self.now - self.settings.settle]
        self.listed = [(made, event) for made, event in self.listed if made > self.now - self.settings.settle]
        store(Account(self.ledger, self.account), seen, self.now)
        self.feed(covered_until=self.now - self.settings.settle)
        return len(seen)

    def run(self) -> None:
        account = Account(self.ledger, self.account, self.settings, lambda: self.now)
        sync_orders(account, self.client)
        reconcile(account, enqueue)
        send_due(account, self.send)

    def fall(self, order: str, *, listed: bool) -> None:
        """The order falls into exception, and its event is stuck, or not even listed."""
        known = {event.id for event in self.client.iter_porting_events(porting_order_id=order)}
        self.sandbox.act(order, "status", value="exception", force=True, codes=["OTHER"], never_completes=True)
        if listed:
            news = [one for one in self.client.iter_porting_events(porting_order_id=order) if one.id not in known]
            assert [event.payload for event in news] == [None]
            self.listed += [(self.now, event) for event in news]

    def waited(self, order: str, since: datetime) -> timedelta:
        """Run on until people are told; give how long it took."""
        while f"exception:{order}" not in {key for action, key, _ in self.told() if action == "firing"}:
            assert self.now - since < timedelta(hours=3), "never told"
            self.watch(self.now + MINUTE / 2)
        return self.now - since


@pytest.fixture
def day(ledger: Ledger, sandbox: RunningSandbox) -> Iterator[Day]:
    sandbox.reset("empty")
    sandbox.clear_faults()
    knobs = quick(group_wait=2 * MINUTE, group_interval=15 * MINUTE, remind_high_days=0)
    watched = Day(ledger, knobs, now=datetime.now(UTC))
    with TelnyxClient(sandbox.api_key, sandbox.base_url) as client:
        watched.client, watched.sandbox = client, sandbox
        watched.begin()
        yield watched


def bound(way: str) -> timedelta:
    """The last column of a row of the guide's table."""
    guide = (ROOT / "docs" / "operations.md").read_text()
    (row,) = [line for line in guide.splitlines() if line.startswith(f"| {way}")]
    found = re.search(r"at most (\d+) min \|$", row)
    assert found, row
    return int(found[1]) * MINUTE


@pytest.mark.parametrize(("way", "listed"), [("its event", True), ("nothing but the order", False)])
def test_whenever_an_order_falls_into_exception_it_is_told_within_the_guides_bound(
    day: Day, sandbox: RunningSandbox, way: str, listed: bool
) -> None:
    orders = [sandbox.order(status="in-process") for _ in range(PHASES)]
    day.until(day.now + 20 * MINUTE)  # every order was read
    waits = []
    for phase, order in enumerate(orders):
        day.until(day.now + day.settings.group_interval + day.settings.look_every * (phase / PHASES))
        day.fall(order, listed=listed)
        waits.append(day.waited(order, day.now))
    assert max(waits) <= bound(way), sorted(waits)[-5:]


@pytest.mark.parametrize(
    ("minutes", "knobs", "wakes"),
    [
        (2, {}, True),
        (1, {}, False),  # it waits for others of its group
        (14, {}, False),  # left to the schedule
        (2, {"alert_channels": ("other:json",)}, False),  # nobody would send it
        (2, {"alert_channels": ()}, False),
        (2, {"problems": ("an invalid setting",)}, False),  # every task of the account stands still
    ],
)
def test_the_watcher_wakes_only_for_what_would_be_sent(
    ledger: Ledger, minutes: int, knobs: dict[str, Any], wakes: bool
) -> None:
    watched = Watched(ledger, quick(group_wait=2 * MINUTE))
    watched.cycle()
    watched.status(1, "exception")
    watched.cycle()
    watched.later(minutes=minutes, seconds=6)
    settings = watched.settings.model_copy(update=knobs)
    with ledger.read() as connection:
        assert due_now(connection, watched.account, settings, watched.now) is wakes


def test_the_watcher_wakes_neither_for_what_was_told_nor_for_a_channel_that_rests(ledger: Ledger) -> None:
    watched = Watched(ledger, quick(group_wait=2 * MINUTE))
    watched.cycle()
    watched.status(1, "exception")
    watched.broken = {"desk:json"}
    watched.look()
    for seconds, wakes in ((130, True), (1, False), (70, True)):  # due; failed a moment ago; its pause is over
        watched.later(seconds=seconds)
        with ledger.read() as connection:
            assert due_now(connection, watched.account, watched.settings, watched.now) is wakes
        if wakes:
            watched.cycle()
    watched.broken = set()
    for _ in range(3):
        watched.later(minutes=3)
        watched.cycle()
    assert watched.told()
    watched.later(seconds=10)
    with ledger.read() as connection:
        assert not due_now(connection, watched.account, watched.settings, watched.now)
