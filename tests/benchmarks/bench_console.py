"""What a page of the console costs the server, on a ledger with a long history.

``python -m tests.benchmarks.bench_console [--quick]``: each function that reads a page, on SQLite and on PostgreSQL,
over a million events and deliveries and 100,000 orders, of which 5,000 are open and 1,000 have an open finding.
"""

from __future__ import annotations

import os
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import text

from telnyx_porting.flows.account import Account
from telnyx_porting.flows.desk.board import read_board
from telnyx_porting.flows.desk.health import read_health
from telnyx_porting.flows.desk.lines import Where, find_lines
from telnyx_porting.flows.desk.missed import MissedWhere, choose, count_missed, find_missed
from telnyx_porting.flows.desk.order import read_event, read_order
from telnyx_porting.flows.desk.orders import SORTS, OrderWhere, find_orders, status_counts
from telnyx_porting.flows.desk.plans import find_plans, read_plan
from telnyx_porting.ledger.engine import Ledger
from tests.support.big_ledger import fill_big, order_id, plan_id
from tests.support.ledgers import shared_server
from tests.support.measured import say
from tests.support.rows import ACCOUNT, NOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TIMES = 40  # of each page, each about something else


def pages(account: Account) -> dict[str, Callable[[int], Any]]:
    """What each page reads, the n-th time."""

    def missed(n: int) -> None:
        find_missed(account, page=n % 10 + 1)
        count_missed(account)

    def orders(where: OrderWhere, sort: str, page: int) -> None:
        find_orders(account, where, sort=sort, page=page)
        status_counts(account)

    found: dict[str, Callable[[int], Any]] = {
        "first page": lambda n: read_board(account, actor="ann"),
        "first page, mine": lambda n: read_board(account, who="mine", actor="ann"),
        "findings of a section": lambda n: find_lines(account, Where(section="act"), actor="ann", page=n % 5 + 1),
        "order": lambda n: read_order(account, order_id(n * 91)),
        "raw event": lambda n: read_event(account, f"{order_id(n * 91)[:34]}05"),
        "missed": missed,
        "missed: all for a plan": lambda n: choose(account, MissedWhere()),
        "plans": lambda n: find_plans(account, page=n % 5 + 1),
        "plan of 50": lambda n: read_plan(account, plan_id(n + 2)),
        "plan of 5,000, the largest": lambda n: read_plan(account, plan_id(1), page=n + 1),
        "health": lambda n: read_health(account),
        "orders by a name": lambda n: orders(OrderWhere(search=f"site-{n * 37:06}"), "-updated", 1),
        "orders by an id": lambda n: orders(OrderWhere(search=order_id(n)[:8]), "-updated", 1),
        "orders by one letter": lambda n: orders(OrderWhere(search="s0a"[n % 3]), "-updated", 1),
        "orders overdue": lambda n: orders(OrderWhere(foc="overdue"), "foc", 1),
        "orders of a person": lambda n: orders(OrderWhere(owner="ann"), "-updated", 1),
    }
    for sort in SORTS:
        for status in ("", "open", "exception"):
            where = OrderWhere(status=status)
            found[f"orders {status or 'all'} by {sort}"] = lambda n, w=where, s=sort: orders(w, s, n % 3 + 1)
    found["orders all, page 1,000 and on"] = lambda n: orders(OrderWhere(), "-updated", 1_000 + n)
    return found


def measure(account: Account, limit: int) -> None:
    for name, page in pages(account).items():
        page(0)
        times = []
        cpu = time.process_time()
        for n in range(1, TIMES + 1):
            began = time.perf_counter()
            page(n)
            times.append(time.perf_counter() - began)
        cpu = (time.process_time() - cpu) / TIMES * 1e3  # of this process: not what PostgreSQL's own spend
        times.sort()
        p95 = times[int(len(times) * 0.95) - 1] * 1e3
        median = times[len(times) // 2] * 1e3
        say(f"  {name}: p95", f"{p95:.0f} ms", f"<= {limit} ms (median {median:.0f} ms, CPU {cpu:.0f} ms)")


def ledgers(folder: Path) -> Iterator[tuple[str, str, int]]:
    """Each database: its name, its URL, and the milliseconds that a page may cost."""
    yield "SQLite", f"sqlite:///{folder / 'console.db'}", 200
    server = shared_server()
    if server is not None:
        with psycopg.connect(server.url(), autocommit=True) as connection:
            connection.execute("DROP DATABASE IF EXISTS console WITH (FORCE)")
        yield "PostgreSQL", server.create("console"), 100


def main(quick: bool) -> None:
    count = 5_000 if quick else 100_000
    with tempfile.TemporaryDirectory() as name:
        for database, url, limit in ledgers(Path(name)):
            with ExitStack() as stack:
                stack.enter_context(Ledger(url)).upgrade()
                ledger = stack.enter_context(Ledger(url))  # who opens it later plans by what was counted
                fill_big(ledger, count)
                if database == "PostgreSQL":  # as autovacuum leaves it, which would else work beside the first pages
                    with ledger.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
                        connection.execute(text("VACUUM (ANALYZE)"))
                say(f"{database}: {count * 10:,} events, {count:,} orders", "")
                measure(Account(ledger, ACCOUNT, clock=lambda: NOW), limit)


@pytest.mark.bench
def test_bench_console() -> None:
    main(quick=os.environ.get("BENCH_QUICK") == "1")


if __name__ == "__main__":
    main("--quick" in sys.argv)
