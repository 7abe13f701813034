"""What the ledger's promises cost, against the plainest code that writes the same rows.

``python -m tests.benchmarks.bench_ledger [--quick]``: ingest against raw ``executemany`` (SQLite) and COPY + merge
(PostgreSQL) in the same chunks; a poll at 10,000 and at 1,000,000 rows; an audit's requests.
"""

from __future__ import annotations

import json
import math
import os
import random
import sqlite3
import statistics
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import psycopg
import pytest
from sqlalchemy import delete, select, update

from include.sandbox.api import render
from include.sandbox.testing import RunningSandbox, running_sandbox
from include.sandbox.world.archive import Archive
from include.sandbox.world.ids import Ids
from include.sandbox.world.switches import Switches
from telnyx_porting.client import TelnyxClient
from telnyx_porting.flows.account import Account
from telnyx_porting.flows.events.audit import audit
from telnyx_porting.flows.events.backfill import backfill
from telnyx_porting.flows.events.scan import scan
from telnyx_porting.flows.events.store import CHUNK, store
from telnyx_porting.flows.feeds import touch_feed
from telnyx_porting.ledger.engine import Ledger
from telnyx_porting.ledger.tables import events
from telnyx_porting.models.events import parse_event
from telnyx_porting.settings import Settings
from tests.support.ledgers import shared_server
from tests.support.measured import say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ACCOUNT = "telnyx_default"
BLOCK = 10_000
DAY = timedelta(days=1)
FAST = Settings(requests_per_second=1000)


def blocks(count: int, until: datetime) -> Iterator[list[Any]]:
    """Three years of events, as the client hands them over."""
    archive, switches = Archive(Ids(1), count, int(until.timestamp() * 1e6)), Switches()
    for start in range(0, count, BLOCK):
        rows = [render.event(archive.event(n), switches) for n in range(start, min(start + BLOCK, count))]
        yield [parse_event(raw) for raw in orjson.loads(orjson.dumps(rows))]


def written(ledger: Ledger, ids: list[str]) -> tuple[list[str], list[tuple[Any, ...]]]:
    """Names of the columns, and the rows of some events, as they stand in a SQLite ledger."""
    with ledger.read() as connection:
        sql = "SELECT * FROM porting_events WHERE id IN (SELECT value FROM json_each(?)) ORDER BY id"
        found = connection.exec_driver_sql(sql, (json.dumps(ids),))
        return list(found.keys()), [tuple(row) for row in found]


def merge_sql(names: list[str]) -> str:
    moved = ", ".join(f"{name} = excluded.{name}" for name in names if name not in ("account", "id"))
    return f"ON CONFLICT (account, id) DO UPDATE SET {moved}"


