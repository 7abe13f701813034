"""The queries that run every few minutes find what is open by an index, on a ledger of any size."""

from __future__ import annotations

import random
import re
import uuid
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import Table, event, insert, select, text

from telnyx_porting.errors import NothingToSendError
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.alerts.outbox import enqueue
from telnyx_porting.flows.alerts.send import send_due
from telnyx_porting.flows.deliveries import matching
from telnyx_porting.flows.deliveries.arrival import decide
from telnyx_porting.flows.desk.board import read_board
from telnyx_porting.flows.desk.health import read_health
from telnyx_porting.flows.desk.lines import find_lines
from telnyx_porting.flows.desk.missed import MissedWhere, choose, count_missed, find_missed
from telnyx_porting.flows.desk.order import read_event, read_order
from telnyx_porting.flows.desk.orders import SORTS, OrderWhere, find_orders
from telnyx_porting.flows.desk.plans import find_plans, read_plan
from telnyx_porting.flows.events import scan, store
from telnyx_porting.flows.findings.reconcile import reconcile
from telnyx_porting.flows.orders.sync import project_events
from telnyx_porting.flows.orders.wakeups import to_look_at, waking
from telnyx_porting.flows.republish.plan import make_plan
from telnyx_porting.flows.subscriptions import Destinations
from telnyx_porting.ledger.tables import alerts, deliveries, events, findings, metadata, orders, republishes
from telnyx_porting.models.keys import STATUS_CHANGED
from telnyx_porting.settings import Settings
from tests.support.rows import ACCOUNT, NOW, add_event, add_feed, add_watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from telnyx_porting.ledger.engine import Ledger
    from tests.support.ledgers import OpenLedger

ROWS = 6_000  # a query that reads them all takes some steps for each
STEP = 100
TABLE = "porting_"


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """A long history in which all is over, and a few things that are not."""
    history: dict[Table, list[dict[str, Any]]] = {
        t: [] for t in (events, deliveries, orders, republishes, findings, alerts)
    }
    for n in range(ROWS):
        at, order = NOW - timedelta(days=400) + n * timedelta(hours=1), str(uuid.UUID(int=n))
        mine = {"account": ACCOUNT, "type": STATUS_CHANGED, "order_id": order, "natural_key": f"k{n}"}
        finding = {"account": ACCOUNT, "key": f"exception:{order}", "occurrence": 1}
        history[events].append(
            mine
            | {
                "id": f"e{n:06d}",
                "created_at": at,
                "updated_at": at,
                "first_seen_at": at,
                "payload_status": "completed",
                "projected": "completed",
            }
            | {"methods": ["webhook"], "has_webhook": True, "copies": 1, "value": "submitted", "payload": {"n": n}}
            | {"delivery": "arrived", "arrived_at": at}
        )
        history[deliveries].append(
            mine
            | {"source": "receiver", "source_id": f"w{n:06d}", "webhook_id": f"w{n:06d}", "event_id": f"e{n:06d}"}
            | {"matched": "key", "ok": True, "signed_at": at, "stored_at": at, "looked_at": at}
        )
        history[orders].append(
            {
                "account": ACCOUNT,
                "id": order,
                "status": "ported",
                "status_since": at,
                "updated_at": at,
                "api_read_at": at,
                "foc_actual": at,
                "number_count": n % 900,
                "customer_reference": f"Site-{n}",
                "support_key": f"sr_{n}",
            }
        )
        history[republishes].append(
            {"account": ACCOUNT, "plan_id": f"p{n // 10}", "event_id": f"e{n:06d}", "position": n, "wave": 3}
            | {"state": "arrived", "sent_at": at, "settled_at": at}
        )
        history[findings].append(
            finding
            | {"kind": "exception", "subject": order, "order_id": order, "severity": "high", "detail": {}}
            | {"since": at, "opened_at": at, "resolved_at": at}
        )
        history[alerts].append(
            finding
            | {"channel": "desk:json", "status": "resolved", "action": "reminder", "group_key": "exception/high"}
            | {"sent_at": at, "sends": 2, "told": 1}
        )
    for table, rows in history.items():
        random.Random(1).shuffle(rows)
        with ledger.write() as connection:
            for start in range(0, ROWS, 1_000):
                connection.execute(insert(table), rows[start : start + 1_000])
    add_event(ledger, payload_status="created", payload=None, created_at=NOW - timedelta(hours=9))
    add_event(ledger)
    add_watch(ledger, NOW - timedelta(days=3))
    add_feed(ledger)
    return ledger


