"""Several Telnyx users behind one URL, and every flow that takes a client, ready to be run with any key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import select

from include.sandbox.testing import RunningSandbox, running_sandbox
from telnyx_porting.client import TelnyxClient
from telnyx_porting.errors import WrongAccountError
from telnyx_porting.flows.account import Account, get_account
from telnyx_porting.flows.alerts.facts import keep_exception_types
from telnyx_porting.flows.deliveries.pull import read_deliveries
from telnyx_porting.flows.desk.preflight import preflight
from telnyx_porting.flows.events.audit import audit
from telnyx_porting.flows.events.backfill import backfill
from telnyx_porting.flows.events.nights import audit_again, audit_tonight
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.orders.sync import read_orders, sync_orders
from telnyx_porting.flows.republish.advance import advance
from telnyx_porting.flows.republish.gates import approve
from telnyx_porting.flows.republish.selection import read_order
from telnyx_porting.flows.subscriptions import read_destinations
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import metadata
from telnyx_porting.settings import Settings
from tests.scenarios.loop import ACCOUNT, Loop, loop
from tests.support.crew import lose
from tests.support.door import Door, open_door

if TYPE_CHECKING:
    from pathlib import Path

OWN, ROTATED, OTHER, NEW = "KEY_SANDBOX", "KEY_OF_OURS_TOO", "KEY_OF_ANOTHER_USER", "KEY_OF_A_NEW_USER"
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
KNOBS = Settings(first_look_days=2)


@dataclass
class Street:
    """Our account, a plan of it that is approved and not sent yet, and its neighbours."""

    world: Loop
    door: Door
    own: RunningSandbox
    other: RunningSandbox
    new: RunningSandbox
    order: str
    plan: str
    lost: list[str]

    @contextmanager
    def client(self, key: str, base_url: str | None = None) -> Iterator[TelnyxClient]:
        with TelnyxClient(key, base_url or self.door.base_url, clock=self.world.clock) as client:
            yield client

    def run(self, flow: str, client: TelnyxClient) -> Any:
        return FLOWS[flow](self.world.ledger, client, self.world.settings, self.world.clock.now(), self)

    def posts(self) -> int:
        return sum(len(sandbox.republishes()) for sandbox in (self.own, self.other, self.new))


Flow = Callable[[Ledger, TelnyxClient, Settings, datetime, Street], object]


def _preflight(ledger: Ledger, client: TelnyxClient, knobs: Settings, now: datetime, street: Street) -> None:
    """It does not raise: it says so in a line, and does not look further."""
    lines = preflight(Account(ledger, ACCOUNT, knobs, lambda: now), client)
    for line in lines:
        if line.what == "account":
            assert not line.ok
            assert not any("deliveries can" in one.what or "subscri" in one.what for one in lines)
            raise WrongAccountError(line.todo)
    assert all(line.ok for line in lines if "can be read" in line.what)


FLOWS: dict[str, Flow] = {
    "scan": lambda ledger, client, knobs, now, _: scan(Account(ledger, ACCOUNT, knobs, lambda: now), client),
    "backfill": lambda ledger, client, knobs, now, _: backfill(
        Account(ledger, ACCOUNT, knobs, lambda: now), client, now - 9 * DAY, now - 8 * DAY
    ),
    "audit": lambda ledger, client, knobs, now, _: audit(Account(ledger, ACCOUNT, knobs, lambda: now), client),
    "audit_tonight": lambda ledger, client, knobs, now, _: audit_tonight(
        Account(ledger, ACCOUNT, knobs, lambda: now), client
    ),
    "audit_again": lambda ledger, client, knobs, now, _: audit_again(
        Account(ledger, ACCOUNT, knobs, lambda: now), client
    ),
    "read_deliveries": lambda ledger, client, knobs, now, _: read_deliveries(
        Account(ledger, ACCOUNT, knobs, lambda: now), client
    ),
    "sync_orders": lambda ledger, client, knobs, now, _: sync_orders(
        Account(ledger, ACCOUNT, knobs, lambda: now), client, full=True
    ),
    "read_orders": lambda ledger, client, _, now, street: read_orders(
        Account(ledger, ACCOUNT, clock=lambda: now), client, [street.order]
    ),
    "keep_exception_types": lambda ledger, client, _, now, __: keep_exception_types(
        Account(ledger, ACCOUNT, clock=lambda: now), client
    ),
    "read_destinations": lambda ledger, client, _, now, __: read_destinations(
        Account(ledger, ACCOUNT, clock=lambda: now), client
    ),
    "read_order": lambda ledger, client, knobs, now, street: read_order(
        Account(ledger, ACCOUNT, knobs, lambda: now), client, street.order
    ),
    "preflight": _preflight,
    "advance": lambda ledger, client, knobs, _, street: advance(
        Account(ledger, ACCOUNT, knobs, clock=street.world.clock.now), client, street.plan
    ),
}


@contextmanager
def street(folder: Path) -> Iterator[Street]:
    with (
        running_sandbox() as own,
        running_sandbox(seed=2, api_key=OTHER) as other,
        running_sandbox(seed=3, api_key=NEW) as new,
        open_door({OWN: own, ROTATED: own, OTHER: other, NEW: new}) as door,
    ):
        other.act(other.order(), "comment", body="of somebody else", complete_after=0)
        own.base_url = door.base_url
        with loop(own, folder) as world:
            order = world.begin()
            lost = lose(world, 3)
            plan = world.plan()
            assert plan is not None
            approve(Account(world.ledger, ACCOUNT, clock=lambda: world.clock.now()), plan.id, plan.hash, "ann")
            yield Street(world, door, own, other, new, order, plan.id, lost)


def everything(ledger: Ledger) -> dict[str, list[Any]]:
    with ledger.read() as connection:
        return {
            table.name: sorted(connection.execute(select(table)).all(), key=repr) for table in metadata.sorted_tables
        }


def pinned(ledger: Ledger) -> dict[str, Any]:
    with ledger.read() as connection:
        return dict(get_account(connection, ACCOUNT) or {})
