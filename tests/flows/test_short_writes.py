"""No write transaction grows with what the ledger holds: a receiver beside it has to answer within two seconds.

Counted are rows and the instructions of SQLite's virtual machine, so that a busy machine changes nothing: a thousand
thousands of them take about 50 ms.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import update

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.dispatch import MOST_AT_FIRST
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.desk.maintenance import maintain
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.flows.orders.sync import project_events
from telnyx_porting.flows.orders.wakeups import looked_at, to_look_at
from telnyx_porting.flows.republish.plan import close_by, make_plan
from telnyx_porting.flows.republish.selection import LARGEST
from telnyx_porting.flows.subscriptions import Destinations
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import deliveries, events
from telnyx_porting.settings import Settings
from tests.support.crowd import crowd
from tests.support.locks import write_locks
from tests.support.rows import ACCOUNT, NOW

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROWS = 1_100  # in one transaction
STEPS = 1_000  # thousands of instructions
MOST = {"tell": MOST_AT_FIRST + 1, "plan": LARGEST + 1}  # rows of one message at first, of one plan
SIZES = [6_000, pytest.param(200_000, marks=[pytest.mark.chaos, pytest.mark.timeout(1200)])]


def retried(account: Account) -> None:
    """What was decided is open again, as after a change of the consumer of record."""
    with account.ledger.engine.begin() as connection:  # the test's own
        connection.execute(update(events).values(delivery=None, arrived_at=None))
        connection.execute(update(deliveries).values(matched=None, event_id=None, webhook_id=None, natural_key=None))
    settle(account)


def aged(account: Account) -> None:
    """A year later payloads are removed."""
    maintain(Account(account.ledger, account.id, Settings(retention_days=30), lambda: NOW + timedelta(days=400)))


def told(account: Account) -> None:
    """What waits is due ten minutes later."""
    send_due(
        Account(account.ledger, account.id, account.settings, lambda: NOW + timedelta(minutes=10)), lambda *_: None
    )


def planned(account: Account) -> None:
    close_by(account, make_plan(account, Destinations()).id, "a person")


FLOWS: dict[str, Callable[[Account], Any]] = {
    "project": project_events,
    "settle": settle,
    "settle again": settle,
    "find": lambda account: reconcile(account, enqueue),
    "find again": lambda account: reconcile(account, enqueue),
    "tell": told,
    "plan": planned,
    "maintain": aged,
    "settle without keys": retried,
    "look at orders": lambda account: looked_at(account, to_look_at(account)[0]),
}


@pytest.mark.parametrize("count", SIZES)
def test_no_write_grows_with_the_ledger(tmp_path: Path, count: int) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        check(ledger.ready(), count, "id")


def test_nor_where_webhooks_have_ids_of_their_own(tmp_path: Path) -> None:
    with Ledger(f"sqlite:///{tmp_path / 'ledger.db'}") as ledger:
        check(ledger.ready(), 3_000, "'webhook-' || id")


def check(ledger: Ledger, count: int, webhook_id: str) -> None:
    crowd(ledger, count, webhook_id)
    account = Account(ledger, ACCOUNT, Settings(alert_channels=("desk:json", "ops:slack")), lambda: NOW)
    worst = {}
    for name, flow in FLOWS.items():
        with write_locks(ledger) as locks:
            flow(account)
        assert locks, name
        worst[name] = [lock for lock in locks if lock.rows > MOST.get(name, ROWS) or lock.steps > STEPS]
    assert worst == dict.fromkeys(FLOWS, [])