@dataclass
class Asked:
    """A statement, its plan and what it cost."""

    statement: str
    plan: str
    steps: int = 0  # SQLite: of its virtual machine; PostgreSQL: rows that a SELECT looked at

    def __str__(self) -> str:
        return f"{self.statement[:1_000]}\n{self.plan[:1_000]}"


@contextmanager
def explained(ledger: Ledger) -> Iterator[list[Asked]]:
    """Collect statements on events with their plans and their cost."""
    found: list[Asked] = []

    def step() -> None:
        if found:
            found[-1].steps += STEP

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        raw = connection.connection.dbapi_connection
        if ledger.is_sqlite:
            raw.set_progress_handler(None, 0)
        if TABLE in statement and not statement.startswith(("INSERT", "EXPLAIN")) and not many:
            found.append(ask(ledger, cursor.connection.cursor(), statement, parameters))
            if ledger.is_sqlite:
                raw.set_progress_handler(step, STEP)

    event.listen(ledger.engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(ledger.engine, "before_cursor_execute", explain)


def ask(ledger: Ledger, cursor: Any, statement: str, parameters: Any) -> Asked:
    reads = statement.startswith("SELECT")
    prefix = "EXPLAIN QUERY PLAN " if ledger.is_sqlite else f"EXPLAIN {'(ANALYZE)' if reads else ''} "
    cursor.execute(prefix + statement, parameters)
    plan = "\n".join(str(row[-1] if ledger.is_sqlite else row[0]) for row in cursor.fetchall())
    cursor.close()
    looked_at = re.findall(r"actual time=\S+ rows=(\d+)|Rows Removed by (?:Filter|Index Recheck): (\d+)", plan)
    return Asked(statement, plan, sum(int(one or other) for one, other in looked_at))


def poll(ledger: Ledger) -> None:
    store.store(Account(ledger, ACCOUNT), [], NOW)
    with ledger.read() as connection:
        ledger.held(connection, events, ACCOUNT, [], (events.c.id,))
        scan._pages(connection, ACCOUNT, NOW - timedelta(days=2), NOW, most=50)

    class Nobody:
        def get_porting_event(self, event_id: str) -> Any:
            raise scan.NotFoundError("404", method="GET", path="/", status=404)

        iter_proved_windows = staticmethod(lambda *_: iter(()))

    scan._reread(Account(ledger, ACCOUNT), Nobody(), NOW, NOW - timedelta(hours=1))  # type: ignore[arg-type]


def waking_looks(ledger: Ledger) -> None:
    with ledger.read() as connection:
        waking(connection, [ACCOUNT], NOW)
    to_look_at(Account(ledger, ACCOUNT))


def plan_nothing(ledger: Ledger) -> None:
    with pytest.raises(NothingToSendError):
        make_plan(Account(ledger, ACCOUNT, Settings(), lambda: NOW), Destinations())


HOT: dict[str, Callable[[Ledger], object]] = {
    "scan": poll,
    "delivery rule": lambda ledger: decide(Account(ledger, ACCOUNT, Settings(), lambda: NOW)),
    "matching": lambda ledger: matching.match(Account(ledger, ACCOUNT, Settings())),
    "orders": lambda ledger: project_events(Account(ledger, ACCOUNT, clock=lambda: NOW)),
    "findings": lambda ledger: reconcile(
        Account(ledger, ACCOUNT, Settings(alert_channels=("desk:json",)), lambda: NOW), enqueue
    ),
    "alerts": lambda ledger: send_due(
        Account(ledger, ACCOUNT, Settings(alert_channels=("desk:json",)), lambda: NOW), lambda *_: None
    ),
    "waking": waking_looks,
    "plan": plan_nothing,
    "first page": lambda ledger: read_board(_desk(ledger), actor="ann"),
    "findings listed": lambda ledger: find_lines(_desk(ledger)),
    "health": lambda ledger: read_health(_desk(ledger)),
    "missed": lambda ledger: (find_missed(_desk(ledger)), count_missed(_desk(ledger)), choose(_desk(ledger), MISSED)),
    "given up": lambda ledger: find_missed(_desk(ledger), MissedWhere(state="given_up")),
    "one order": lambda ledger: read_order(_desk(ledger), str(uuid.UUID(int=7))),
    "one event": lambda ledger: read_event(_desk(ledger), "e000007"),
    "one plan": lambda ledger: read_plan(_desk(ledger), "p7"),
    "plans": lambda ledger: find_plans(_desk(ledger)),
    "orders by a name": lambda ledger: find_orders(_desk(ledger), OrderWhere(search="site-77")),
    "orders by an id": lambda ledger: find_orders(_desk(ledger), OrderWhere(search=str(uuid.UUID(int=7)))),
    "orders open": lambda ledger: find_orders(_desk(ledger), OrderWhere(status="open"), sort="foc"),
    "orders of a person": lambda ledger: find_orders(_desk(ledger), OrderWhere(owner="ann")),
    "orders overdue": lambda ledger: find_orders(_desk(ledger), OrderWhere(foc="overdue")),
}
MISSED = MissedWhere()


def _desk(ledger: Ledger) -> Account:
    return Account(ledger, ACCOUNT, Settings(), lambda: NOW)


@pytest.mark.parametrize("name", HOT)
def test_no_hot_query_reads_all_of_history(filled: Ledger, name: str) -> None:
    if not filled.is_sqlite:  # it would have done so by itself; SQLite plans by what a new schema says
        with filled.write() as connection:
            connection.execute(text("ANALYZE"))
    with explained(filled) as found:
        HOT[name](filled)
    assert found, "nothing was asked"
    dear = [f"{asked.steps} steps: {asked}" for asked in found if asked.steps > ROWS / 2]
    assert not dear, "\n\n".join(dear)


@pytest.mark.parametrize("sort", [f"{sign}{name}" for name in SORTS for sign in ("", "-")])
def test_orders_are_sorted_by_an_index_and_each_is_counted_once(filled: Ledger, sort: str) -> None:
    if not filled.is_sqlite:
        with filled.write() as connection:
            connection.execute(text("ANALYZE"))
    with explained(filled) as found:
        find_orders(_desk(filled), sort=sort)
    counted = [asked for asked in found if asked.statement.startswith("SELECT count(*)")]
    assert counted
    if filled.is_sqlite:  # PostgreSQL reads so small a table as a whole
        assert [asked for asked in counted if "COVERING INDEX" not in asked.plan] == []
    assert [asked for asked in counted if asked.steps > ROWS * (10 if filled.is_sqlite else 1) + STEP] == []
    dear = "TEMP B-TREE FOR ORDER BY|Seq Scan on porting_orders"
    assert [asked for asked in found if asked not in counted and re.search(dear, asked.plan)] == []


def test_who_made_the_file_plans_like_those_who_open_it_later(tmp_path: Path, open_ledger: OpenLedger) -> None:
    ledger = open_ledger(tmp_path / "ledger.db").ready()
    # Without counts the order in which indexes were made decides, so a plan alone would tell one time in two.
    assert ledger.engine.pool.checkedin() == 0, "a connection is older than the counts"  # type: ignore[attr-defined]
    short = [
        (t, i) for t in metadata.sorted_tables for i in t.indexes if i.dialect_options["sqlite"]["where"] is not None
    ]
    assert len(short) > 10
    with explained(ledger) as found, ledger.read() as connection:
        for table, index in short:
            some = " AND ".join(f"{column.name} > 0" for column in list(index.columns)[1:2]) or "true"
            holds = index.dialect_options["sqlite"]["where"]
            query = select(text("1")).select_from(table).where(table.c.account == "a", text(some), holds)
            connection.execute(query)
    assert [index.name for _, index in short if not any(f"INDEX {index.name} " in each.plan for each in found)] == []


def test_what_is_held_is_looked_up_by_its_key_before_any_statistics(filled: Ledger) -> None:
    """A first look stores a whole history faster than PostgreSQL looks at a table by itself."""
    wanted = [f"e{n:06d}" for n in range(0, ROWS, 20)]
    with explained(filled) as found, filled.read() as connection:
        held = filled.held(connection, events, ACCOUNT, [*wanted, "nobody"], (events.c.id,))
    assert sorted(row.id for row in held) == wanted
    assert "pkey" in found[0].plan or "sqlite_autoindex" in found[0].plan, found[0]
