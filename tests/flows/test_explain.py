"""The queries that run every few minutes find what is open by an index, on a ledger of any size."""

from __future__ import annotations

import random
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import event, insert, text

from telnyx_porting.flows import matching, scan, store
from telnyx_porting.flows.delivery import decide
from telnyx_porting.flows.findings import reconcile
from telnyx_porting.ledger.tables import events
from telnyx_porting.settings import Settings
from tests.flows.rows import ACCOUNT, NOW, add_event, add_feed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from telnyx_porting.ledger.engine import Ledger

ROWS = 6_000
TABLE = "porting_events"


@pytest.fixture
def filled(ledger: Ledger) -> Ledger:
    """A history that is decided, and a few events that are not."""
    rows = []
    for n in range(ROWS):
        created = NOW - timedelta(days=400) + n * timedelta(hours=1)
        row = {"account": ACCOUNT, "id": f"e{n:06d}", "type": "porting_order.status_changed", "order_id": f"o{n % 900}"}
        row |= {"created_at": created, "updated_at": created, "payload_status": "completed", "methods": ["webhook"]}
        row |= {"has_webhook": True, "natural_key": f"k{n}", "copies": 1, "value": "submitted", "payload": {"n": n}}
        row |= {"first_seen_at": created, "delivery": "arrived", "projected": "completed"}
        rows.append(row)
    random.Random(1).shuffle(rows)
    with ledger.write() as connection:
        for start in range(0, ROWS, 1_000):
            connection.execute(insert(events), rows[start : start + 1_000])
    add_event(ledger, payload_status="created", payload=None, created_at=NOW - timedelta(hours=9))
    add_event(ledger)
    add_feed(ledger, "events", watch_from=NOW - timedelta(days=3))
    add_feed(ledger)
    with ledger.write() as connection:
        connection.execute(text("ANALYZE"))
    return ledger


@contextmanager
def explained(ledger: Ledger) -> Iterator[list[tuple[str, str]]]:
    """Collect statements on events with their plans."""
    found: list[tuple[str, str]] = []

    def explain(connection: Any, cursor: Any, statement: str, parameters: Any, context: Any, many: bool) -> None:
        if TABLE not in statement or statement.startswith(("INSERT", "EXPLAIN")) or many:
            return
        prefix = "EXPLAIN QUERY PLAN " if ledger.is_sqlite else "EXPLAIN "
        other = cursor.connection.cursor()
        other.execute(prefix + statement, parameters)
        plan = "\n".join(str(row[-1] if ledger.is_sqlite else row[0]) for row in other.fetchall())
        other.close()
        found.append((statement, plan))

    event.listen(ledger.engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(ledger.engine, "before_cursor_execute", explain)


def full_scans(ledger: Ledger, plans: list[tuple[str, str]]) -> list[str]:
    sign = f"SCAN {TABLE}" if ledger.is_sqlite else f"Seq Scan on {TABLE}"
    bad = []
    for statement, plan in plans:
        lines = [line for line in plan.splitlines() if line.strip(" ->").startswith(sign)]
        # A scan of a partial index reads what is open, not history.
        if any(" USING " not in line for line in lines):
            bad.append(f"{statement}\n{plan}")
    return bad


def poll(ledger: Ledger) -> None:
    store.store(ledger, ACCOUNT, [], NOW)
    with ledger.read() as connection:
        store._known(ledger, connection, ACCOUNT, [])
        scan._pages(connection, ACCOUNT, NOW - timedelta(days=2), NOW, most=50)

    class Nobody:
        def get_porting_event(self, event_id: str) -> Any:
            raise scan.NotFoundError("404", method="GET", path="/", status=404)

        iter_proved_windows = staticmethod(lambda *_: iter(()))

    scan._reread(ledger, ACCOUNT, Nobody(), NOW, NOW - timedelta(hours=1))  # type: ignore[arg-type]


HOT: dict[str, Callable[[Ledger], object]] = {
    "scan": poll,
    "delivery rule": lambda ledger: decide(ledger, ACCOUNT, Settings(), NOW),
    "matching": lambda ledger: matching.match(ledger, ACCOUNT),
    "findings": lambda ledger: reconcile(ledger, ACCOUNT, Settings(), NOW),
}


@pytest.mark.parametrize("name", HOT)
def test_no_hot_query_reads_all_of_history(filled: Ledger, name: str) -> None:
    with explained(filled) as plans:
        HOT[name](filled)
    assert plans, "nothing was asked"
    assert full_scans(filled, plans) == []
