"""No write transaction grows with what the ledger holds: a receiver beside it has to answer within two seconds.

Counted are rows and the instructions of SQLite's virtual machine, so that a busy machine changes nothing: a thousand
thousands of them take about 50 ms.
"""

from __future__ import annotations

import ast
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import func, select, update

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.dispatch import MOST_AT_FIRST
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.policy import DIGEST
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.deliveries.settle import settle
from telnyx_porting.flows.deliveries.table import read_table
from telnyx_porting.flows.desk.maintenance import maintain
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.flows.orders.sync import project_events
from telnyx_porting.flows.orders.wakeups import looked_at, to_look_at
from telnyx_porting.flows.republish.plan import close_by, make_plan
from telnyx_porting.flows.republish.selection import LARGEST
from telnyx_porting.flows.subscriptions import Destinations
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import alerts, deliveries, events
from telnyx_porting.settings import Settings
from tests.support.crowd import crowd
from tests.support.locks import ROOT, write_locks
from tests.support.rows import ACCOUNT, NOW

if TYPE_CHECKING:
    from collections.abc import Callable

ROWS = 1_100  # in one transaction
STEPS = 1_000  # thousands of instructions
MOST = {"tell": MOST_AT_FIRST, "plan": LARGEST + 1}  # rows of one message at first, of one plan
SIZES = [12_000, pytest.param(200_000, marks=[pytest.mark.chaos, pytest.mark.timeout(1200)])]


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


def summed_up(account: Account) -> None:
    """All of it is low, and the digest says so."""
    digest = {"group_key": DIGEST, "next_at": NOW, "batch": None}
    with account.ledger.engine.begin() as connection:  # the test's own
        connection.execute(update(alerts).values(digest))
    send_due(Account(account.ledger, account.id, account.settings, lambda: NOW + timedelta(days=1)), lambda *_: None)


def shown_by_a_table(account: Account) -> None:
    """A table of one's own shows as many webhooks, all of one day; then shows none of them any more."""
    with account.ledger.read() as connection:
        count = connection.execute(select(func.count()).select_from(events)).scalar_one()
    rows = ({"id": number, "received_at": NOW - timedelta(hours=1), "body": None} for number in range(count))
    read_table(account, "table:crm", lambda _: rows)
    read_table(account, "table:crm", lambda _: ())


def planned(account: Account) -> None:
    close_by(account, make_plan(account, Destinations()).id, "a person")


FLOWS: dict[str, Callable[[Account], Any]] = {
    "project": project_events,
    "settle": settle,
    "settle again": settle,
    "find": lambda account: reconcile(account, enqueue),
    "find again": lambda account: reconcile(account, enqueue),
    "tell": told,
    "sum up": summed_up,
    "plan": planned,
    "read a table": shown_by_a_table,
    "maintain": aged,
    "settle without keys": retried,
    "look at orders": lambda account: looked_at(account, to_look_at(account)[0]),
}


SMALL = {
    "a row or two": """
        flows/alerts/facts.py:keep_exception_types flows/clock.py:keep_offset
        flows/deliveries/pull.py:read_deliveries flows/deliveries/table.py:read_table
        flows/desk/preflight.py:_ledger flows/desk/preflight.py:keep_lines flows/events/audit.py:move_horizon
        flows/events/odd.py:keep_odd flows/events/scan.py:scan
        flows/findings/health.py:clear flows/findings/health.py:health
        flows/findings/triage.py:_write flows/identity.py:accept flows/orders/sync.py:_one_by_one
        flows/orders/sync.py:_read flows/republish/gates.py:approve flows/republish/send.py:claim
        flows/republish/send.py:outcome flows/republish/plan.py:_keep
    """,
    "a page, or what is read or comes in at once": """
        flows/deliveries/pull.py:failed_again flows/deliveries/pull.py:store_deliveries
        flows/deliveries/receipts.py:store_receipts flows/events/audit.py:_mark flows/events/scan.py:_reread
        flows/events/store.py:store flows/orders/sync.py:keep_readings
    """,
    "windows that are open, one a scan": """
        flows/events/audit.py:certify flows/events/backfill.py:fill flows/events/scan.py:close
        flows/events/unread.py:read_again
    """,
    "a message": """
        flows/alerts/dispatch.py:failed flows/alerts/dispatch.py:release
    """,
    "a plan": """
        flows/republish/advance.py:_advance flows/republish/advance.py:_halt
        flows/republish/advance.py:_what_is_left flows/republish/send.py:forgive operators/execution.py:_bind
    """,
}  # what each of these writes at most, however much there is


@pytest.mark.parametrize("count", SIZES)
def test_no_write_grows_with_the_ledger(tmp_path: Path, count: int) -> None:
    held: set[str] = set()
    for webhook_id, some in (("id", count), ("'webhook-' || id", count // 4)):
        with Ledger(f"sqlite:///{tmp_path / f'{some}.db'}") as ledger:
            held |= check(ledger.ready(), some, webhook_id)
    small = {place for places in SMALL.values() for place in places.split()}
    assert writes() - held == small - held, "who writes is measured above, or says why it is small"


def writes() -> set[str]:
    """Every place of the package that holds the ledger's lock."""
    found = set()
    for path in sorted(Path(ROOT).rglob("*.py")):
        tree = ast.parse(path.read_text())
        for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
            calls = (node.func for node in ast.walk(function) if isinstance(node, ast.Call))
            if any(ast.unparse(call).endswith("ledger.write") for call in calls):
                found.add(f"{path.relative_to(ROOT)}:{function.name}")
    return found


def check(ledger: Ledger, count: int, webhook_id: str) -> set[str]:
    crowd(ledger, count, webhook_id)
    account = Account(ledger, ACCOUNT, Settings(alert_channels=("desk:json", "ops:slack")), lambda: NOW)
    worst, held = {}, set()
    for name, flow in FLOWS.items():
        with write_locks(ledger) as locks:
            flow(account)
        assert locks, name
        held |= {lock.who for lock in locks}
        worst[name] = [lock for lock in locks if lock.rows > MOST.get(name, ROWS) or lock.steps > STEPS]
    assert worst == dict.fromkeys(FLOWS, [])
    return held
