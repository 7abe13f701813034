"""The closed loop over the simulator: scan, look, plan, approve, execute, with a clock that jumps over the waiting."""

from __future__ import annotations

from collections import Counter
from contextlib import closing, contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from telnyx_porting.client import TelnyxClient
from telnyx_porting.errors import NothingToSendError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.deliveries.pull import read_deliveries
from telnyx_porting.flows.deliveries.settle import VerdictsResult, settle
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.findings.health import watch_clock
from telnyx_porting.flows.orders.sync import sync_orders
from telnyx_porting.flows.republish.advance import Done, Halted, Wait, advance
from telnyx_porting.flows.republish.gates import approve, needs_person, unsafe
from telnyx_porting.flows.republish.plan import Plan, make_plan
from telnyx_porting.flows.subscriptions import read_destinations
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import events, findings, republishes
from telnyx_porting.settings import Settings
from tests.scenarios.clock import Shifted
from tests.scenarios.ear import Ear
from tests.support.ledgers import new_file
from tests.support.moves import watched_moves

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from include.sandbox.testing import RunningSandbox
    from telnyx_porting.flows.republish.selection import Asked

ACCOUNT = "telnyx_default"
KNOBS: dict[str, Any] = {
    "republish_mode": "auto",
    "consumer_is_idempotent": True,
    "auto_approve_max": 10_000,
    "republish_daily_cap": 100_000,
    "republish_per_second": 100.0,
    "republish_unconfirmed": 1_000,
    "first_look_days": 1,
}
MINUTE = 60.0