def raw_sqlite(path: Path) -> Callable[[list[str], list[tuple[Any, ...]]], None]:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-16384"):
        connection.execute(f"PRAGMA {pragma}")

    def write(names: list[str], rows: list[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * len(names))
        sql = f"INSERT INTO porting_events ({', '.join(names)}) VALUES ({marks}) {merge_sql(names)}"
        for start in range(0, len(rows), CHUNK):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(sql, rows[start : start + CHUNK])
            connection.execute("COMMIT")

    return write


def raw_postgres(url: str) -> Callable[[list[str], list[tuple[Any, ...]]], None]:
    connection = psycopg.connect(url)

    def write(names: list[str], rows: list[tuple[Any, ...]]) -> None:
        columns = ", ".join(names)
        for start in range(0, len(rows), CHUNK):
            with connection.transaction(), connection.cursor() as cursor:
                cursor.execute(
                    "CREATE TEMP TABLE IF NOT EXISTS stage (LIKE porting_events INCLUDING DEFAULTS)"
                    " ON COMMIT DELETE ROWS"
                )
                with cursor.copy(f"COPY stage ({columns}) FROM STDIN") as copy:
                    for row in rows[start : start + CHUNK]:
                        copy.write_row(row)
                cursor.execute(f"INSERT INTO porting_events ({columns}) SELECT {columns} FROM stage {merge_sql(names)}")

    return write


def ingest(
    ledger: Ledger, raw: Callable[[list[str], list[tuple[Any, ...]]], None], copy: Ledger, count: int
) -> tuple[float, float]:
    """Seconds we take, and seconds the raw way takes, block by block in turns.

    :param copy: a SQLite ledger from which the raw way has its rows; it may be the same one.
    """
    ours = theirs = 0.0
    now = datetime.now(UTC)
    for batch in blocks(count, now - DAY):
        began = time.perf_counter()
        store(Account(ledger, ACCOUNT), batch, now)
        ours += time.perf_counter() - began
        names, rows = written(copy, [event.id for event in batch])
        began = time.perf_counter()
        raw(names, rows)
        theirs += time.perf_counter() - began
    return ours, theirs


def poll(sandbox: RunningSandbox, ledgers: dict[str, Ledger]) -> dict[str, tuple[int, float]]:
    """Requests and seconds of a poll that finds 100 new events."""
    found: dict[str, list[tuple[int, float]]] = {name: [] for name in ledgers}
    order = sandbox.order()
    now = datetime.now(UTC) - timedelta(hours=3)
    for ledger in ledgers.values():
        with ledger.write() as connection:
            columns = {"covers_from": now - 1095 * DAY, "covered_until": now, "checked_at": now}
            touch_feed(ledger, connection, ACCOUNT, "events", **columns)
            open_until = update(events).values(payload_status="completed")
            connection.execute(open_until.where(events.c.payload_status != "completed"))
    for _ in range(9):
        now += timedelta(minutes=5)
        at = [now - timedelta(minutes=4) + n * timedelta(seconds=1) for n in range(100)]
        sandbox.insert(*[{"order_id": order, "created_at": moment.isoformat()} for moment in at])
        for name, ledger in ledgers.items():
            with TelnyxClient(sandbox.api_key, sandbox.base_url) as client:
                began = time.perf_counter()
                result = scan(Account(ledger, ACCOUNT, FAST, lambda now=now: now), client)
                found[name].append((result.requests, time.perf_counter() - began))
            assert result.new == 100, result
    best = {name: rows[2:] for name, rows in found.items()}
    return {n: (max(r for r, _ in rows), statistics.median(s for _, s in rows)) for n, rows in best.items()}


def audits(sandbox: RunningSandbox, folder: Path, count: int) -> list[tuple[int, int, float]]:
    """Holes, requests, and the requests promised."""
    sandbox.reset("volume", events=count)
    ledger = Ledger(f"sqlite:///{folder / 'audit.db'}").ready()
    now, outcome = datetime.now(UTC), []
    with TelnyxClient(sandbox.api_key, sandbox.base_url) as client:
        scan(Account(ledger, ACCOUNT, FAST, lambda: now), client)
        backfill(Account(ledger, ACCOUNT, FAST, lambda: now), client, now - 1200 * DAY, now)
        with ledger.read() as connection:
            ids = list(connection.execute(select(events.c.id).order_by(events.c.created_at)).scalars())
        for holes in (0, 1, 10, 50):
            lost = random.Random(holes).sample(ids[5:-5], holes)
            with ledger.write() as connection:
                connection.execute(delete(events).where(events.c.id.in_(lost)))
            result = audit(Account(ledger, ACCOUNT, FAST, lambda: now), client)
            assert (result.found, result.open_reason) == (holes, None), result
            promised = 2 * holes * math.log2(len(ids) / holes) + 4 * holes + 4 if holes else 2
            outcome.append((holes, result.requests, promised))
    return outcome


def main(quick: bool) -> None:
    count = 50_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        big = Ledger(f"sqlite:///{folder / 'ours.db'}").ready()
        Ledger(f"sqlite:///{folder / 'raw.db'}").ready()
        ours, theirs = ingest(big, raw_sqlite(folder / "raw.db"), big, count)
        rates = f"{count / ours:,.0f}/s, raw {count / theirs:,.0f}/s"
        say(f"SQLite: ingest of {count:,} events", f"{theirs / ours:.2f}", f">= 0.5 of raw executemany ({rates})")
        if server := shared_server():
            address = {name: server.create(name) for name in ("ours", "raw")}
            for database in address.values():
                Ledger(database).upgrade()
            ours, theirs = ingest(Ledger(address["ours"]), raw_postgres(address["raw"]), big, count)
            rates = f"{count / ours:,.0f}/s, raw {count / theirs:,.0f}/s"
            say(f"PostgreSQL: ingest of {count:,} events", f"{theirs / ours:.2f}", f">= 0.5 of COPY + merge ({rates})")
        small = Ledger(f"sqlite:///{folder / 'small.db'}").ready()
        for batch in blocks(10_000, datetime.now(UTC) - DAY):
            store(Account(small, ACCOUNT), batch, datetime.now(UTC))
        os.sync()  # a year of polls does not come while gigabytes are written out
        with running_sandbox() as sandbox:
            polls = poll(sandbox, {"small": small, "big": big})
            (few, short), (many, long) = polls["small"], polls["big"]
            say(f"poll, 100 new: {count:,} rows against 10,000", f"{long / short:.2f}", f"<= 1.2 ({long * 1e3:.0f} ms)")
            say("  its requests", f"{many} against {few}", "the same")
            for holes, requests, promised in audits(sandbox, folder, min(count, 100_000) - 37):
                say(f"audit with {holes} holes: requests", str(requests), f"<= {promised:.0f}")


@pytest.mark.bench
def test_bench_ledger() -> None:
    main(quick=os.environ.get("BENCH_QUICK") == "1")


if __name__ == "__main__":
    main("--quick" in sys.argv)