class Loop:
    """One account, its provider, its receiver and its ledger."""

    def __init__(self, sandbox: RunningSandbox, ledger: Ledger, folder: Path, **knobs: Any) -> None:
        self.sandbox, self.ledger = sandbox, ledger
        self.clock_file = folder / "clock"
        self.clock = Shifted(self.clock_file)
        self.provider_skew = 0.0
        self.scanned = self.clock.now()
        self.settings = Settings(**{**KNOBS, **knobs})
        sandbox.reset("empty", seed=1)
        sandbox.clear_faults()
        sandbox.control("DELETE", "/switches")
        sandbox.delivery_rules(deadline_seconds=2.0, retry_delays=[0.02, 0.02])
        self.ear = Ear(ledger, ACCOUNT, sandbox.public_key, self.clock.now)
        self.client = TelnyxClient(sandbox.api_key, sandbox.base_url, clock=self.clock).__enter__()

    def use(self, **knobs: Any) -> None:
        """Change settings."""
        self.settings = Settings(**{**self.settings.model_dump(), **knobs})

    # -- time ----------------------------------------------------------------------------------------------------

    def jump(self, seconds: float) -> None:
        """Let time pass for everybody; what is on its way has arrived or is lost before."""
        self.sandbox.settle()
        self.ear.beat()
        self.clock.seconds += max(seconds, 0.0)
        self.sandbox.switches(clock_skew_seconds=self.clock.seconds + self.provider_skew)
        self.sandbox.settle()
        if seconds > 30:
            self.ear.has_beaten()
        self.ear.beat()

    def skew(self, *, provider: float = 0.0, receiver: float = 0.0) -> None:
        """Set clocks wrong, seconds ahead of ours."""
        self.provider_skew = provider
        self.ear.skew = timedelta(seconds=receiver)
        self.jump(0)

    # -- the loop ------------------------------------------------------------------------------------------------

    def scan(self) -> None:
        self.scanned = self.clock.now()
        scan(Account(self.ledger, ACCOUNT, self.settings, lambda: self.clock.now()), self.client)
        watch_clock(
            Account(self.ledger, ACCOUNT, clock=lambda: self.clock.now()), self.client.clock_offset
        )  # as every operator with a client

    def look(self) -> VerdictsResult:
        """What porting_scan and porting_missed_notifications do up to the verdicts."""
        self.scan()
        sync_orders(Account(self.ledger, ACCOUNT, self.settings, lambda: self.clock.now()), self.client)
        return self.decide()

    def decide(self) -> VerdictsResult:
        """What porting_missed_notifications does up to the verdicts."""
        read_deliveries(Account(self.ledger, ACCOUNT, self.settings, lambda: self.clock.now()), self.client)
        return settle(Account(self.ledger, ACCOUNT, self.settings, lambda: self.clock.now()))

    def plan(self, asked: Asked | None = None) -> Plan | None:
        now = self.clock.now()
        if asked is None:
            with self.ledger.read() as connection:
                if unsafe(connection, ACCOUNT, self.settings, now) is not None:
                    return None
        destinations = read_destinations(Account(self.ledger, ACCOUNT, self.settings, lambda: now), self.client)
        with suppress(NothingToSendError):
            return make_plan(Account(self.ledger, ACCOUNT, self.settings, lambda: now), destinations, asked)
        return None

    def execute(self, plan: Plan, by: str = "policy", most: int = 400) -> Done | Halted:
        """Approve and advance to the end."""
        approve(Account(self.ledger, ACCOUNT, clock=lambda: self.clock.now()), plan.id, plan.hash, by)
        return self.resume(plan.id, most)

    def resume(self, plan_id: str, most: int = 400) -> Done | Halted:
        """Advance an approved plan to its end, while porting_scan goes on every five minutes."""
        for _ in range(most):
            step = advance(Account(self.ledger, ACCOUNT, self.settings, clock=self.clock.now), self.client, plan_id)
            if not isinstance(step, Wait):
                return step
            self.jump((step.until - self.clock.now()).total_seconds())
            if self.clock.now() - self.scanned >= self.settings.scan_every:
                self.scan()
        raise AssertionError(f"the plan did not come to its end: {step}")

    def cycle(self) -> Done | Halted | None:
        """Look, and send what is missed if it may go by itself."""
        self.look()
        plan = self.plan()
        if plan is None or needs_person(Account(self.ledger, ACCOUNT, self.settings, self.clock.now), plan) is not None:
            return None
        return self.execute(plan)

    # -- what happens --------------------------------------------------------------------------------------------

    def begin(self, *more_webhooks: str, **channels: Any) -> str:
        """First contact, an order, and notifications that arrive: the feeds are proved from here on.

        :return: the order's id.
        """
        self.sandbox.subscribe(self.ear.url, *more_webhooks, **channels)
        self.ear.beat()
        self.scan()
        order = self.sandbox.order()
        self.jump(30)
        for _ in range(3):
            self.sandbox.act(order, "comment", body="hello", complete_after=0)
        self.jump(30 * MINUTE)
        self.look()
        return order

    def orders(self, count: int) -> list[str]:
        """Orders that only we comment on."""
        return [one["id"] for one in self.sandbox.control("POST", "/orders", {"count": count})]

    def events(self, count: int, **more: Any) -> list[str]:
        """One comment on each of many orders, completed and notified."""
        made = [self.sandbox.act(order, "comment", complete_after=0, **more)[0]["id"] for order in self.orders(count)]
        self.sandbox.settle()
        return made

    def comments(self, order: str, count: int, **more: Any) -> list[str]:
        """Comments on the order, completed and notified."""
        made = [self.sandbox.act(order, "comment", complete_after=0, **more)[0]["id"] for _ in range(count)]
        self.sandbox.settle()
        return made

    # -- what came of it -----------------------------------------------------------------------------------------

    def asked(self) -> Counter[str]:
        """How often each event's republish was asked for, as the provider counted."""
        return Counter(call["event_id"] for call in self.sandbox.republishes())

    def states(self) -> dict[str, str]:
        """Delivery state of each event."""
        with self.ledger.read() as connection:
            query = select(events.c.id, events.c.delivery).where(events.c.account == ACCOUNT)
            return {event: state or "new" for event, state in connection.execute(query)}

    def verdicts(self) -> Counter[str]:
        """Republishes by state."""
        with self.ledger.read() as connection:
            query = select(republishes.c.state).where(republishes.c.account == ACCOUNT)
            return Counter(connection.execute(query).scalars())

    def told(self, subject: str) -> str | None:
        """What the open health finding of this subject says."""
        with self.ledger.read() as connection:
            query = select(findings.c.detail).where(findings.c.account == ACCOUNT, findings.c.subject == subject)
            detail = connection.execute(query.where(findings.c.absent_since.is_(None))).scalar()
        return detail["text"] if detail else None

    def budget_spent(self) -> int:
        """Sends charged."""
        with self.ledger.read() as connection:
            return sum(connection.execute(select(events.c.sends).where(events.c.account == ACCOUNT)).scalars())

    def false_verdicts(self) -> list[str]:
        """Events and republishes said to have arrived that did not, or the other way round.

        Truth is what the receiver itself accepted, per event and before or after its republish.
        """
        truth = self.sandbox.truth()
        first, again = set(truth["arrived_first"]), set(truth["arrived_after_republish"])
        wrong = []
        for event, state in self.states().items():
            arrived = event in first or event in again
            if state == "arrived" and not arrived:
                wrong.append(f"event {event} is said to have arrived")
            if state in ("missed", "given_up") and arrived:
                wrong.append(f"event {event} is said to be {state}")
        with self.ledger.read() as connection:
            for row in connection.execute(select(republishes).where(republishes.c.account == ACCOUNT)).mappings():
                event = row["event_id"]
                if row["state"] == "arrived" and event not in again:
                    wrong.append(f"republish of {event} is said to have arrived")
                if row["state"] == "not_arrived" and event in again:
                    wrong.append(f"republish of {event} is said not to have arrived")
        return wrong

    def lost_to_ambiguity(self) -> tuple[int, int]:
        """How many events arrived with nothing told of them but that it cannot be told, and how many arrived."""
        truth = self.sandbox.truth()
        arrived = set(truth["arrived_first"]) | set(truth["arrived_after_republish"])
        held = {event: state for event, state in self.states().items() if event in arrived}
        return sum(state == "undetermined" for state in held.values()), len(held)

    def close(self) -> None:
        self.client.__exit__(None, None, None)
        self.ear.close()
        self.clock.close()


@contextmanager
def loop(sandbox: RunningSandbox, folder: Path, url: str | None = None, **knobs: Any) -> Iterator[Loop]:
    """A fresh loop, on a SQLite ledger unless told otherwise."""
    with (
        _upgraded(url) if url else new_file() as ledger,
        closing(Loop(sandbox, ledger, folder, **knobs)) as running,
        watched_moves(ledger),
    ):
        yield running


@contextmanager
def _upgraded(url: str) -> Iterator[Ledger]:
    with Ledger(url) as ledger:
        ledger.upgrade()
        yield ledger
